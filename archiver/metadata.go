package archiver

import (
	"context"

	"tapefs/catalog"
)

// changedMeta: the same bytes have another mode or owner. Nothing is fetched; the catalog says so from
// now on, and the next manifests do.
func (c *comparison) changedMeta(ctx context.Context, e *listEntry, v *catalog.Version) error {
	c.stats.Metadata++
	c.a.env.Log.Debug("only mode or owner changed", "source", c.source, "path", e.path)
	m := entryMeta(e)
	m.Owner = keepNames(m.Owner, v.Owner)
	if c.names != nil {
		m.Owner = c.names.complete(m.Owner)
	}
	if v.Kind == catalog.Symlink {
		m.Mode = v.Mode // means nothing
	}
	if c.metas = append(c.metas, catalog.FileMeta{ID: v.ID, Mode: m.Mode, Owner: m.Owner}); len(c.metas) >= markPage {
		return c.updateMeta(ctx)
	}
	return nil
}

func (c *comparison) updateMeta(ctx context.Context) error {
	metas := c.metas
	c.metas = nil
	if c.dry || len(metas) == 0 {
		return nil
	}
	return c.db.UpdateFiles(ctx, c.run, metas)
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
