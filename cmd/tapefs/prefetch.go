package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/fs/recall"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

type prefetchCmd struct {
	Paths  []string `arg:"" name:"path" help:"Paths of the archive: /source/dir. Each comes with all below it."`
	Pin    bool     `help:"Keep them in the cache until they are unpinned. Refused when they do not fit." xor:"pin"`
	DryRun bool     `help:"Only say what would come from which tapes, and about how long that takes. No tape moves." xor:"pin"`
	Unpin  bool     `help:"Let the cache evict them again; nothing is read." xor:"pin"`
}

// prefetcher is who does the work: the process that owns the cache, or this one.
type prefetcher interface {
	Prefetch(ctx context.Context, r recall.PrefetchRequest, report func(recall.PrefetchEvent)) (recall.PrefetchResult, error)
	Unpin(ctx context.Context, ids []catalog.ID) (int, error)
}

var (
	_ prefetcher = (*recall.Queue)(nil)
	_ prefetcher = (*recall.Owner)(nil)
)

type prefetchJSON struct {
	Plan   *recall.PrefetchPlan  `json:"plan"`
	Result recall.PrefetchResult `json:"result"`
}

// unpinned is what --unpin did.
type unpinned struct {
	Files int `json:"unpinned"`
}

func (c *prefetchCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	var ids []catalog.ID
	for _, p := range c.Paths {
		v, err := resolve(ctx, db.Now(), p)
		if err != nil {
			return err
		}
		ids = append(ids, v.ID)
	}
	who, end, err := a.cacheOwner(ctx, conf, db)
	if err != nil {
		return err
	}
	if c.Unpin {
		n, err := who.Unpin(ctx, ids)
		if err = errors.Join(err, end()); err != nil {
			return err
		}
		if a.JSON {
			return ui.WriteJSON(a.stdout, unpinned{n})
		}
		fmt.Fprintf(a.stdout, "unpinned: %s\n", ui.Count(int64(n), "file", "files"))
		return nil
	}
	if c.DryRun {
		return errors.Join(c.look(ctx, a, conf, db, who, ids), end())
	}
	return errors.Join(c.prefetch(ctx, a, conf, who, ids), end())
}

// ownerTries is how often the owner is looked for, a tenth of a second apart: a mount that begins owns the
// cache a moment before it answers.
const ownerTries = 20

// cacheOwner finds the process that owns the cache, or makes this one the owner. Call end.
func (a *app) cacheOwner(ctx context.Context, conf *settings, db *catalog.DB) (who prefetcher, end func() error, err error) {
	for range ownerTries {
		owner, err := recall.AskOwner(conf.SocketPath())
		if err == nil {
			return owner, func() error { owner.Close(); return nil }, nil
		}
		if !errors.Is(err, recall.ErrNoOwner) {
			return nil, nil, err
		}
		if err := conf.openKeys(); err != nil {
			return nil, nil, err
		}
		queue, err := a.newQueue(conf, db, wantedByPrefetch)
		if err != nil {
			return nil, nil, err
		}
		end := func() error { return queue.Close(context.WithoutCancel(ctx)) }
		if queue.OwnsCache() {
			return queue, end, forgetWanted(ctx, conf, db, wantedByPrefetch)
		}
		if err := end(); err != nil {
			return nil, nil, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	return nil, nil, withHint(errors.New("another process owns the cache and does not answer"),
		"it has %s open; end it", conf.Cache.Dir+"/.lock")
}

func (c *prefetchCmd) prefetch(ctx context.Context, a *app, conf *settings, who prefetcher, ids []catalog.ID) error {
	progress := newProgress(a)
	var plan *recall.PrefetchPlan
	result, err := who.Prefetch(ctx, recall.PrefetchRequest{IDs: ids, Pin: c.Pin}, func(e recall.PrefetchEvent) {
		if e.Plan != nil {
			plan = e.Plan
			if !a.JSON {
				sayPlan(a, conf, plan)
			}
		} else if progress != nil {
			progress.Stage("prefetch", e.Done, min(plan.Missing, plan.Room))
			progress.Note("reading " + e.Tape)
		}
	})
	if errors.Is(err, cache.ErrPinned) {
		return withHint(err, "nothing was read or pinned; cache.max in %s is %s, of which nine tenths may be pinned", conf.File(), ui.Bytes(int64(conf.Cache.Max)))
	}
	if plan == nil {
		return err
	}
	if ctx.Err() != nil { // nobody counted
		result.Kept = plan.Bytes - plan.Missing + result.Read
	}
	if a.JSON {
		err = errors.Join(err, ui.WriteJSON(a.stdout, prefetchJSON{plan, result}))
	} else if err == nil || ctx.Err() != nil {
		fmt.Fprintln(a.stdout, prefetchLine(plan, result, c.Pin))
	}
	switch {
	case ctx.Err() != nil:
		return withHint(fmt.Errorf("prefetch: %w", ctx.Err()), "what was read is cached: run it again and it goes on")
	case err != nil:
		return err
	case len(result.Wanted) > 0:
		return withHint(fmt.Errorf("%w: %s", archiver.ErrNeedsOperator, strings.Join(result.Wanted, ", ")),
			"put %s into the library and run it again: what is cached is skipped", strings.Join(result.Wanted, ", "))
	case result.Failed > 0:
		return &prefetchError{fmt.Errorf("%s could not be read: %s", ui.Bytes(result.Failed), result.Why)}
	case result.Left > 0 || plan.Lost > 0 || notKept(plan, result) > 0:
		return &prefetchError{errors.New("not all is in the cache")}
	}
	return nil
}

// sayPlan says what is going to happen, before the first tape moves.
func sayPlan(a *app, conf *settings, p *recall.PrefetchPlan) {
	if p.Missing == 0 {
		return
	}
	var from []string
	for _, t := range p.Tapes {
		one := t.Barcode + " (" + ui.Bytes(t.Bytes)
		if t.Outside {
			one += ", not in the library"
		}
		from = append(from, one+")")
	}
	fmt.Fprintf(a.stdout, "to read: %s of %s, from %s\n", ui.Bytes(p.Missing), ui.Count(p.Files, "file", "files"), strings.Join(from, ", "))
	if p.Room < p.Missing {
		fmt.Fprintf(a.stdout, "the cache (%s) has room for %s of it: what comes first on its tape is read, and %s stay on tape\n",
			ui.Bytes(int64(conf.Cache.Max)), ui.Bytes(p.Room), ui.Bytes(p.Missing-p.Room))
	}
}

// notKept is how much of what was cached or read is in the cache no longer.
func notKept(p *recall.PrefetchPlan, r recall.PrefetchResult) int64 {
	return p.Bytes - p.Missing + r.Read - r.Kept
}

func prefetchLine(p *recall.PrefetchPlan, r recall.PrefetchResult, pin bool) string {
	line := fmt.Sprintf("prefetched: %s read, %s cached before, %s", ui.Bytes(r.Read), ui.Bytes(p.Bytes-p.Missing), ui.Count(p.Files, "file", "files"))
	if pin {
		line += ", pinned"
	}
	if p.Spooled > 0 {
		line += fmt.Sprintf("; %s in the spool", ui.Count(p.Spooled, "file", "files"))
	}
	if gone := notKept(p, r); gone > 0 {
		line += fmt.Sprintf("; %s kept, %s are gone from the cache again", ui.Bytes(r.Kept), ui.Bytes(gone))
	}
	if r.Left > 0 {
		line += fmt.Sprintf("; %s left on tape: the cache is full", ui.Bytes(r.Left))
	}
	if r.Away > 0 {
		line += fmt.Sprintf("; %s wait for %s", ui.Bytes(r.Away), strings.Join(r.Wanted, ", "))
	}
	if r.Failed > 0 {
		line += fmt.Sprintf("; %s failed", ui.Bytes(r.Failed))
	}
	if p.Lost > 0 {
		line += fmt.Sprintf("; %s without bytes anywhere", ui.Count(p.Lost, "file", "files"))
	}
	return line
}

// prefetchError is a prefetch that was done in part: exit code 3.
type prefetchError struct{ err error }

func (e *prefetchError) Error() string   { return "prefetch: " + e.err.Error() }
func (e *prefetchError) Unwrap() []error { return []error{e.err, archiver.ErrPartial} }
