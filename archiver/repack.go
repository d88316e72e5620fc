package archiver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// RepackOptions say which tapes are repacked.
type RepackOptions struct {
	Barcodes []string
	Below    float64 // full tapes of which less than this share lives; 0: none but those named
	DryRun   bool
}

// RepackedTape is what became of one tape.
type RepackedTape struct {
	Barcode string  `json:"tape"`
	Share   float64 `json:"live_share"`    // that lived
	Parts   int     `json:"files"`         // files that somebody needs
	Bytes   int64   `json:"bytes"`         // of them
	Copied  int     `json:"copied"`        // moved as they are, each extent with its recorded sum
	Packed  int     `json:"packed"`        // objects packed anew
	Dropped int     `json:"dropped"`       // objects that nobody needs
	Done    bool    `json:"done"`          // nothing needs the tape any more
	Why     string  `json:"why,omitempty"` // not done
}

// RepackSummary is what a repack did.
type RepackSummary struct {
	Run   int64
	Tapes []RepackedTape
}

// Repack brings what lives on tapes onto others of their pools. Objects of the current key all of whose files live are repeated extent by
// extent; of others the living files are packed anew. The tapes are superseded from the start, and readable; what was
// moved is let go when its replacement was read back through a fresh mount. Killed at any point it goes on when it
// is called again. ErrPartial when a tape is still needed, ErrNeedsOperator for want of tapes.
func (a *Archiver) Repack(ctx context.Context, o RepackOptions) (sum RepackSummary, err error) {
	tapes, shares, err := a.toRepack(ctx, o)
	if err != nil || len(tapes) == 0 {
		return sum, err
	}
	sources, names, err := a.sourcesOn(ctx, tapes)
	if err != nil {
		return sum, fmt.Errorf("repack: %w", err)
	}
	unlock, err := a.env.LockSources(names)
	if err != nil {
		return sum, fmt.Errorf("repack: %w", err)
	}
	defer unlock()
	if o.DryRun {
		for _, t := range tapes {
			r := RepackedTape{Barcode: t.Barcode, Share: shares[t.ID].Share()}
			if err := a.wouldRepack(ctx, t, &r); err != nil {
				return sum, err
			}
			sum.Tapes = append(sum.Tapes, r)
		}
		return sum, nil
	}
	if err := a.mayWrite(ctx); err != nil {
		return sum, err
	}
	if err := a.env.Lib.Recover(ctx); err != nil {
		return sum, fmt.Errorf("recover the library: %w", err)
	}
	var args []string
	for _, t := range tapes {
		args = append(args, t.Barcode)
	}
	run, err := a.env.DB.StartRun(ctx, "repack", args)
	if err != nil {
		return sum, fmt.Errorf("record the run: %w", err)
	}
	sum.Run = run.ID
	noted := job.NewProblems(a.env, run)
	r := &repacker{a: a, run: run, noted: noted, w: a.newWriter(run, sources, Options{Now: true}, noted)}
	err = r.start(ctx)
	for _, t := range tapes {
		if err != nil {
			break
		}
		one := RepackedTape{Barcode: t.Barcode, Share: shares[t.ID].Share()}
		err = r.tape(ctx, t, &one)
		sum.Tapes = append(sum.Tapes, one)
	}
	if err == nil {
		err = r.w.noteBlocked(ctx)
	}
	err = errors.Join(err, r.end(ctx))
	if err == nil {
		err = noted.Result()
	}
	if err == nil && slices.ContainsFunc(sum.Tapes, func(t RepackedTape) bool { return !t.Done }) {
		err = ErrPartial
	}
	_, ferr := a.env.Finish(ctx, run, 0, err)
	return sum, ferr
}

// toRepack finds the tapes that are named, and those of which too little lives.
func (a *Archiver) toRepack(ctx context.Context, o RepackOptions) ([]catalog.Tape, map[int64]catalog.TapeLife, error) {
	lives, err := a.env.DB.TapeLives(ctx)
	if err != nil {
		return nil, nil, err
	}
	var out []catalog.Tape
	for _, b := range o.Barcodes {
		t, err := a.env.DB.TapeByBarcode(ctx, b)
		if err != nil {
			return nil, nil, fmt.Errorf("repack: %w", err)
		}
		if t.State == catalog.TapeRetired || t.State == catalog.TapeForeign || t.UUID == "" || t.Pool == 0 {
			return nil, nil, fmt.Errorf("repack tape %s: it is %s and no tape of a pool", b, t.State)
		}
		if _, err := a.env.Pool(t.PoolName); err != nil {
			return nil, nil, fmt.Errorf("repack tape %s: %w", b, err)
		}
		if !slices.ContainsFunc(out, func(x catalog.Tape) bool { return x.ID == t.ID }) {
			out = append(out, t)
		}
	}
	if o.Below <= 0 {
		return out, lives, nil
	}
	all, err := a.env.DB.Tapes(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range all {
		if _, err := a.env.Pool(t.PoolName); err != nil || t.UUID == "" || t.Place != "" || slices.ContainsFunc(out, func(x catalog.Tape) bool { return x.ID == t.ID }) {
			continue
		}
		begun := t.State == catalog.TapeSuperseded && t.Stage != catalog.StageRepacked
		if begun || t.State == catalog.TapeFull && lives[t.ID].Share() < o.Below {
			out = append(out, t)
		}
	}
	return out, lives, nil
}

// sourcesOn lists the sources that have objects on tapes.
func (a *Archiver) sourcesOn(ctx context.Context, tapes []catalog.Tape) (map[int64]Source, map[string]bool, error) {
	rows, err := a.env.DB.Sources(ctx)
	if err != nil {
		return nil, nil, err
	}
	sources, names := map[int64]Source{}, map[string]bool{}
	for _, t := range tapes {
		parts, err := a.env.DB.RepackParts(ctx, t.ID)
		if err != nil {
			return nil, nil, err
		}
		for _, p := range parts {
			for _, s := range rows {
				if s.ID == p.Source {
					sources[s.ID], names[s.Name] = Source{Name: s.Name, URL: s.URL}, true
				}
			}
		}
	}
	return sources, names, nil
}

// wouldRepack counts what is to be done with a tape.
func (a *Archiver) wouldRepack(ctx context.Context, t catalog.Tape, r *RepackedTape) error {
	parts, err := a.env.DB.RepackParts(ctx, t.ID)
	if err != nil {
		return err
	}
	key, err := a.currentKey(ctx)
	if err != nil {
		return err
	}
	packed := map[int64]bool{}
	for _, p := range parts {
		if p.Moved || p.Replaced {
			continue
		}
		life, err := a.env.DB.ObjectLife(ctx, p.Object)
		if err != nil {
			return err
		}
		how := howTo(&life, key)
		if how == packIt && life.SealedSize > life.PartSize {
			if all, err := a.allParts(ctx, &life, p); err != nil {
				return err
			} else if all == nil {
				how = copyIt
			}
		}
		switch how {
		case dropIt:
			r.Dropped++
			continue
		case copyIt:
			r.Copied++
		case packIt:
			if !packed[p.Object] {
				r.Packed++
			}
			packed[p.Object] = true
		}
		r.Parts++
		r.Bytes += p.Size
	}
	return nil
}

func (a *Archiver) currentKey(ctx context.Context) (string, error) {
	key, err := a.env.Keys.Current()
	if err != nil {
		return "", err
	}
	return key.Fingerprint(), nil
}

// How an object leaves its tape.
const (
	copyIt = iota // as it is: all of it lives, or it has several parts that cannot be packed anew by way of the spool
	packIt
	dropIt
)

func howTo(l *catalog.ObjectLife, key string) int {
	switch {
	case l.Dead:
		return dropIt
	case l.Whole && l.Fingerprint == key:
		return copyIt
	}
	return packIt
}

// repacker is one repack under way.
type repacker struct {
	a     *Archiver
	run   catalog.Run
	noted *job.Problems
	w     *writer
}

// start waits for the right to write tapes and settles what a died run left.
func (r *repacker) start(ctx context.Context) (err error) {
	if err := r.w.lock.take(ctx); err != nil {
		return err
	}
	if err := r.w.recover(ctx); err != nil {
		return fmt.Errorf("recover what an interrupted run left: %w", err)
	}
	return r.w.clean(ctx)
}

func (r *repacker) end(ctx context.Context) error {
	err := errors.Join(r.w.tapes.closeTape(ctx), r.w.followers.stopAll(), r.w.session.giveUp(ctx))
	r.a.env.Activity.Set("")
	r.w.lock.release()
	return err
}

// tape repacks one tape.
func (r *repacker) tape(ctx context.Context, t catalog.Tape, sum *RepackedTape) (err error) {
	if t.State == catalog.TapeSuperseded && t.Stage == catalog.StageRepacked {
		n, err := r.a.env.DB.TapeNeeded(ctx, t.ID)
		if sum.Done = err == nil && n == 0; sum.Done || err != nil {
			return err
		}
	}
	was := t
	t, err = r.a.env.DB.UpdateTape(ctx, t.ID, func(t *catalog.Tape) error {
		if t.State != catalog.TapeSuperseded {
			note := t.Note
			t.State, t.Stage = catalog.TapeSuperseded, catalog.StageRepacking
			t.Note = "being repacked since " + time.Now().Format(time.DateOnly)
			if note != "" {
				t.Note += "; " + note
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("repack tape %s: %w", t.Barcode, err)
	}
	defer func() {
		if errors.Is(err, ErrOlder) { // nothing was changed, nor is this
			_, uerr := r.a.env.DB.UpdateTape(context.WithoutCancel(ctx), t.ID, func(t *catalog.Tape) error { t.State, t.Stage, t.Note = was.State, was.Stage, was.Note; return nil })
			err = errors.Join(err, uerr)
		}
	}()
	job.Failpoint("repack-begun")
	stuck := map[int64]bool{} // copies with a part that could not be read or written in this run
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		load, err := r.load(ctx, t, stuck, sum)
		if err != nil {
			return fmt.Errorf("repack tape %s: %w", t.Barcode, err)
		}
		if len(load) == 0 {
			break
		}
		if err := r.move(ctx, t, load, stuck, sum); err != nil {
			return fmt.Errorf("repack tape %s: %w", t.Barcode, err)
		}
	}
	// What an earlier run brought into the spool, too.
	if err := r.w.pass(ctx, true); err != nil {
		return err
	}
	if err := r.w.stock.release(ctx); err != nil {
		return err
	}
	if err := r.prove(ctx); err != nil {
		return fmt.Errorf("repack tape %s: %w", t.Barcode, err)
	}
	return r.close(ctx, t, sum)
}

// load chooses what is read from a tape next, in its order, as much as the spool has room for. What nobody needs is let
// go at once.
func (r *repacker) load(ctx context.Context, t catalog.Tape, stuck map[int64]bool, sum *RepackedTape) ([]moving, error) {
	if r.w.known.blocked[t.PoolName] != nil {
		return nil, nil
	}
	parts, err := r.a.env.DB.RepackParts(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	key, err := r.a.currentKey(ctx)
	if err != nil {
		return nil, err
	}
	var load []moving
	room := r.a.healRoom()
	for _, p := range parts {
		if p.Moved || p.Replaced || stuck[p.Copy] {
			continue
		}
		life, err := r.a.env.DB.ObjectLife(ctx, p.Object)
		if err != nil {
			return nil, err
		}
		how := howTo(&life, key)
		if how == dropIt {
			if err := r.a.env.DB.DropDead(ctx, p.Copy); err != nil {
				return nil, err
			}
			sum.Dropped++
			continue
		}
		var all []catalog.CopyPart
		if how == packIt && life.SealedSize > life.PartSize {
			if len(load) > 0 {
				return load, nil // such an object is moved alone
			}
			if all, err = r.a.allParts(ctx, &life, p); err != nil {
				return nil, err
			}
			if all == nil {
				how = copyIt
			}
		}
		need := p.Size
		if how == packIt {
			need *= 2 // sealed, and opened beside it
		}
		if room -= need; room < 0 && len(load) > 0 {
			return load, nil
		}
		m := moving{life: life, how: how, all: all}
		m.from, m.Copy, m.Object, m.Source = p.CopyPart, p.Copy, p.Object, p.Source
		m.OID, m.Fingerprint, m.Number, m.Size = p.OID, life.Fingerprint, p.Number, p.Size
		m.Parts = int((life.SealedSize + life.PartSize - 1) / life.PartSize)
		load = append(load, m)
		if all != nil {
			break
		}
	}
	return load, nil
}

// close ends with a tape that nothing needs any more: what only its manifests name is named again on another tape of the
// pool, with the catalog beside it.
func (r *repacker) close(ctx context.Context, t catalog.Tape, sum *RepackedTape) error {
	needed, err := r.a.env.DB.TapeNeeded(ctx, t.ID)
	if err != nil {
		return err
	}
	if needed > 0 {
		sum.Why = fmt.Sprintf("%d files on it are needed still", needed)
		if why := r.w.known.blocked[t.PoolName]; why != nil { // nobody is owed what lies there, so that nothing else says it
			r.noted.Add("", "", why)
		}
		r.noted.Add("", "", fmt.Errorf("tape %s is not repacked yet: %s", t.Barcode, sum.Why))
		return nil
	}
	after, named, err := r.a.env.DB.JournalBefore(ctx, t.ID)
	if err != nil {
		return err
	}
	if named {
		if err := r.a.env.DB.UnnameParts(ctx, t.ID); err != nil {
			return err
		}
		if err := r.journalAgain(ctx, t, after); err != nil {
			if errors.Is(err, ErrNeedsOperator) {
				sum.Why = "its journal could not be written to another tape"
				r.noted.Add("", "", fmt.Errorf("tape %s is not repacked yet: %s: %w", t.Barcode, sum.Why, err))
				return nil
			}
			return err
		}
	}
	job.Failpoint("repack-journalled")
	_, err = r.a.env.DB.UpdateTape(ctx, t.ID, func(t *catalog.Tape) error {
		t.State, t.Stage = catalog.TapeSuperseded, catalog.StageRepacked
		t.Note = "repacked on " + time.Now().Format(time.DateOnly) + ": nothing on it is needed"
		return nil
	})
	sum.Done = err == nil
	return err
}

// journalAgain writes a manifest with all changes after one, and the catalog, to another tape of the pool.
func (r *repacker) journalAgain(ctx context.Context, t catalog.Tape, after int64) error {
	w := r.w
	for {
		if err := w.tapes.openTape(ctx, t.PoolName, 0); err != nil {
			return err
		}
		w.tapes.journal.again = &after
		tape := w.session.tape.ID
		if err := w.tapes.sync(ctx); err != nil {
			return err
		}
		if w.tapes.journal.again == nil && w.session.volume != nil && w.session.tape.ID == tape {
			break
		}
		// The tape took no more: the next one.
	}
	w.tapes.journal.mustSnap = true
	if err := w.tapes.journal.snapshot(ctx, true); err != nil {
		r.noted.Add("", "", err)
	}
	return w.tapes.closeTape(ctx)
}
