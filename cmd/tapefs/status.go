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

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/fs/recall"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

type statusCmd struct{}

type statusJSON struct {
	Catalog string           `json:"catalog"`
	Files   int64            `json:"files"`
	Bytes   int64            `json:"bytes"`
	Sources []sourceJSON     `json:"sources"`
	Tapes   []tapeJSON       `json:"tapes"`
	Drives  []driveJSON      `json:"drives"`
	Library string           `json:"library_error,omitempty"`
	Owed    []owedJSON       `json:"owed"`
	Damaged []catalog.Damage `json:"damaged"`

	Pending   []pendingJSON  `json:"pending"`           // changes that no manifest names yet
	Manifests []missedJSON   `json:"missing_manifests"` // found lost, and not written anew yet
	Lost      lostJSON       `json:"lost"`
	Wanted    []wantedJSON   `json:"wanted"`
	Checks    []checkDueJSON `json:"checks"` // tapes of sessions that died
	Worse     []worseJSON    `json:"getting_worse"`
	Spool     folderJSON     `json:"spool"`
	Cache     cacheJSON      `json:"cache"`
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
}

type cacheJSON struct {
	folderJSON
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
		return ui.WriteJSON(a.stdout, s)
	}
	s.print(a)
	return nil
}

func readStatus(ctx context.Context, a *app, conf *settings, db *catalog.DB) (*statusJSON, error) {
	s := &statusJSON{Catalog: conf.CatalogPath(), Sources: []sourceJSON{}, Owed: []owedJSON{}, Drives: []driveJSON{}}
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
			s.Sources = append(s.Sources, sourceJSON{src.Name, "(no longer configured) " + src.URL, ui.TimeOrNil(src.Listed)})
		}
	}
	for _, src := range conf.ArchiverSources() {
		s.Sources = append(s.Sources, sourceJSON{src.Name, src.URL, ui.TimeOrNil(listed[src.Name].Listed)})
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
			why += " when min_batch (" + ui.Bytes(int64(min)) + ") or max_age is reached; archive --now does not wait"
		}
		s.Owed = append(s.Owed, owedJSON{d.Pool, why, d.Copies, d.Bytes})
	}
	if s.Wanted, err = wantedRows(ctx, db); err != nil {
		return nil, err
	}
	if s.Damaged, err = db.Damages(ctx); err != nil {
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
func (s *statusJSON) readCache(ctx context.Context, conf *settings) error {
	s.Cache.folderJSON = folderJSON{Dir: conf.Cache.Dir, Max: int64(conf.Cache.Max)}
	var use cache.Use
	owner, err := recall.AskOwner(conf.SocketPath())
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
		cache, err := cache.Inspect(conf.Cache.Dir, int64(conf.Cache.Max))
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

func printQueue(t *ui.Table, live *recall.Live) {
	for i, w := range live.Waiting {
		if i == queueShown {
			t.Row("", fmt.Sprintf("and %s", ui.Count(int64(len(live.Waiting)-i), "object", "objects")))
			break
		}
		who := "ahead"
		if w.Readers > 0 {
			who = ui.Count(int64(w.Readers), "reader", "readers")
		}
		t.Row(map[bool]string{true: "queue"}[i == 0], fmt.Sprintf("%s of object %s on %s, %s, since %s", ui.Count(int64(w.Extents), "extent", "extents"),
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
func (s *statusJSON) readDrives(ctx context.Context, a *app, conf *settings, db *catalog.DB) {
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
	fmt.Fprintf(a.stdout, "%s, %s in the archive\n\n", ui.Count(s.Files, "file", "files"), ui.Bytes(s.Bytes))
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
		t := ui.NewTable(a.stdout, "SOURCE", "LAST LISTED WHOLE", "URL")
		for _, src := range s.Sources {
			t.Row(src.Name, ui.DateOr(src.Listed, "never"), ui.Printable(src.URL))
		}
		t.Flush()
	}
	fmt.Fprintln(a.stdout)
	t := ui.NewTable(a.stdout)
	for _, d := range s.Owed {
		t.Row("owed to "+d.Pool, fmt.Sprintf("%s, %s: %s", ui.Count(int64(d.Copies), "copy", "copies"), ui.Bytes(d.Bytes), d.Why))
	}
	if len(s.Owed) == 0 {
		t.Row("owed", "nothing")
	}
	for _, w := range s.Wanted {
		t.Row("wanted", strings.TrimSpace(fmt.Sprintf("%s  %s since %s  %s", w.Tape, w.Reason, ui.DateOr(&w.Since, ""), ui.Printable(w.Place))))
	}
	for _, p := range s.Pending {
		t.Row("pending in "+p.Pool, pendingText(p))
	}
	for _, m := range s.Manifests {
		t.Row("LOST in "+m.Pool, fmt.Sprintf("%s; the next tapefs archive names anew what only that named", ui.Count(int64(m.Manifests), "manifest", "manifests")))
	}
	printChecks(t, s.Checks)
	printWorse(t, s.Worse)
	for _, d := range s.Damaged {
		t.Row("DAMAGED in "+d.Pool, fmt.Sprintf("%s, %s: tapefs archive --heal", ui.Count(int64(d.Copies), "copy", "copies"), ui.Bytes(d.Bytes)))
	}
	if s.Lost.Versions > 0 {
		t.Row("LOST", fmt.Sprintf("%s, %s: no copy has the bytes any more; %d of them are shown (runs tells which; tapefs forget lets go of them)",
			ui.Count(int64(s.Lost.Versions), "version", "versions"), ui.Bytes(s.Lost.Bytes), s.Lost.Current))
	}
	t.Row("spool", folderText(s.Spool))
	t.Row("cache", cacheText(s.Cache))
	if s.RecallError != "" {
		t.Row("", s.RecallError)
	}
	if s.Recall != nil {
		printQueue(t, s.Recall)
	}
	for _, k := range s.Keys {
		switch {
		case k.File == "":
			t.Row("key "+k.Fingerprint, "MISSING: objects sealed with it cannot be read")
		case k.Current && k.CopySeen == nil:
			t.Row("key "+k.Fingerprint, "no second copy was ever checked: tapefs key check --copy FILE")
		case k.Current:
			t.Row("key "+k.Fingerprint, "second copy seen "+ui.DateOr(k.CopySeen, ""))
		}
	}
	if r := s.LastRun; r != nil {
		t.Row("last run", fmt.Sprintf("%d, %s %s: %s, %s new, %s", r.ID, r.Kind, ui.DateOr(&r.Started, ""), r.State,
			humanize.Comma(r.sum("new")), ui.Count(int64(len(r.Errors)), "error", "errors")))
		if r.Message != "" {
			t.Row("", r.Message)
		}
	}
	t.Flush()
}

func folderText(f folderJSON) string { return usedText(f) + "  " + f.Dir }

func cacheText(c cacheJSON) string {
	text := usedText(c.folderJSON)
	if c.Pinned > 0 {
		text += ", " + ui.Bytes(c.Pinned) + " pinned"
	}
	return text + "  " + c.Dir
}

func usedText(f folderJSON) string {
	text := ui.Bytes(f.Bytes)
	if f.Max > 0 {
		text += " of " + ui.Bytes(f.Max)
	}
	return text
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
