package fs

import (
	"context"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// newsEvery is how often the catalog is asked, by one pragma, whether another process changed it.
const newsEvery = time.Second

// announce tells the kernel what other processes added or changed: it may keep everything else for
// an hour.
func (f *face) announce(ctx context.Context, server *fuse.Server) {
	seen, err := f.db.DataVersion(ctx)
	if err != nil {
		f.log.Error("watch catalog", "error", err)
		return
	}
	mark, err := f.db.NewsMark(ctx)
	if err != nil {
		f.log.Error("watch catalog", "error", err)
		return
	}
	tick := time.NewTicker(newsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := f.db.DataVersion(ctx)
		if err != nil || now == seen {
			continue
		}
		news, next, err := f.db.NewsSince(ctx, mark)
		if err != nil {
			if ctx.Err() == nil {
				f.log.Error("watch catalog", "error", err)
			}
			continue
		}
		seen, mark = now, next
		// A new name replaces what the kernel knows of it; a changed directory only loses its
		// listing: announcing its own entry would show it as deleted to who stands in it.
		for _, n := range news.Entries {
			server.EntryNotify(uint64(n.Parent), n.Name)
		}
		for _, dir := range news.Directories {
			server.InodeNotify(uint64(dir), 0, 0)
		}
	}
}
