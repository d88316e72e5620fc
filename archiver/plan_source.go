package archiver

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"tapefs/archiver/extsort"
	"tapefs/archiver/job"
	"tapefs/archiver/localfs"
	"tapefs/catalog"
)

// newPlanner makes a planner that has asked the catalog nothing yet. In a dry run it records nothing.
func (a *Archiver) newPlanner(run catalog.Run, src Source, at address, row catalog.Source, o Options, work string, emit func(catalog.Batch) error, st *listStats) *planner {
	p := &planner{
		a: a, run: run, src: src, row: row, o: o, emit: emit, stats: st,
		book: &dirBook{db: a.env.DB, run: run.ID}, links: &extsort.Sorter{Dir: work, Limit: extsort.Memory / max(1, o.Lanes)}, dirs: map[catalog.ID]dirPlace{}, batch: batchBytes,
		below: src.BundleBelow, bundle: src.BundleSize,
	}
	if at.transport == inPlace {
		p.local = at.path
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
		limit, err := p.a.spoolMax(ctx)
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

// tooLarge says of a file's bytes that the spool cannot hold them, however empty it is.
func (p *planner) tooLarge(ctx context.Context, data int64) (why, err error) {
	if data < askSpool {
		return nil, nil
	}
	if p.has == 0 {
		if p.has, err = p.a.spoolHas(ctx); err != nil {
			return nil, err
		}
	}
	return tooLarge(data, p.has), nil
}

// planSource lists a source, compares it with the catalog and records what is to be archived in
// batches; emit gets each as soon as it is recorded. The stats are good also with an error.
func (a *Archiver) planSource(ctx context.Context, run catalog.Run, src Source, o Options, emit func(catalog.Batch) error) (st listStats, err error) {
	if !sourceName.MatchString(src.Name) {
		return st, fmt.Errorf("source name %q: it takes a-z, 0-9, dots, dashes and underscores, and begins with a letter or digit", src.Name)
	}
	at, err := parseURL(src.URL)
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
	work, done, err := a.workDir(src)
	if err != nil {
		return st, err
	}
	defer done(&err)
	p := a.newPlanner(run, src, at, row, o, work, emit, &st)
	defer p.links.Close()
	share := max(1, o.Lanes)
	sorted := func(limit int) *extsort.Sorter { return &extsort.Sorter{Dir: work, Limit: limit / share} }
	entries, gone, news, kept, doubts := sorted(extsort.Memory), sorted(extsort.Memory), sorted(extsort.Memory), sorted(8<<20), sorted(8<<20)
	for _, s := range []*extsort.Sorter{entries, gone, news, kept, doubts} {
		defer s.Close()
	}
	started := time.Now()
	defer func() {
		if run.ID == 0 {
			return
		}
		counts := st.counts()
		for _, name := range []string{"new", "changed", "again"} { // they are counted when they are archived
			delete(counts, name)
		}
		if countErr := a.env.DB.Count(context.WithoutCancel(ctx), run.ID, src.Name, counts); err == nil {
			err = countErr
		}
	}()
	known := newWalker(ctx, a.env.DB, row.Root, walkPieces/share)
	defer known.close()
	if err := a.list(ctx, run.ID, src, at, entries, &st); err != nil {
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
	if at.transport == inPlace {
		if local, err = localfs.OpenTree(at.path); err == nil { // otherwise the listing has said what is wrong
			defer local.Close()
		}
	}
	l, err := newListed(entries, local)
	if err != nil {
		return st, err
	}
	c := &comparison{
		a: a, db: a.env.DB, run: run.ID, source: src.Name, top: row.Root, whole: !st.Partial, dry: o.DryRun,
		pending: pending, plan: p, stats: &st, minAge: src.MinAge, listed: started, gone: gone, news: news, kept: kept, again: !row.Listed.IsZero(), accept: o.AcceptDeletions,
		share: share, src: src, at: at, from: a.env.Heard.Of(src.Name), tree: local, bytes: o.Checksum, doubts: doubts,
	}
	defer func() { c.gone.Close() }() // what filters leave out is sorted anew
	if at.transport == inPlace {
		c.names = newOwnerNames(true)
	}
	if o.Heal && row.Root != 0 {
		objects, err := a.env.DB.GoneObjects(ctx)
		if err != nil {
			return st, err
		}
		c.ruined = map[int64]bool{}
		for _, id := range objects {
			c.ruined[id] = true
		}
	}
	if err := c.join(ctx, l, known); err != nil {
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
