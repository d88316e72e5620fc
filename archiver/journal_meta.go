package archiver

import (
	"context"
	"fmt"

	"tapefs/catalog"
)

// metaLine tells restore.sh of a mode, owner or directory's time that changed while the bytes did not, and
// what ends such a line: a path that something else has taken. FORMAT.md, "meta.list".
func (b *journal) metaLine(ctx context.Context, c *catalog.Change, v *catalog.Version) error {
	if c.Kind != "metadata" && c.Kind != "replaced" {
		return nil
	}
	path, err := b.DB.Path(ctx, v.ID)
	if err != nil {
		return fmt.Errorf("path of a change: %w", err)
	}
	line := fmt.Appendf(nil, "%d ", c.ID)
	if c.Kind == "replaced" {
		line = append(line, "- 0 0 = = - "...)
	} else {
		line = fmt.Appendf(line, "%04o %d %d =", v.Mode&0o7777, v.Owner.UID, v.Owner.GID)
		line = append(appendEscaped(line, v.Owner.User), " ="...)
		line = append(appendEscaped(line, v.Owner.Group), ' ')
		if v.Kind == catalog.Directory {
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
