package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"tapefs/catalog"
	"tapefs/fs/recall"
)

type statusCmd struct{}

type statusJSON struct {
	Catalog string       `json:"catalog"`
	Files   int64        `json:"files"`
	Bytes   int64        `json:"bytes"`
	Sources []sourceJSON `json:"sources"`
	Tapes   []tapeJSON   `json:"tapes"`
	Drives  []driveJSON  `json:"drives"`
	Library string       `json:"library_error,omitempty"`
	Owed    []owedJSON   `json:"owed"`
	Damaged []owedJSON   `json:"damaged"`

	Pending   []pendingJSON  `json:"pending"`           // changes that no manifest names yet
	Manifests []missedJSON   `json:"missing_manifests"` // found lost, and not written anew yet
	Lost      lostJSON       `json:"lost"`
	Wanted    []wantedJSON   `json:"wanted"`
	Checks    []checkDueJSON `json:"checks"` // tapes of sessions that died
	Worse     []worseJSON    `json:"getting_worse"`
	Spool     folderJSON     `json:"spool"`
	Cache     folderJSON     `json:"cache"`
	Recall    *recall.Live   `json:"recall,omitempty"` // what the process that owns the cache says of its queue

	RecallError string   `json:"recall_error,omitempty"`
	LastRun     *runJSON `json:"last_run,omitempty"`
	Keys        []keyRow `json:"keys"`
}

type sourceJSON struct {
	Name   string     `json:"name"`
	URL    string     `json:"url"`
	Listed *time.Time `json:"listed,omitempty"`
}

type owedJSON struct {
	Pool   string `json:"pool"`
	Why    string `json:"why"`
	Copies int    `json:"copies"`
	Bytes  int64  `json:"bytes"`
}

// wantedJSON is a tape that somebody waits for and that is not in the library.
type wantedJSON struct {
	Tape   string    `json:"tape"`
	Place  string    `json:"place,omitempty"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

type folderJSON struct {
	Dir   string `json:"dir"`
	Bytes int64  `json:"bytes"`
	Max   int64  `json:"max,omitempty"`

	Pinned int64 `json:"pinned,omitempty"`
}

func (c *statusCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	s, err := readStatus(ctx, a, conf, db)
	if err != nil {
		return err
	}
	if a.JSON {
		return printJSON(a.stdout, s)
	}
	s.print(a)
	return nil
}

func readStatus(ctx context.Context, a *app, conf *config, db *catalog.DB) (*statusJSON, error) {
	s := &statusJSON{Catalog: conf.catalogPath(), Sources: []sourceJSON{}, Owed: []owedJSON{}, Drives: []driveJSON{}}
	var err error
	if s.Files, s.Bytes, err = db.Totals(ctx); err != nil {
		return nil, err
	}
	listed := map[string]catalog.Source{}
	sources, err := db.Sources(ctx)
	if err != nil {
		return nil, err
	}
	for _, src := range sources {
		listed[src.Name] = src
		if _, ok := conf.Sources[src.Name]; !ok {
			s.Sources = append(s.Sources, sourceJSON{src.Name, "(no longer configured) " + src.URL, timeOrNil(src.Listed)})
		}
	}
	for _, src := range conf.archiverSources() {
		s.Sources = append(s.Sources, sourceJSON{src.Name, src.URL, timeOrNil(listed[src.Name].Listed)})
	}
	if s.Tapes, err = tapeRows(ctx, db); err != nil {
		return nil, err
	}
	debts, err := db.DebtDetails(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range debts {
		why := d.Stage.String()
		if min := conf.Pools[d.Pool].MinBatch; d.Bytes < int64(min) && (d.Stage == catalog.DebtFetched || d.Stage == catalog.DebtInPlace) {
			why += " when min_batch (" + bytesText(int64(min)) + ") or max_age is reached; archive --now does not wait"
		}
		s.Owed = append(s.Owed, owedJSON{d.Pool, why, d.Copies, d.Bytes})
	}
	if s.Wanted, err = wantedRows(ctx, db); err != nil {
		return nil, err
	}
	if s.Damaged, err = damageRows(ctx, db); err != nil {
		return nil, err
	}
	if s.Pending, err = pendingOf(ctx, conf, db); err != nil {
		return nil, err
	}
	if s.Manifests, err = manifestRows(ctx, db); err != nil {
		return nil, err
	}
	if s.Lost.Versions, s.Lost.Current, s.Lost.Bytes, err = db.Losses(ctx); err != nil {
		return nil, err
	}
	runs, err := db.Runs(ctx, 1)
	if err != nil {
		return nil, err
	}
	if len(runs) > 0 {
		report, err := db.RunReport(ctx, runs[0].ID)
		if err != nil {
			return nil, err
		}
		last := runOf(report)
		s.LastRun = &last
	}
	ring, err := conf.keyring()
	if err != nil {
		return nil, err
	}
	if s.Keys, err = keyRows(ctx, db, ring); err != nil {
		return nil, err
	}
	s.Spool = folderJSON{Dir: conf.Spool.Dir, Bytes: folderBytes(conf.Spool.Dir), Max: int64(conf.Spool.Max)}
	if err := s.readCache(ctx, conf); err != nil {
		return nil, err
	}
	if s.Worse, err = gettingWorse(ctx, conf, db); err != nil {
		return nil, err
	}
	s.readDrives(ctx, a, conf, db)
	return s, nil
}

// readCache asks the process that owns the cache, or looks at the folder when none does.
func (s *statusJSON) readCache(ctx context.Context, conf *config) error {
	s.Cache = folderJSON{Dir: conf.Cache.Dir, Max: int64(conf.Cache.Max)}
	var use recall.CacheUse
	owner, err := recall.AskOwner(conf.socketPath())
	if err == nil {
		defer owner.Close()
		var live recall.Live
		if live, err = owner.Live(ctx); err == nil {
			s.Recall, use = &live, live.Cache
		}
	}
	if err != nil {
		if !errors.Is(err, recall.ErrNoOwner) {
			s.RecallError = err.Error()
		}
		cache, err := recall.InspectCache(conf.Cache.Dir, int64(conf.Cache.Max))
		if err != nil {
			return fmt.Errorf("look at the cache: %w", err)
		}
		use = cache.Use()
	}
	s.Cache.Bytes, s.Cache.Pinned = use.Bytes, use.Pinned
	return nil
}

// queueShown bounds how many lines of the queue are shown; --json has all.
const queueShown = 10

func printQueue(t *table, live *recall.Live) {
	for i, w := range live.Waiting {
		if i == queueShown {
			t.row("", fmt.Sprintf("and %s", count(int64(len(live.Waiting)-i), "object", "objects")))
			break
		}
		who := "ahead"
		if w.Readers > 0 {
			who = count(int64(w.Readers), "reader", "readers")
		}
		t.row(map[bool]string{true: "queue"}[i == 0], fmt.Sprintf("%s of object %s on %s, %s, since %s", count(int64(w.Extents), "extent", "extents"),
			w.Object, w.Tapes, who, w.Since.Local().Format("15:04:05")))
	}
}

func wantedRows(ctx context.Context, db *catalog.DB) ([]wantedJSON, error) {
	wanted, err := db.Wanted(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]wantedJSON, 0, len(wanted))
	for _, w := range wanted {
		rows = append(rows, wantedJSON{w.Barcode, w.Place, w.Reason, w.Since})
	}
	return rows, nil
}

// readDrives looks at the library; status works without it too.
func (s *statusJSON) readDrives(ctx context.Context, a *app, conf *config, db *catalog.DB) {
	lib, err := a.library(conf)
	if err == nil {
		s.Checks = checksDue(conf, lib)
		var status *libraryJSON
		if status, err = readLibrary(ctx, conf, db, lib); err == nil {
			s.Drives = status.Drives
			return
		}
	}
	s.Library = err.Error()
	for _, d := range conf.Library.Drives {
		s.Drives = append(s.Drives, driveJSON{Element: d.Element, Serial: d.Serial})
	}
	if err := markDrives(ctx, db, s.Drives); err != nil {
		s.Library += "; " + err.Error()
	}
}

func (s *statusJSON) print(a *app) {
	fmt.Fprintf(a.stdout, "%s, %s in the archive\n\n", count(s.Files, "file", "files"), bytesText(s.Bytes))
	if s.Library != "" {
		fmt.Fprintf(a.stdout, "library: %s\n", s.Library)
		printSuspects(a.stdout, s.Drives)
	} else {
		printDrives(a.stdout, s.Drives)
	}
	if len(s.Tapes) > 0 {
		fmt.Fprintln(a.stdout)
		printTapes(a, s.Tapes)
	}
	if len(s.Sources) > 0 {
		fmt.Fprintln(a.stdout)
		t := newTable(a.stdout, "SOURCE", "LAST LISTED WHOLE", "URL")
		for _, src := range s.Sources {
			t.row(src.Name, dateOr(src.Listed, "never"), printable(src.URL))
		}
		t.flush()
	}
	fmt.Fprintln(a.stdout)
	t := newTable(a.stdout)
	for _, d := range s.Owed {
		t.row("owed to "+d.Pool, fmt.Sprintf("%s, %s: %s", count(int64(d.Copies), "copy", "copies"), bytesText(d.Bytes), d.Why))
	}
	if len(s.Owed) == 0 {
		t.row("owed", "nothing")
	}
	for _, w := range s.Wanted {
		t.row("wanted", strings.TrimSpace(fmt.Sprintf("%s  %s since %s  %s", w.Tape, w.Reason, dateOr(&w.Since, ""), printable(w.Place))))
	}
	for _, p := range s.Pending {
		t.row("pending in "+p.Pool, pendingText(p))
	}
	for _, m := range s.Manifests {
		t.row("LOST in "+m.Pool, fmt.Sprintf("%s; the next tapefs archive names anew what only that named", count(int64(m.Manifests), "manifest", "manifests")))
	}
	printChecks(t, s.Checks)
	printWorse(t, s.Worse)
	for _, d := range s.Damaged {
		t.row("DAMAGED in "+d.Pool, fmt.Sprintf("%s, %s: tapefs archive --heal", count(int64(d.Copies), "copy", "copies"), bytesText(d.Bytes)))
	}
	if s.Lost.Versions > 0 {
		t.row("LOST", fmt.Sprintf("%s, %s: no copy has the bytes any more; %d of them are shown (runs tells which; tapefs forget lets go of them)",
			count(int64(s.Lost.Versions), "version", "versions"), bytesText(s.Lost.Bytes), s.Lost.Current))
	}
	t.row("spool", folderText(s.Spool))
	t.row("cache", folderText(s.Cache))
	if s.RecallError != "" {
		t.row("", s.RecallError)
	}
	if s.Recall != nil {
		printQueue(t, s.Recall)
	}
	for _, k := range s.Keys {
		switch {
		case k.File == "":
			t.row("key "+k.Fingerprint, "MISSING: objects sealed with it cannot be read")
		case k.Current && k.CopySeen == nil:
			t.row("key "+k.Fingerprint, "no second copy was ever checked: tapefs key check --copy FILE")
		case k.Current:
			t.row("key "+k.Fingerprint, "second copy seen "+dateOr(k.CopySeen, ""))
		}
	}
	if r := s.LastRun; r != nil {
		t.row("last run", fmt.Sprintf("%d, %s %s: %s, %s new, %s", r.ID, r.Kind, dateOr(&r.Started, ""), r.State,
			humanize.Comma(r.sum("new")), count(int64(len(r.Errors)), "error", "errors")))
		if r.Message != "" {
			t.row("", r.Message)
		}
	}
	t.flush()
}

func folderText(f folderJSON) string {
	text := bytesText(f.Bytes)
	if f.Max > 0 {
		text += " of " + bytesText(f.Max)
	}
	if f.Pinned > 0 {
		text += ", " + bytesText(f.Pinned) + " pinned"
	}
	return text + "  " + f.Dir
}

// folderBytes adds up the files below dir, as far as they can be read.
func folderBytes(dir string) (n int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

// lostJSON counts the versions of files whose bytes are gone for good.
type lostJSON struct {
	Versions int   `json:"versions"`
	Current  int   `json:"current"` // of them, those that their paths show
	Bytes    int64 `json:"bytes"`
}
