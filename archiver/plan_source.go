package archiver

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/tapefs/tapefs/archiver/diff"
	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/archiver/spool"
	"github.com/tapefs/tapefs/catalog"
)

// newPlanner makes a planner that has asked the catalog nothing yet. In a dry run it records nothing.
func (a *Archiver) newPlanner(run catalog.Run, src Source, at source.Address, row catalog.Source, o Options, work string, emit func(catalog.Batch) error, st *source.Stats) *planner {
	p := &planner{
		a: a, run: run, src: src, row: row, o: o, emit: emit, stats: st,
		book: &diff.Book{DB: a.env.DB, Run: run.ID}, links: &extsort.Sorter{Dir: work, Limit: extsort.Memory / max(1, o.Lanes)}, dirs: map[catalog.ID]dirPlace{}, batch: batchBytes,
		below: src.BundleBelow, bundle: src.BundleSize,
	}
	if at.Transport == source.InPlace {
		p.local = at.Path
	}
	if p.below <= 0 {
		p.below = defaultBundleBelow
	}
	if p.bundle <= 0 {
		p.bundle = defaultBundleSize
	}
	return p
}

// prepare asks for what only planning needs, once there is something to plan: a part's size
// may have to be learned from a tape.
func (p *planner) prepare(ctx context.Context) error {
	if p.ready {
		return nil
	}
	for _, name := range p.src.Copies {
		pool, err := p.a.env.DB.EnsurePool(ctx, name)
		if err != nil {
			return fmt.Errorf("pool %s: %w", name, err)
		}
		p.pools = append(p.pools, pool.ID)
	}
	_, key, err := p.a.env.SealKey(ctx)
	if err != nil {
		return err
	}
	p.key = key.ID
	if p.part, err = p.a.partSize(ctx, p.src.Copies); err != nil {
		return err
	}
	// A bundle is never more than one part; what has no room in one is an object of its own.
	p.bundle = min(p.bundle, p.part)
	p.below = min(p.below, p.bundle/2)
	if p.local == "" {
		limit, err := p.a.spool.Max(ctx)
		if err != nil {
			return err
		}
		p.batch = min(p.batch, max(limit/2, 1))
	}
	p.grown = min(firstBatch, p.batch)
	last, err := p.a.env.DB.LastOID(ctx)
	if err != nil {
		return err
	}
	if len(last) >= 12 {
		// A clock that was set back must not put new versions before old ones.
		if p.lastMS, err = strconv.ParseInt(last[:12], 16, 64); err != nil {
			return fmt.Errorf("object id %q in the catalog: %w", last, err)
		}
	}
	p.ready = true
	return nil
}

// askSpool is the size from which on a file is held against the room in the spool, bytes: that is not asked for each.
const askSpool = 1 << 20

// spool.TooLarge says of a file's bytes that the spool cannot hold them, however empty it is.
func (p *planner) tooLarge(ctx context.Context, data int64) (why, err error) {
	if data < askSpool {
		return nil, nil
	}
	if p.has == 0 {
		if p.has, err = p.a.spool.Has(ctx); err != nil {
			return nil, err
		}
	}
	return spool.TooLarge(data, p.has), nil
}

// planSource lists a source, compares it with the catalog and records what is to be archived in
// batches; emit gets each as soon as it is recorded. The stats are good also with an error.
func (a *Archiver) planSource(ctx context.Context, run catalog.Run, src Source, o Options, emit func(catalog.Batch) error) (st source.Stats, err error) {
	if !source.SourceName().MatchString(src.Name) {
		return st, fmt.Errorf("source name %q: it takes a-z, 0-9, dots, dashes and underscores, and begins with a letter or digit", src.Name)
	}
	at, err := source.ParseAddress(src.URL)
	if err != nil {
		return st, fmt.Errorf("source %s: %w", src.Name, err)
	}
	if len(src.Copies) == 0 {
		return st, fmt.Errorf("source %s: no pool is to take its copies", src.Name)
	}
	row, err := a.env.SourceRow(ctx, src, o.DryRun)
	if err != nil {
		return st, fmt.Errorf("source %s: %w", src.Name, err)
	}
	work, done, err := localfs.WorkDir(a.env.Config.SpoolDir, src.Name)
	if err != nil {
		return st, err
	}
	defer done(&err)
	p := a.newPlanner(run, src, at, row, o, work, emit, &st)
	defer p.links.Close()
	share := max(1, o.Lanes)
	entries := &extsort.Sorter{Dir: work, Limit: extsort.Memory / share}
	defer entries.Close()
	started := time.Now()
	defer func() {
		if run.ID == 0 {
			return
		}
		counts := st.Counts()
		for _, name := range []string{"new", "changed", "again"} { // they are counted when they are archived
			delete(counts, name)
		}
		if countErr := a.env.DB.Count(context.WithoutCancel(ctx), run.ID, src.Name, counts); err == nil {
			err = countErr
		}
	}()
	known := diff.NewWalker(ctx, a.env.DB, row.Root, diff.WalkPieces/share)
	defer known.Close()
	if err := source.List(ctx, a.env, run.ID, src, at, entries, &st); err != nil {
		return st, err
	}
	job.Failpoint("list")
	pending, err := a.fetchingBatches(ctx, row.ID)
	if err != nil {
		return st, err
	}
	if err := entries.Sort(); err != nil {
		return st, err
	}
	var local *localfs.Tree
	if at.Transport == source.InPlace {
		if local, err = localfs.OpenTree(at.Path); err == nil { // otherwise the listing has said what is wrong
			defer local.Close()
		}
	}
	l, err := source.NewListed(entries, local)
	if err != nil {
		return st, err
	}
	in := diff.Input{Run: run.ID, Src: src, At: at, Top: row.Root, Tree: local, Work: work, Listed: started, Share: share, Dry: o.DryRun,
		Pending: pending, Again: !row.Listed.IsZero(), Accept: o.AcceptDeletions, Checksum: o.Checksum, Former: &a.spool.Former}
	if o.Heal && row.Root != 0 {
		objects, err := a.env.DB.GoneObjects(ctx)
		if err != nil {
			return st, err
		}
		in.Ruined = map[int64]bool{}
		for _, id := range objects {
			in.Ruined[id] = true
		}
	}
	if err := diff.Run(ctx, a.env, in, &st, p, p.book, l, known); err != nil {
		return st, fmt.Errorf("compare source %s: %w", src.Name, err)
	}
	if err := p.finish(ctx); err != nil {
		return st, err
	}
	if st.Excluded > 0 && run.ID != 0 {
		before, err := a.env.DB.LastCount(ctx, run.ID, src.Name, "excluded")
		if err != nil {
			return st, err
		}
		if before != st.Excluded {
			st.LeftOut = st.Excluded
		}
	}
	if st.Metadata > 0 {
		a.env.Log.Info("only mode or owner changed: no bytes are written again", "source", src.Name, "files", st.Metadata)
	}
	if st.Young > 0 {
		a.env.Log.Info("modified too recently; a later run takes them", "source", src.Name, "files", st.Young, "min_age", src.MinAge)
	}
	if !o.DryRun && !st.Partial {
		return st, a.env.DB.SetListed(ctx, row.ID, started)
	}
	return st, nil
}

// fetchingBatches says whether a source has batches that are not in the spool yet.
func (a *Archiver) fetchingBatches(ctx context.Context, source int64) (bool, error) {
	open, err := a.env.DB.OpenBatches(ctx)
	for _, b := range open {
		if b.Source == source && b.State == catalog.Fetching {
			return true, err
		}
	}
	return false, err
}
