package archiver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// owe makes the pools of this run's sources owe what they never had and, to heal, what is damaged.
func (w *writer) owe(ctx context.Context, heal bool) error {
	for id, src := range w.sources {
		var others []int64 // objects of other sources that its files have bytes from
		for _, name := range src.Copies {
			pool, err := w.a.env.DB.EnsurePool(ctx, name)
			if err != nil {
				return fmt.Errorf("look for pool %s: %w", name, err)
			}
			n, err := w.a.env.DB.OweCopies(ctx, id, pool.ID)
			if err != nil {
				return fmt.Errorf("source %s: %w", src.Name, err)
			}
			shared, more, err := w.a.env.DB.OweShared(ctx, id, pool.ID)
			if err != nil {
				return fmt.Errorf("source %s: %w", src.Name, err)
			}
			for _, o := range shared {
				w.known.shared[o] = true
			}
			others = append(others, shared...)
			if n += more; n > 0 {
				w.a.env.Log.Info("copies are owed that were never made", "source", src.Name, "pool", name, "copies", n)
			}
		}
		if !heal {
			continue
		}
		_, hopeless, err := w.a.env.DB.ReviveDamaged(ctx, id, others)
		if err != nil {
			return fmt.Errorf("source %s: %w", src.Name, err)
		}
		if hopeless > 0 {
			w.noted.Add(src.Name, "", fmt.Errorf("%d damaged copies cannot be made again: no tape has the bytes that they lack", hopeless))
		}
		if err := w.noteLost(ctx, id, src.Name); err != nil {
			return fmt.Errorf("source %s: %w", src.Name, err)
		}
	}
	return nil
}

// errLost: of a file that --heal cannot help.
var errLost = errors.New("its bytes are gone, no copy has them any more (if the source has the file unchanged it is archived again)")

// noteLost says which versions of files are lost, once: nothing can be done about them, and later runs are not wrong for them.
func (w *writer) noteLost(ctx context.Context, source int64, name string) error {
	versions, err := w.a.env.DB.NewlyLost(ctx, source)
	if err != nil || len(versions) == 0 {
		return err
	}
	for _, id := range versions {
		v, err := w.a.env.DB.Get(ctx, id)
		if err != nil {
			return err
		}
		path, err := w.a.env.DB.Path(ctx, id)
		if err != nil {
			return err
		}
		w.noted.Add(name, strings.TrimPrefix(path, "/"+name+"/"), fmt.Errorf("version of %s: %w", time.Unix(v.MTime.Sec, 0).Format(time.DateTime), errLost))
	}
	return w.a.env.DB.MarkLost(ctx, w.run.ID, versions, time.Now())
}
