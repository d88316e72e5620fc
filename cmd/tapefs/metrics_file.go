package main

import (
	"context"
	"net/http"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/metrics"
	"github.com/tapefs/tapefs/fs/recall"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// metricsRuns is how far back the last good run of a kind is looked for.
const metricsRuns = 1000

// writeMetrics puts what the catalog and the disk know into metrics_file, if there is one. A run fails for nothing of that.
func (a *app) writeMetrics(ctx context.Context, conf *settings, db *catalog.DB) {
	if conf.MetricsFile == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), notifyTimeout)
	defer cancel()
	s, err := snapshotOf(ctx, conf, db)
	if err == nil {
		err = metrics.WriteFile(conf.MetricsFile, s)
	}
	if err != nil {
		a.log.Warn("write metrics", "err", err)
	}
}

// metricsHandler answers Prometheus on the page.
func (a *app) metricsHandler(conf *settings, db *catalog.DB) http.Handler {
	return metrics.Handler(func(ctx context.Context) (metrics.Snapshot, error) {
		s, err := snapshotOf(ctx, conf, db)
		if err == nil {
			s.Queue = queueNow(ctx, conf)
		}
		return s, err
	})
}

// queueNow asks the mount what its readers wait for; nil where none answers.
func queueNow(ctx context.Context, conf *settings) *metrics.Queue {
	owner, err := recall.AskOwner(conf.SocketPath())
	if err != nil {
		return nil
	}
	defer owner.Close()
	live, err := owner.Live(ctx)
	if err != nil {
		return nil
	}
	q := &metrics.Queue{}
	for _, w := range live.Waiting { // the oldest first
		if q.Oldest.IsZero() {
			q.Oldest = w.Since
		}
		q.Readers += w.Readers
		q.Extents += w.Extents
	}
	return q
}

func snapshotOf(ctx context.Context, conf *settings, db *catalog.DB) (metrics.Snapshot, error) {
	s := metrics.Snapshot{At: time.Now(), Version: programVersion(), Spool: folderBytes(conf.Spool.Dir)}
	for _, count := range []func(context.Context, *settings, *catalog.DB, *metrics.Snapshot) error{
		countFiles, countRuns, countCopies, countTapes, countDrives, countSources} {
		if err := count(ctx, conf, db, &s); err != nil {
			return s, err
		}
	}
	return s, nil
}

func countFiles(ctx context.Context, conf *settings, db *catalog.DB, s *metrics.Snapshot) (err error) {
	if s.Files, s.Bytes, err = db.Totals(ctx); err != nil {
		return err
	}
	lost, _, _, err := db.Losses(ctx)
	if err != nil {
		return err
	}
	s.Lost = int64(lost)
	wanted, err := db.Wanted(ctx)
	if err != nil {
		return err
	}
	tapes := map[string]bool{}
	for _, w := range wanted {
		tapes[w.Barcode] = true
	}
	s.Wanted = len(tapes)
	cache, err := cache.Inspect(conf.Cache.Dir, int64(conf.Cache.Max))
	if err != nil {
		return err
	}
	s.Cache = cache.Use().Bytes
	return nil
}

// countRuns takes the last run of each kind that ended, and when one did all.
func countRuns(ctx context.Context, _ *settings, db *catalog.DB, s *metrics.Snapshot) error {
	runs, err := db.Runs(ctx, metricsRuns)
	if err != nil {
		return err
	}
	at := map[string]int{}
	for _, r := range runs { // the newest first
		if r.Ended.IsZero() {
			continue
		}
		i, seen := at[r.Kind]
		if !seen {
			report, err := db.RunReport(ctx, r.ID)
			if err != nil {
				return err
			}
			i = len(s.Runs)
			at[r.Kind] = i
			last := metrics.Run{Kind: r.Kind, Started: r.Started, Ended: r.Ended, Done: r.State == runDone, Errors: len(report.Errors)}
			for _, t := range report.Tapes {
				last.Written += t.Bytes
			}
			s.Runs = append(s.Runs, last)
		}
		if r.State == runDone && s.Runs[i].LastDone.IsZero() {
			s.Runs[i].LastDone = r.Ended
		}
	}
	return nil
}

// runDone is the state of a run that did all it was to do.
const runDone = "done"

// countCopies counts for each pool of the configuration, also where there is nothing: an alert sees 0, and not that a metric is gone.
func countCopies(ctx context.Context, conf *settings, db *catalog.DB, s *metrics.Snapshot) error {
	debts, err := db.Debts(ctx)
	if err != nil {
		return err
	}
	damages, err := db.Damages(ctx)
	if err != nil {
		return err
	}
	owed, damaged := map[string]metrics.Copies{}, map[string]metrics.Copies{}
	add := func(to map[string]metrics.Copies, pool string, copies int, bytes int64) {
		c := to[pool]
		to[pool] = metrics.Copies{Pool: pool, Copies: c.Copies + copies, Bytes: c.Bytes + bytes}
	}
	for pool := range conf.Pools {
		add(owed, pool, 0, 0)
		add(damaged, pool, 0, 0)
	}
	for _, d := range debts {
		add(owed, d.Pool, d.Copies, d.Bytes)
	}
	for _, d := range damages {
		add(damaged, d.Pool, d.Copies, d.Bytes)
	}
	for _, c := range owed {
		s.Owed = append(s.Owed, c)
	}
	for _, c := range damaged {
		s.Damaged = append(s.Damaged, c)
	}
	return nil
}

func countTapes(ctx context.Context, _ *settings, db *catalog.DB, s *metrics.Snapshot) error {
	rows, err := tapeRows(ctx, db)
	if err != nil {
		return err
	}
	at := map[[2]string]int{}
	for _, t := range rows {
		key := [2]string{t.Pool, t.State}
		i, seen := at[key]
		if !seen {
			i = len(s.Tapes)
			at[key] = i
			s.Tapes = append(s.Tapes, metrics.Tapes{Pool: t.Pool, State: t.State})
		}
		s.Tapes[i].Count++
		if t.State == catalog.TapeOpen {
			s.Tapes[i].Free += t.Free
		}
	}
	return nil
}

func countDrives(ctx context.Context, _ *settings, db *catalog.DB, s *metrics.Snapshot) error {
	drives, err := db.Drives(ctx)
	if err != nil {
		return err
	}
	for _, d := range drives {
		s.Drives = append(s.Drives, metrics.Drive{Serial: d.Serial, Suspect: d.State == catalog.DriveSuspect, Cleanings: d.Cleanings})
	}
	return nil
}

func countSources(ctx context.Context, conf *settings, db *catalog.DB, s *metrics.Snapshot) error {
	sources, err := db.Sources(ctx)
	if err != nil {
		return err
	}
	listed := map[string]time.Time{}
	for _, src := range sources {
		listed[src.Name] = src.Listed
	}
	for name := range conf.Sources {
		s.Sources = append(s.Sources, metrics.Source{Name: name, Listed: listed[name]})
	}
	return nil
}
