package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/catalog"
)

// movedLine tells restore.sh of a file that has the bytes of another name. FORMAT.md, "moved.list".
func (b *builder) movedLine(ctx context.Context, c *catalog.Change, v *catalog.Version, path string) error {
	var how struct {
		From   catalog.ID `json:"from"`
		Before string     `json:"before"`
	}
	if err := json.Unmarshal([]byte(c.Detail), &how); err != nil {
		return fmt.Errorf("change %d: %w", c.ID, err)
	}
	old, err := b.DB.Get(ctx, how.From)
	if err != nil {
		return fmt.Errorf("what %q was called before: %w", path, err)
	}
	// The old name may have had no bytes of its own either: then the list that says where they are has this one, too.
	if linked, err := b.DB.Linked(ctx, &old); err != nil || linked {
		if err != nil {
			return err
		}
		return b.sharedLine(ctx, c, v)
	}
	from, err := b.DB.Path(ctx, how.From)
	if err != nil {
		return fmt.Errorf("what %q was called before: %w", path, err)
	}
	line := append([]byte(how.Before), ' ')
	line = append(appendEscaped(line, path[min(1, len(path)):]), ' ')
	b.moved.write(append(appendEscaped(line, from[min(1, len(from)):]), '\n'))
	return nil
}

// metaLine tells restore.sh of a mode, owner or time that changed while no bytes were written, of directories,
// which may be in no object, and what ends such a line: a path that something else has taken. FORMAT.md, "meta.list".
func (b *builder) metaLine(ctx context.Context, c *catalog.Change, v *catalog.Version) error {
	ends := c.Kind == "replaced"
	switch c.Kind {
	case "metadata", "replaced", "moved", "directory":
	case "forget":
		linked, err := b.DB.Linked(ctx, v)
		if err != nil || !linked {
			return err
		}
		_, err = b.DB.Lookup(ctx, v.Parent, v.Name)
		if !errors.Is(err, catalog.ErrNotFound) {
			return err
		}
		ends = true // the path shows nothing: a link's line must not bring it back
	default:
		return nil
	}
	path, err := b.DB.Path(ctx, v.ID)
	if err != nil {
		return fmt.Errorf("path of a change: %w", err)
	}
	if c.Kind == "moved" {
		if err := b.movedLine(ctx, c, v, path); err != nil {
			return err
		}
	}
	line := fmt.Appendf(nil, "%d ", c.ID)
	if ends {
		line = append(line, "- 0 0 = = - "...)
	} else {
		line = fmt.Appendf(line, "%04o %d %d =", v.Mode&0o7777, v.Owner.UID, v.Owner.GID)
		line = append(appendEscaped(line, v.Owner.User), " ="...)
		line = append(appendEscaped(line, v.Owner.Group), ' ')
		if v.Kind == catalog.Directory || c.Kind == "moved" {
			line = append(appendDecimal(line, v.MTime), ' ')
		} else {
			line = append(line, "- "...)
		}
	}
	line = appendEscaped(line, path[min(1, len(path)):])
	b.meta.write(append(line, '\n'))
	return nil
}

// appendDecimal writes a time as seconds with nine places, as touch -d @ reads it.
func appendDecimal(out []byte, t catalog.Time) []byte {
	if t.Sec < 0 && t.Nsec > 0 {
		return fmt.Appendf(out, "-%d.%09d", -(t.Sec + 1), 1_000_000_000-t.Nsec)
	}
	return fmt.Appendf(out, "%d.%09d", t.Sec, t.Nsec)
}
