package fs

import (
	"context"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tapefs/tapefs/catalog"
)

// newsEvery is how often the catalog is asked, by one pragma, whether another process changed it.
const newsEvery = time.Second

// attributesOnly is an offset of InodeNotify: the bytes that the kernel has stay good.
const attributesOnly = -1

// news is what the kernel was told so far.
type news struct {
	*face
	seen int64 // catalog.DB.DataVersion
	mark catalog.NewsMark
}

// begin notes the catalog's present point.
func (f *face) begin(ctx context.Context) (*news, error) {
	seen, err := f.db.DataVersion(ctx)
	if err != nil {
		return nil, err
	}
	mark, err := f.db.NewsMark(ctx)
	if err != nil {
		return nil, err
	}
	return &news{f, seen, mark}, nil
}

// announce tells the kernel what other processes added or changed: it may keep everything else for
// an hour. It returns when ctx ends.
func (n *news) announce(ctx context.Context, server *fuse.Server) {
	tick := time.NewTicker(newsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := n.db.DataVersion(ctx)
		if err == nil && now == n.seen {
			continue
		}
		var changed catalog.News
		next := n.mark
		if err == nil {
			changed, next, err = n.db.NewsSince(ctx, n.mark)
		}
		if err != nil {
			if ctx.Err() == nil {
				n.log.Error("watch catalog", "err", err)
			}
			continue
		}
		n.seen, n.mark = now, next
		// A new name replaces what the kernel knows of it; a changed directory only loses its
		// listing: announcing its own entry would show it as deleted to who stands in it.
		for _, e := range changed.Entries {
			server.EntryNotify(uint64(e.Parent), e.Name)
		}
		for _, dir := range changed.Directories {
			server.InodeNotify(uint64(dir), 0, 0)
		}
		if n.o.HideVanished {
			for _, e := range changed.Marked {
				server.EntryNotify(uint64(e.Parent), e.Name)
				server.InodeNotify(uint64(e.Parent), 0, 0)
			}
		}
		for _, file := range changed.Files {
			server.InodeNotify(uint64(file), attributesOnly, 0)
		}
	}
}
