package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// wantedToVerify is the reason under which tapes are wanted.
const wantedToVerify = "verify"

// Options says what a verify reads. Nothing set: all that is durable.
type Options struct {
	Sample  float64       // share of the bytes, drawn at random; 0: no draw
	Budget  int64         // bytes at most, the longest unproved first; 0: no limit
	Due     time.Duration // only what was not proved for so long; 0: all
	Tape    string        // barcode
	Source  string
	Paths   []catalog.Version
	OpenSSL bool     // also open each object with the openssl program and compare the files' sums
	Args    []string // of the command: the same again resume what was cut short

	written  time.Time // only what was written since
	unproved bool      // only what was never read back
	pools    map[string]float64
}

// Damage is what a verify found.
type Damage struct {
	Object  string `json:"object"`
	Pool    string `json:"pool"`
	Barcode string `json:"tape"`
	File    string `json:"file"` // on the tape; or the name in the archive
	Why     string `json:"why"`
}

// Summary is what a verify did.
type Summary struct {
	Run     int64
	Parts   int
	Bytes   int64
	Files   int // compared by their plain sums
	Skipped int // proved already, by the runs that this one resumes
	// Recovered parts counted as damaged and were read without a fault: the drive may have been at fault.
	Recovered int
	// Replaced parts are damaged as was known before: what they held is whole elsewhere in their pool, or known as lost.
	Replaced  int
	Damaged   []Damage
	Manifests int // read back whole, like Snapshots of the catalog
	Snapshots int
	Lost      []Damage       // manifests and snapshots that are not on tape as they were written
	Unnamed   int            // manifests that were lost, these included, and that no other replaces yet
	Known     int            // copies known to be damaged and not healed, those of this run included
	Trusted   []catalog.Tape // that were suspect, and are so no more
	Wanted    []string       // barcodes of tapes that are not in the library
}

// Run reads sealed bytes back through read-only mounts, in tape order, and compares their sums.
// ErrDamaged when some differ, ErrNeedsOperator when tapes are not in the library.
func Run(ctx context.Context, env *job.Env, o Options) (Summary, error) {
	if env.Lib == nil {
		return Summary{}, errors.New("verify: no library is configured")
	}
	if err := env.Lib.Recover(ctx); err != nil {
		return Summary{}, fmt.Errorf("recover the library: %w", err)
	}
	run, err := env.StartRun(ctx, "verify", o.Args)
	if err != nil {
		return Summary{}, err
	}
	noted := job.NewProblems(env, run)
	v := &verifier{env: env, run: run, noted: noted, openssl: o.OpenSSL, away: map[string]error{}, unlabelled: map[string]bool{}, journal: map[string][]journalItem{}, closed: map[string]error{}, sum: Summary{Run: run.ID}}
	err = v.verify(ctx, o)
	err = errors.Join(err, v.leave(ctx))
	if err == nil || errors.Is(err, job.ErrNeedsOperator) {
		ended, eerr := volume.EndSuspicions(ctx, env)
		v.sum.Trusted, err = ended, errors.Join(err, eerr)
	}
	if err == nil {
		err = v.result(ctx, o)
	}
	state, message := job.EndOf(ctx, err)
	ctx = context.WithoutCancel(ctx)
	counts := map[string]int64{"verified_parts": int64(v.sum.Parts), "verified_bytes": v.sum.Bytes, "verified_files": int64(v.sum.Files),
		"damaged":            int64(len(v.sum.Damaged)),
		"verified_manifests": int64(v.sum.Manifests), "lost_manifests": int64(len(v.sum.Lost))}
	return v.sum, errors.Join(err, env.DB.Count(ctx, run.ID, "", counts), env.DB.FinishRun(ctx, run.ID, state, message))
}

type verifier struct {
	env        *job.Env
	run        catalog.Run
	noted      *job.Problems
	openssl    bool
	away       map[string]error         // tapes that could not be read, and why
	unlabelled map[string]bool          // tapes that were said to have lost their label
	journal    map[string][]journalItem // by tape: manifests and snapshots still to be read
	closed     map[string]error         // keys that are not at hand, and why: what they seal of the journal was not proved
	cut        bool                     // the budget left parts out
	sum        Summary

	lease  *changer.Lease
	volume *changer.Volume
	tape   string        // barcode of volume
	since  time.Time     // when it was mounted
	pace   catalog.Timed // of reading parts, since then
}

func (v *verifier) verify(ctx context.Context, o Options) error {
	items, err := v.choose(ctx, o)
	if err != nil {
		return err
	}
	if err := v.chooseJournal(ctx, o, items); err != nil {
		return err
	}
	var done, total int64
	for _, item := range items {
		total += sizeOf(item)
	}
	for i, item := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i > 0 && items[i-1][0].Barcode != item[0].Barcode {
			if err := v.readJournal(ctx, items[i-1][0].Barcode, math.MaxInt64); err != nil {
				return err
			}
		}
		if err := v.readJournal(ctx, item[0].Barcode, item[0].StartBlock); err != nil {
			return err
		}
		if v.openssl {
			err = v.proveCopy(ctx, item)
		} else {
			_, err = v.readPart(ctx, item[0], nil)
		}
		if err != nil {
			return err
		}
		done += sizeOf(item)
		v.env.Stage("verify", done, total)
	}
	if n := len(items); n > 0 {
		if err := v.readJournal(ctx, items[n-1][0].Barcode, math.MaxInt64); err != nil {
			return err
		}
	}
	if err := v.restOfJournal(ctx); err != nil {
		return err
	}
	return v.want(ctx)
}

// mount mounts a tape read-only, or keeps the one that is unless somebody else is to have its drive.
// False: it cannot be read now, and why is kept.
func (v *verifier) mount(ctx context.Context, barcode string) (bool, error) {
	if v.away[barcode] != nil {
		return false, nil
	}
	if v.lease != nil {
		if err := v.lease.Held(); err != nil {
			return false, err
		}
	}
	if v.volume != nil {
		if v.tape == barcode && !v.lease.Due(v.env.Config.WriterSlice) {
			return true, nil
		}
		if err := v.leave(ctx); err != nil {
			return false, err
		}
	}
	err := changer.WithPatience(ctx, 0, func() error {
		err := v.load(ctx, barcode)
		if err == nil {
			return nil
		}
		if lerr := v.leave(ctx); lerr != nil {
			v.env.Log.Warn("drive not given back in order", "tape", barcode, "err", lerr)
		}
		return err
	})
	if err == nil {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	v.away[barcode] = err
	return false, nil
}

func (v *verifier) load(ctx context.Context, barcode string) error {
	t, err := v.env.DB.TapeByBarcode(ctx, barcode)
	if err != nil {
		return err
	}
	if v.lease, err = v.env.Lib.Lease(ctx, changer.Request{Barcode: changer.Barcode(barcode), Purpose: "verify",
		Wait: func(holder string) { v.env.Note("waiting for a drive: %s has it", holder) }}); err != nil {
		return err
	}
	v.env.Note("loading %s into drive %d to verify it", barcode, v.lease.Drive().Element)
	if err := v.lease.Load(ctx, changer.Barcode(barcode)); err != nil {
		return err
	}
	if v.volume, err = v.lease.Mount(ctx, changer.MountRequest{UUID: t.UUID, ReadOnly: true}); err != nil {
		return err
	}
	v.tape, v.since = barcode, time.Now()
	if t.State == catalog.TapeForeign { // another program's: its files prove it
		return v.env.DB.Unwant(ctx, barcode, wantedToVerify)
	}
	if err := volume.CheckLabelToRead(v.env, v.volume, t, v.labelLost(barcode)); err != nil {
		return err
	}
	return v.env.DB.Unwant(ctx, barcode, wantedToVerify)
}

// labelLost tells once of each tape that its label is lost.
func (v *verifier) labelLost(barcode string) func(error) {
	return func(err error) {
		if v.unlabelled[barcode] {
			return
		}
		v.unlabelled[barcode] = true
		v.noted.Add("", "", fmt.Errorf("%w (its other files are read all the same; no run writes to it: tapefs tape repack %s moves them)", err, barcode))
	}
}

// leave unmounts and gives the drive back.
func (v *verifier) leave(ctx context.Context) error {
	lease := v.lease
	v.lease, v.volume, v.tape = nil, nil, ""
	if err := v.env.DB.AddTimed(context.WithoutCancel(ctx), v.pace); err != nil {
		v.env.Log.Debug("record how long the library took", "err", err)
	}
	v.pace = catalog.Timed{What: catalog.TimedStream}
	if lease == nil {
		return nil
	}
	return lease.Release(context.WithoutCancel(ctx))
}

// readPart reads one part and records that it is good or damaged. False: it was not read, or is bad.
func (v *verifier) readPart(ctx context.Context, p catalog.VerifyPart, out *proof) (bool, error) {
	ok, err := v.mount(ctx, p.Barcode)
	if err != nil || !ok {
		return false, err
	}
	sums, err := volume.PartSums(ctx, v.env, p.Object, p.Number)
	if errors.Is(err, catalog.ErrNotFound) {
		return v.surveyPart(ctx, p)
	}
	if err != nil {
		return false, err
	}
	began := time.Now()
	if out != nil {
		err = volume.ReadPart(ctx, v.volume, p.CopyPart, sums, out)
	} else {
		err = volume.ReadPart(ctx, v.volume, p.CopyPart, sums, nil)
	}
	switch {
	case err == nil:
		v.sum.Parts++
		v.sum.Bytes += p.Size
		if out == nil { // else openssl sets the pace
			v.paced(p.Size, time.Since(began))
		}
		if p.State == catalog.PartDamaged {
			return true, v.recovered(ctx, p, sums.Size)
		}
		return true, v.env.DB.PartVerified(ctx, p.ID, time.Now())
	case ctx.Err() != nil:
		return false, ctx.Err()
	case volume.IsDamage(err) && p.State == catalog.PartDamaged && !p.OpenDamage:
		v.sum.Replaced++
		return false, nil
	case volume.IsDamage(err):
		v.found(p, p.Name, err)
		return false, volume.MarkDamagedSince(ctx, v.env, p.CopyPart, err, v.since)
	case errors.Is(err, errProof):
		v.sum.Parts++ // its sealed bytes are good as far as they were read; the program took no more
		return false, nil
	}
	v.away[p.Barcode] = err
	return false, v.leave(ctx)
}

// paced counts how long reading took.
func (v *verifier) paced(bytes int64, took time.Duration) {
	v.pace.What, v.pace.Times = catalog.TimedStream, v.pace.Times+1
	v.pace.Bytes, v.pace.Took = v.pace.Bytes+bytes, v.pace.Took+took
}

// recovered takes back that a part is damaged.
func (v *verifier) recovered(ctx context.Context, p catalog.VerifyPart, size int64) error {
	again, err := v.env.DB.PartRecovered(ctx, p.CopyPart, size, time.Now())
	if again {
		v.sum.Recovered++
		v.env.Log.Warn("what counted as damaged was read without a fault", "tape", p.Barcode, "file", p.Name)
	}
	return err
}
