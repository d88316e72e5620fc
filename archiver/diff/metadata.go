package diff

import (
	"context"

	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// changedMeta: the same bytes have another mode or owner. Nothing is fetched; the catalog says so from
// now on, and the next manifests do.
func (c *comparison) changedMeta(ctx context.Context, e *source.Entry, v *catalog.Version) error {
	c.stats.Metadata++
	c.env.Log.Debug("only mode or owner changed", "source", c.in.Src.Name, "path", e.Path)
	m := EntryMeta(e)
	m.Owner = keepNames(m.Owner, v.Owner)
	if c.owners != nil {
		m.Owner = c.owners.Complete(m.Owner)
	}
	if v.Kind == catalog.Symlink {
		m.Mode = v.Mode // means nothing
	}
	if c.marks.metas = append(c.marks.metas, catalog.FileMeta{ID: v.ID, Mode: m.Mode, Owner: m.Owner}); len(c.marks.metas) >= markPage {
		return c.updateMeta(ctx)
	}
	return nil
}

func (c *comparison) updateMeta(ctx context.Context) error {
	metas := c.marks.metas
	c.marks.metas = nil
	if c.in.Dry || len(metas) == 0 {
		return nil
	}
	return c.env.DB.UpdateFiles(ctx, c.in.Run, metas)
}

// keepNames gives an owner of a listing, which has numbers only, the names that go with the same numbers.
func keepNames(now, was catalog.Owner) catalog.Owner {
	if was.UID == now.UID {
		now.User = was.User
	}
	if was.GID == now.GID {
		now.Group = was.Group
	}
	return now
}
