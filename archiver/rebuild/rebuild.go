package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// Config wires a rebuild.
type Config struct {
	Path     string // of the catalog; it grows beside it, as Path.rebuild, until it is whole
	Keys     *crypto.Keyring
	Library  *changer.Library
	SpoolDir string // holds sealed copies of manifests meanwhile
	RunDir   string
	Log      *slog.Logger
	Progress job.Progress // may be nil
	Args     []string     // of the command, for the run's record
}

// Options says what is read.
type Options struct {
	Catalog        string   // UUID; "": that of the first tape whose journal these keys prove
	Tapes          []string // barcodes; none: all that the library holds
	NoSnapshot     bool     // begin empty, with manifests alone
	Headers        bool     // read the first bytes of each object, too, and compare the salt
	ListUnproved   bool     // read the tar headers of what no manifest names
	AcceptUnproved bool     // and take it into the catalog when it is whole
}

// Tape is one tape that was read.
type Tape struct {
	Barcode   string `json:"barcode"`
	Pool      string `json:"pool"`
	Number    int    `json:"number"`
	Manifests int    `json:"manifests"`      // proved
	Gaps      []int  `json:"gaps,omitempty"` // numbers of manifests that are missing between proved ones
	Files     int    `json:"files"`          // sealed objects and parts on it
}

// Refusal is a file, or a tape when Name is empty, that was not believed.
type Refusal struct {
	Barcode string `json:"barcode"`
	Name    string `json:"name,omitempty"`
	Why     string `json:"why"`
	Hint    string `json:"hint,omitempty"` // what to do about it; "" nothing is known
}

// refusalOf is a Refusal with the advice that an error carries.
func refusalOf(barcode, name string, why error) Refusal {
	r := Refusal{Barcode: barcode, Name: name, Why: why.Error()}
	var advice *changer.Error
	if errors.As(why, &advice) {
		r.Hint = advice.Hint
	}
	return r
}

// firstHint is the first advice about tapes that were refused; "" there is none.
func firstHint(refused []Refusal) string {
	for _, r := range refused {
		if r.Hint != "" {
			return r.Hint
		}
	}
	return ""
}

// Unproved is a sealed file that no proved manifest names.
type Unproved struct {
	Barcode  string
	Name     string
	Size     int64
	Members  []string // names in its tar headers, if they were asked for; a bound number of them
	More     int      // further members
	Accepted bool
	Why      string // why it was not listed to its end, or not accepted
}

// Report is what a rebuild did.
type Report struct {
	Run          int64
	Catalog      string // UUID
	Snapshot     string // the catalog snapshot that it began with; "": none
	SnapshotTape string
	Census       catalog.Census
	Tapes        []Tape
	Before       []string  // barcodes of tapes that hold nothing that the catalog does not know
	Passed       []Refusal // tapes that are no tapes of this catalog
	Unread       []Refusal // tapes that this machine wrote after what the catalog knows of them, and that were not read
	Skipped      []Refusal // tapes that could not be read, for reasons that say nothing of them
	Refused      []Refusal
	Remarks      []Refusal // what is odd on the tapes, and does no harm
	Missing      []catalog.AbsentTape
	Unproved     []Unproved
	Unresolved   int64 // directories that no record tells of
}

type rebuilder struct {
	env     *job.Env
	conf    Config
	o       Options
	report  Report
	scratch string
	uuid    string // of the catalog; "" until known
	resumed bool   // the catalog exists: no snapshot is wanted
	rows    *catalog.Rebuild
	stays   bool // the catalog is the one in use: a tape is read if it is newer than what was recorded
	tapes   []*survey
	claims  []*survey // their labels name this catalog, and nothing on them proves it
}

// Run makes a catalog from tapes, or adds to one what tapes hold that it has not read. What
// it cannot take over is in the report; ErrRefused, ErrNeedsOperator (tapes are missing) or another error says
// that it is not all. A rebuild that was stopped goes on where it was.
func Run(ctx context.Context, c Config, o Options) (_ Report, err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	b := &rebuilder{conf: c, o: o, uuid: o.Catalog, scratch: filepath.Join(c.SpoolDir, "rebuild"),
		env: &job.Env{Config: job.Config{RunDir: c.RunDir, SpoolDir: c.SpoolDir, Progress: c.Progress}, Log: c.Log, Keys: c.Keys, Lib: c.Library}}
	if len(c.Keys.Fingerprints()) == 0 {
		return b.report, fmt.Errorf("rebuild the catalog: %w: without the keys the tapes are noise", crypto.ErrNoKey)
	}
	unlock, err := b.env.LockWriter(ctx)
	if err != nil {
		return b.report, err
	}
	defer unlock()
	if err := os.MkdirAll(b.scratch, 0o700); err != nil {
		return b.report, fmt.Errorf("rebuild the catalog: %w", err)
	}
	if err := b.env.Lib.Recover(ctx); err != nil {
		return b.report, fmt.Errorf("recover the library: %w", err)
	}
	place, err := b.open(ctx)
	if err != nil {
		return b.report, fmt.Errorf("rebuild the catalog: %w", err)
	}
	defer func() {
		if b.env.DB != nil {
			err = errors.Join(err, b.env.DB.Close())
		}
	}()
	if err := b.read(ctx); err != nil {
		return b.report, fmt.Errorf("rebuild the catalog: %w", err)
	}
	if err := b.fill(ctx, place); err != nil {
		return b.report, fmt.Errorf("rebuild the catalog: %w", err)
	}
	seen, unread, err := b.seenAfter(ctx)
	if err != nil {
		return b.report, fmt.Errorf("rebuild the catalog: %w", err)
	}
	b.report.Unread = unread
	if err := b.install(place); err != nil {
		return b.report, fmt.Errorf("rebuild the catalog: %w", err)
	}
	if err := volume.WriteWritten(b.env, seen); err != nil {
		return b.report, fmt.Errorf("rebuild the catalog: %w", err)
	}
	return b.report, b.result()
}

// place says where the catalog grows and what stands where it belongs.
type place struct {
	at     string // the file that is filled
	beside string // an empty catalog in the way, to be put aside; "" none
}

// open finds the catalog that is there, if any.
func (b *rebuilder) open(ctx context.Context) (place, error) {
	p := place{at: b.conf.Path}
	db, err := catalog.Open(ctx, b.conf.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.at = b.conf.Path + ".rebuild"
	case err != nil:
		return p, &changer.Error{Op: "open the catalog that is there", Err: err, Hint: "when it is beyond help, move it away: rebuild makes a new one"}
	default:
		empty, err := db.Empty(ctx)
		if err != nil {
			return p, errors.Join(err, db.Close())
		}
		if !empty {
			// What an earlier rebuild noted of the tapes may be long out of date.
			b.env.DB, b.stays = db, true
			if err := errors.Join(os.RemoveAll(b.scratch), os.MkdirAll(b.scratch, 0o700)); err != nil {
				return p, err
			}
			break
		}
		p.at, p.beside = b.conf.Path+".rebuild", b.conf.Path
		if err := db.Close(); err != nil {
			return p, err
		}
	}
	if b.env.DB == nil {
		db, err := catalog.Open(ctx, p.at)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return p, err
		}
		if err == nil {
			b.env.Note("going on with the rebuild that left %s", p.at)
			b.env.DB = db
		}
	}
	if b.env.DB == nil {
		return p, nil
	}
	b.resumed = true
	if b.uuid != "" && b.uuid != b.env.DB.UUID() {
		return p, fmt.Errorf("%s is catalog %s, not %s", p.at, b.env.DB.UUID(), b.uuid)
	}
	b.uuid = b.env.DB.UUID()
	return p, nil
}

// read looks at all tapes, one after the other.
func (b *rebuilder) read(ctx context.Context) error {
	inv, err := b.env.Lib.Inventory(ctx)
	if err != nil {
		return err
	}
	var barcodes []changer.Barcode
	for _, t := range b.o.Tapes {
		barcodes = append(barcodes, changer.Barcode(t))
	}
	if len(barcodes) == 0 {
		barcodes = inv.Barcodes()
	}
	for i, code := range barcodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.env.Stage("tapes", int64(i), int64(len(barcodes)))
		if before, err := b.before(ctx, code); err != nil {
			return err
		} else if before {
			b.report.Before = append(b.report.Before, string(code))
			continue
		}
		s, err := b.survey(ctx, code)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var pass *passError
		switch {
		case err == nil && b.stays && !s.news && !s.doubt && len(b.o.Tapes) == 0 && !b.o.ListUnproved && !b.o.AcceptUnproved:
			b.report.Before = append(b.report.Before, string(code))
		case localfs.OfDisk(err):
			return &changer.Error{Op: "read tape " + string(code), Err: err, Hint: "copies of the tapes' manifests and of one snapshot must fit into " + b.scratch}
		case errors.As(err, &pass):
			b.env.Log.Info("tape is passed over", "tape", code, "why", pass.why)
			b.report.Passed = append(b.report.Passed, Refusal{Barcode: string(code), Why: pass.why})
		case tapeUnread(err):
			b.env.Log.Warn("tape could not be read", "tape", code, "err", err)
			b.report.Skipped = append(b.report.Skipped, refusalOf(string(code), "", err))
		case err != nil:
			b.refuse(string(code), "", err)
		default:
			b.tapes = append(b.tapes, s)
		}
	}
	b.choose()
	if b.uuid == "" && len(b.report.Passed)+len(b.report.Refused)+len(b.report.Skipped) == 0 {
		return &changer.Error{Op: "look for tapes", Err: errors.New("no tape of tapefs was found"), Hint: "put the tapes into the library; tapefs library status shows what is there"}
	}
	if b.env.DB == nil && len(b.tapes) == 0 && !(b.o.AcceptUnproved && len(b.claims) > 0) {
		var why []error
		for _, s := range b.claims {
			b.report.Refused = append(b.report.Refused, s.Refused...)
			b.pass(s, cmp.Or(s.Label.Lost, "its label names this catalog, and nothing on it proves that"))
		}
		for _, p := range slices.Concat(b.report.Skipped, b.report.Refused, b.report.Passed) {
			why = append(why, fmt.Errorf("tape %s: %s", p.Barcode, p.Why))
		}
		if hint := firstHint(b.report.Skipped); hint != "" {
			return &changer.Error{Op: "read tapes", Err: errors.Join(why...), Hint: hint}
		}
		if hint := firstHint(b.report.Refused); hint != "" {
			return &changer.Error{Op: "read tapes", Err: errors.Join(why...), Hint: hint}
		}
		if b.uuid == "" {
			return &changer.Error{Op: "look for a tape whose journal the keys at hand prove", Err: errors.Join(why...),
				Hint: "put the tapes into the library, and the key files into their folder; --catalog UUID with --accept-unproved takes tapes that nothing proves"}
		}
		return fmt.Errorf("no tape of catalog %s could be read: %w", b.uuid, errors.Join(why...))
	}
	return nil
}

// tapeUnread reports whether a tape could not be read because its ltfs died, or because this machine lacks something just now.
func tapeUnread(err error) bool {
	fault := changer.FaultOf(err)
	return errors.Is(err, errLtfsDied) || fault == changer.Gone || fault == changer.Shortage
}

// skipped reports whether a tape could not be read.
func (b *rebuilder) skipped(barcode string) bool {
	return slices.ContainsFunc(b.report.Skipped, func(r Refusal) bool { return r.Barcode == barcode })
}

// before reports whether the rebuild that is gone on with has read this tape. A tape of a catalog that is in use is
// loaded and compared: that catalog may be older than its tapes.
func (b *rebuilder) before(ctx context.Context, code changer.Barcode) (bool, error) {
	if b.env.DB == nil || b.stays || len(b.o.Tapes) > 0 || b.o.ListUnproved || b.o.AcceptUnproved {
		return false, nil
	}
	t, err := b.env.DB.TapeByBarcode(ctx, string(code))
	if errors.Is(err, catalog.ErrNotFound) {
		return false, nil
	}
	return err == nil && t.IndexGeneration > 0, err
}

func (b *rebuilder) refuse(barcode, name string, why error) {
	b.env.Log.Warn("refused", "tape", barcode, "file", name, "why", why)
	b.report.Refused = append(b.report.Refused, refusalOf(barcode, name, why))
}

// fill takes over what was found.
func (b *rebuilder) fill(ctx context.Context, p place) (err error) {
	for _, s := range slices.Concat(b.tapes, b.claims) {
		b.report.Refused = append(b.report.Refused, s.Refused...)
		b.report.Remarks = append(b.report.Remarks, s.Remarks...)
		if s.More > 0 {
			b.refuse(s.Barcode, "", fmt.Errorf("%d further files are not what they say they are", s.More))
		}
	}
	if b.env.DB == nil {
		if err := b.begin(ctx, p.at); err != nil {
			return err
		}
	}
	b.report.Catalog = b.uuid
	run, err := b.env.DB.StartRun(ctx, "rebuild", b.conf.Args)
	if err != nil {
		return err
	}
	b.report.Run = run.ID
	defer func() {
		state, message := "done", ""
		switch {
		case err != nil && ctx.Err() != nil:
			state = "interrupted"
		case err != nil:
			state, message = "failed", err.Error()
		case b.result() != nil:
			state, message = "partial", b.result().Error()
		}
		err = errors.Join(err, b.env.DB.FinishRun(context.WithoutCancel(ctx), run.ID, state, message))
	}()
	b.rows = b.env.DB.Rebuild(run.ID)
	err = b.apply(ctx)
	if err != nil {
		return errors.Join(err, b.rows.Abandon())
	}
	b.env.Note("settling what was read")
	if err := b.rows.Finish(ctx); err != nil {
		return err
	}
	if err := b.unproved(ctx); err != nil {
		return err
	}
	for _, r := range b.report.Refused {
		if err := b.env.DB.AddRunError(ctx, run.ID, "", r.Name, fmt.Sprintf("tape %s: refused: %s", r.Barcode, r.Why)); err != nil {
			return err
		}
	}
	if b.report.Missing, err = b.env.DB.AbsentTapes(ctx); err != nil {
		return err
	}
	b.report.Missing = slices.DeleteFunc(b.report.Missing, func(t catalog.AbsentTape) bool {
		return b.skipped(t.Barcode) || t.Objects == 0 && b.passed(t.Barcode) // it lies in the library; or its format was interrupted, or it was erased: bringing it would not help
	})
	if b.report.Unresolved, err = b.env.DB.Unresolved(ctx); err != nil {
		return err
	}
	b.report.Census, err = b.env.DB.Census(ctx)
	return err
}

// passed reports whether a tape was looked at and is none of this catalog's.
func (b *rebuilder) passed(barcode string) bool {
	return slices.ContainsFunc(b.report.Passed, func(r Refusal) bool { return r.Barcode == barcode })
}

// begin makes the catalog: from the newest proved snapshot, or empty.
func (b *rebuilder) begin(ctx context.Context, path string) error {
	// Each is a proved copy of its tape's newest; of several the newest is taken that opens.
	with := slices.DeleteFunc(slices.Clone(b.tapes), func(s *survey) bool { return s.SnapshotFile == "" || b.o.NoSnapshot })
	slices.SortFunc(with, func(x, y *survey) int { return strings.Compare(y.SnapshotFile, x.SnapshotFile) })
	for _, s := range with {
		err := b.fromSnapshot(ctx, s, path)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.refuse(s.Barcode, s.SnapshotFile, err)
			continue
		}
		b.report.Snapshot, b.report.SnapshotTape = s.SnapshotFile, s.Barcode
		b.env.DB, err = catalog.Open(ctx, path)
		return err
	}
	var err error
	b.env.DB, err = catalog.CreateAs(ctx, path, b.uuid)
	return err
}

// install puts the catalog in its place.
func (b *rebuilder) install(p place) error {
	if err := b.env.DB.Close(); err != nil { // it goes into one file
		return err
	}
	b.env.DB = nil
	if p.at != b.conf.Path {
		if p.beside != "" {
			aside := p.beside + ".empty-" + time.Now().UTC().Format("20060102T150405")
			for _, end := range []string{"", "-wal", "-shm"} {
				if err := os.Rename(p.beside+end, aside+end); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("put the empty catalog aside: %w", err)
				}
			}
		}
		if err := os.Rename(p.at, b.conf.Path); err != nil {
			return err
		}
		dir, err := os.Open(filepath.Dir(b.conf.Path))
		if err != nil {
			return err
		}
		if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
			return err
		}
	}
	return os.RemoveAll(b.scratch)
}

// result says what is not as it should be.
func (b *rebuilder) result() error {
	if n := len(b.report.Refused); n > 0 {
		return fmt.Errorf("%w: %d", manifest.ErrRefused, n)
	}
	if n := len(b.report.Skipped); n > 0 {
		return fmt.Errorf("%d tapes could not be read, which says nothing of what they hold", n)
	}
	var missing []string
	for _, t := range b.report.Missing {
		missing = append(missing, t.Barcode)
	}
	for _, t := range b.report.Unread {
		missing = append(missing, t.Barcode)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: tapes that were not read: %s", job.ErrNeedsOperator, strings.Join(missing, ", "))
	}
	return nil
}
