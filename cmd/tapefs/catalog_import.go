package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/catalog/tapebackup"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/crypto"
)

type catalogImportTapebackupCmd struct {
	DB       string `arg:"" help:"The database of tapebackup. It is only read."`
	Key      string `required:"" help:"A file with the passphrase in its first line, readable by you alone. It is copied to the keys folder." placeholder:"FILE"`
	Source   string `help:"The name under which the archive appears." default:"tapebackup" placeholder:"NAME"`
	Timezone string `help:"Zone of the times in the database, such as Europe/Berlin; else this machine's." placeholder:"ZONE"`
	DryRun   bool   `help:"Say what would be imported, and change nothing."`
	All      bool   `help:"List all files that cannot be read, not only the first of them."`
}

// importBatch is how many files are recorded in one transaction.
const importBatch = 1000

// importLines is how many unreadable files are listed without --all.
const importLines = 20

type tapebackupJSON struct {
	Source     string           `json:"source"`
	Files      int              `json:"files"`
	Bytes      int64            `json:"bytes"`
	Duplicates int              `json:"duplicates"` // of Files
	Deleted    int              `json:"deleted"`    // of Files
	New        int              `json:"new"`        // of Files: were not there before, or not so
	Tapes      []string         `json:"tapes"`
	Unreadable []unreadableJSON `json:"unreadable"`
	DryRun     bool             `json:"dry_run"`
}

type unreadableJSON struct {
	Row int64 `json:"row,omitempty"`
	ui.PathText
	Reason string `json:"reason"`

	path string
}

func newUnreadable(row int64, path, reason string) unreadableJSON {
	return unreadableJSON{Row: row, PathText: ui.NewPathText(path), Reason: reason, path: path}
}

func (c *catalogImportTapebackupCmd) Run(ctx context.Context, a *app) error {
	zone := time.Local
	if c.Timezone != "" {
		var err error
		if zone, err = time.LoadLocation(c.Timezone); err != nil {
			return usagef("--timezone: %w", err)
		}
	}
	if !config.NamePattern().MatchString(c.Source) {
		return usagef("--source %q: names are made of a-z, 0-9, '.', '_', '-'", c.Source)
	}
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, taken := conf.Sources[c.Source]; taken {
		return usagef("--source %s: a source of the configuration has this name", c.Source)
	}
	if _, taken := conf.Pools[c.Source]; taken {
		return usagef("--source %s: a pool of the configuration has this name", c.Source)
	}
	passphrase, err := crypto.LoadForeign(c.Key)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	old, err := tapebackup.Open(ctx, c.DB, zone)
	if errors.Is(err, tapebackup.ErrSchema) {
		return withHint(fmt.Errorf("import: %w", err), "nothing was changed; only schema version 1 is known")
	} else if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer old.Close()
	im := &tapebackupImport{c: c, out: tapebackupJSON{Source: c.Source, DryRun: c.DryRun, Tapes: []string{}, Unreadable: []unreadableJSON{}}, tapes: map[string]bool{}}
	if !c.DryRun {
		end, err := im.begin(ctx, conf, db, passphrase)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		defer func() { end(err) }()
	}
	err = old.Files(ctx, func(f *tapebackup.File) error { return im.add(ctx, f) }, im.unreadable)
	err = errors.Join(err, im.flush(ctx))
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	im.out.Tapes = slices.Sorted(maps.Keys(im.tapes))
	if a.JSON {
		return ui.WriteJSON(a.stdout, im.out)
	}
	im.print(a)
	return nil
}

// tapebackupImport is one import under way.
type tapebackupImport struct {
	c     *catalogImportTapebackupCmd
	into  *catalog.ForeignImport // nil: a dry run
	batch []catalog.ForeignFile
	tapes map[string]bool
	out   tapebackupJSON
}

// begin keeps the passphrase and opens the import; end closes its run.
func (im *tapebackupImport) begin(ctx context.Context, conf *settings, db *catalog.DB, passphrase []byte) (end func(error), err error) {
	ring, err := conf.keyring()
	if err != nil {
		return nil, err
	}
	fingerprint, _, err := ring.AddForeign(conf.Keys.Dir, passphrase)
	if err != nil {
		return nil, err
	}
	key, err := db.EnsureKey(ctx, fingerprint, crypto.CBC, tapebackup.Iterations)
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(im.c.DB)
	if err != nil {
		return nil, err
	}
	run, err := db.StartRun(ctx, "import", []string{path})
	if err != nil {
		return nil, err
	}
	end = func(err error) {
		state, message := "done", ""
		if err != nil {
			state, message = "failed", err.Error()
		}
		ctx := context.WithoutCancel(ctx)
		_ = db.Count(ctx, run.ID, im.c.Source, map[string]int64{"new": int64(im.out.New)})
		_ = db.FinishRun(ctx, run.ID, state, message)
	}
	owner := catalog.Owner{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	if im.into, err = db.ImportForeign(ctx, run.ID, im.c.Source, "tapebackup:"+im.c.Source, key, owner); err != nil {
		end(err)
		return nil, err
	}
	return end, nil
}

func (im *tapebackupImport) add(ctx context.Context, f *tapebackup.File) error {
	im.out.Files++
	im.out.Bytes += f.Size
	if f.Duplicate {
		im.out.Duplicates++
	}
	if f.Deleted {
		im.out.Deleted++
	}
	im.tapes[f.Tape] = true
	im.batch = append(im.batch, catalog.ForeignFile{Path: f.Path, Size: f.Size, MTime: f.MTime, Deleted: f.Deleted, OID: f.ID(), Name: f.Name,
		SealedSize: f.SealedSize, MD5: f.MD5, Barcode: f.Tape, Generation: tapebackup.Generation(f.Tape), Duplicate: f.Duplicate})
	if len(im.batch) < importBatch {
		return nil
	}
	return im.flush(ctx)
}

func (im *tapebackupImport) flush(ctx context.Context) error {
	batch := im.batch
	im.batch = im.batch[:0]
	if im.into == nil || len(batch) == 0 {
		return nil
	}
	n, err := im.into.Add(ctx, batch, func(f *catalog.ForeignFile, why error) {
		im.out.Files--
		im.out.Bytes -= f.Size
		im.out.Unreadable = append(im.out.Unreadable, newUnreadable(0, strings.Join(f.Path, "/"), why.Error()))
	})
	im.out.New += n
	return err
}

func (im *tapebackupImport) unreadable(u tapebackup.Unreadable) error {
	im.out.Unreadable = append(im.out.Unreadable, newUnreadable(u.Row, u.Path, u.Reason))
	return nil
}

func (im *tapebackupImport) print(a *app) {
	o := &im.out
	for i, u := range o.Unreadable {
		if i == importLines && !im.c.All {
			fmt.Fprintf(a.stdout, "not readable: and %d more, --all lists them\n", len(o.Unreadable)-i)
			break
		}
		fmt.Fprintf(a.stdout, "not readable: %s: %s\n", ui.Printable(u.path), u.Reason)
	}
	verb := fmt.Sprintf("imported %s (%d new) as /%s", ui.Count(int64(o.Files), "file", "files"), o.New, o.Source)
	if o.DryRun {
		verb = fmt.Sprintf("would import %s as /%s", ui.Count(int64(o.Files), "file", "files"), o.Source)
	}
	fmt.Fprintf(a.stdout, "%s: %s on %s (%s); %d with the bytes of another, %d deleted at the source, %d not readable\n", verb, ui.Bytes(o.Bytes),
		ui.Count(int64(len(o.Tapes)), "tape", "tapes"), strings.Join(o.Tapes, " "), o.Duplicates, o.Deleted, len(o.Unreadable))
	if !o.DryRun && o.Files > 0 {
		fmt.Fprintf(a.stdout, "Nothing but the database knows that they are good until they are read: tapefs verify --source %s\n", o.Source)
	}
}
