package manifest

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/catalog"
)

// forgetLines tells restore.sh which members of which objects were forgotten. FORMAT.md, "forget.list". Directories are
// left out, for tar would leave out all below them, and so is what others have their bytes from.
func (b *builder) forgetLines(ctx context.Context, c *catalog.Change, v *catalog.Version) error {
	if c.Kind != "forget" {
		return nil
	}
	members := []catalog.Version{*v}
	if v.Data != v.ID { // it may have been the last that needed the bytes of a forgotten one
		data, err := b.DB.Get(ctx, v.Data)
		if err == nil {
			members = append(members, data)
		} else if !errors.Is(err, catalog.ErrNotFound) {
			return err
		}
	}
	for i := range members {
		m := &members[i]
		if m.State != catalog.Forgotten || m.Kind == catalog.Directory {
			continue
		}
		wanted, err := b.DB.DataWanted(ctx, m.ID)
		if err != nil {
			return err
		}
		if wanted {
			continue
		}
		path, err := b.DB.Path(ctx, m.ID)
		if err != nil {
			return fmt.Errorf("path of a forgotten version: %w", err)
		}
		objects, err := b.DB.ObjectNames(ctx, m.ID)
		if err != nil {
			return err
		}
		for _, oid := range objects {
			b.forgotten.write(append(appendEscaped([]byte(oid+" "), path[min(1, len(path)):]), '\n'))
		}
	}
	return nil
}

// goneLine tells restore.sh of a path that shows nothing any more since it was forgotten: whatever objects before that moment, moves or
// links left there goes, once what has its bytes from it has them. FORMAT.md, "gone.list".
func (b *builder) goneLine(ctx context.Context, c *catalog.Change, v *catalog.Version) error {
	if c.Kind != "forget" {
		return nil
	}
	path, err := b.DB.Path(ctx, v.ID)
	if err != nil {
		return fmt.Errorf("path of a forgotten version: %w", err)
	}
	_, err = b.DB.Resolve(ctx, path)
	if !errors.Is(err, catalog.ErrNotFound) {
		return err // nil: the path shows something, be it in another directory of that name
	}
	planned, err := b.DB.PlannedAt(ctx, v.Parent, v.Name)
	if err != nil || planned {
		return err // what was planned before it was forgotten comes after it
	}
	line := fmt.Appendf(nil, "- %012x%020x %d ", c.At.UnixMilli(), 0, c.ID)
	line = appendEscaped(line, path[min(1, len(path)):])
	if v.Kind == catalog.Directory {
		line = append(line, '/')
	}
	b.gone.write(append(line, '\n'))
	return nil
}
