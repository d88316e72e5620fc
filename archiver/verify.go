package archiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"tapefs/archiver/job"
	"tapefs/archiver/volume"
	"tapefs/catalog"
	"tapefs/changer"
)

// wantedToVerify is the reason under which tapes are wanted.
const wantedToVerify = "verify"

// VerifyOptions says what a verify reads. Nothing set: all that is durable.
type VerifyOptions struct {
	Sample  float64       // share of the bytes, drawn at random; 0: no draw
	Budget  int64         // bytes at most, the longest unproved first; 0: no limit
	Due     time.Duration // only what was not proved for so long; 0: all
	Tape    string        // barcode
	Source  string
	Paths   []catalog.Version
	OpenSSL bool     // also open each object with the openssl program and compare the files' sums
	Args    []string // of the command: the same again resume what was cut short

	written time.Time // only what was written since
	pools   map[string]float64
}

// VerifyDamage is what a verify found.
type VerifyDamage struct {
	Object  string
	Pool    string
	Barcode string
	File    string // on the tape; or the name in the archive
	Why     string
}

// VerifySummary is what a verify did.
type VerifySummary struct {
	Run     int64
	Parts   int
	Bytes   int64
	Files   int // compared by their plain sums
	Skipped int // proved already, by the runs that this one resumes
	// Recovered parts counted as damaged and were read without a fault: the drive may have been at fault.
	Recovered int
	// Replaced parts are damaged as was known before: what they held is whole elsewhere in their pool, or known as lost.
	Replaced  int
	Damaged   []VerifyDamage
	Manifests int // read back whole, like Snapshots of the catalog
	Snapshots int
	Lost      []VerifyDamage // manifests and snapshots that are not on tape as they were written
	Unnamed   int            // manifests that were lost, these included, and that no other replaces yet
	Known     int            // copies known to be damaged and not healed, those of this run included
	Trusted   []catalog.Tape // that were suspect, and are so no more
	Wanted    []string       // barcodes of tapes that are not in the library
}

// Verify reads sealed bytes back through read-only mounts, in tape order, and compares their sums.
// ErrDamaged when some differ, ErrNeedsOperator when tapes are not in the library.
func (a *Archiver) Verify(ctx context.Context, o VerifyOptions) (VerifySummary, error) {
	if a.env.Lib == nil {
		return VerifySummary{}, errors.New("verify: no library is configured")
	}
	if err := a.env.Lib.Recover(ctx); err != nil {
		return VerifySummary{}, fmt.Errorf("recover the library: %w", err)
	}
	run, err := a.env.StartRun(ctx, "verify", o.Args)
	if err != nil {
		return VerifySummary{}, err
	}
	noted := job.NewProblems(a.env, run)
	v := &verifier{a: a, run: run, noted: noted, openssl: o.OpenSSL, away: map[string]error{}, journal: map[string][]journalItem{}, closed: map[string]error{}, sum: VerifySummary{Run: run.ID}}
	err = v.verify(ctx, o)
	err = errors.Join(err, v.leave(ctx))
	if err == nil || errors.Is(err, ErrNeedsOperator) {
		ended, eerr := volume.EndSuspicions(ctx, a.env)
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
	return v.sum, errors.Join(err, a.env.DB.Count(ctx, run.ID, "", counts), a.env.DB.FinishRun(ctx, run.ID, state, message))
}

type verifier struct {
	a       *Archiver
	run     catalog.Run
	noted   *job.Problems
	openssl bool
	away    map[string]error         // tapes that could not be read, and why
	journal map[string][]journalItem // by tape: manifests and snapshots still to be read
	closed  map[string]error         // keys that are not at hand, and why: what they seal of the journal was not proved
	cut     bool                     // the budget left parts out
	sum     VerifySummary

	lease  *changer.Lease
	volume *changer.Volume
	tape   string    // barcode of volume
	since  time.Time // when it was mounted
}

// choose lists what is to be read: each item is a part or, for the openssl program, the parts of a copy.
func (v *verifier) choose(ctx context.Context, o VerifyOptions) ([][]catalog.VerifyPart, error) {
	// Who names a tape or a path wants to know of all that should be there.
	f := catalog.VerifyFilter{Barcode: o.Tape, Written: o.written, Damaged: o.Tape != "" || len(o.Paths) > 0}
	if o.Source != "" {
		src, err := v.a.env.DB.SourceByName(ctx, o.Source)
		if err != nil {
			return nil, err
		}
		f.Source = src.ID
	}
	if len(o.Paths) > 0 {
		f.Objects = map[int64]bool{}
		for _, p := range o.Paths {
			if err := v.a.env.DB.ObjectsBelow(ctx, p, f.Objects); err != nil {
				return nil, fmt.Errorf("look for the objects to verify: %w", err)
			}
		}
	}
	parts, err := v.a.env.DB.VerifyParts(ctx, f)
	if err != nil {
		return nil, err
	}
	since, err := v.a.env.DB.CampaignSince(ctx, v.run)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	resumes := since.Before(v.run.Started)
	parts = slices.DeleteFunc(parts, func(p catalog.VerifyPart) bool {
		last := p.Verified
		if last.Before(p.Durable) {
			last = p.Durable
		}
		due := now.Sub(last) >= o.Due || p.Suspected.After(last) // what lies on a suspect tape is due at once
		if _, ok := o.pools[p.Pool]; o.pools != nil && !ok || o.Due > 0 && !due {
			return true
		}
		if resumes && !v.openssl && !p.Verified.Before(since) {
			v.sum.Skipped++
			return true
		}
		return false
	})
	items := make([][]catalog.VerifyPart, 0, len(parts))
	at := map[int64]int{}
	for _, p := range parts {
		if i, ok := at[p.Copy]; ok && v.openssl {
			items[i] = append(items[i], p)
			continue
		}
		at[p.Copy] = len(items)
		items = append(items, []catalog.VerifyPart{p})
	}
	if resumes && v.openssl {
		items = slices.DeleteFunc(items, func(item []catalog.VerifyPart) bool {
			if slices.ContainsFunc(item, func(p catalog.VerifyPart) bool { return p.Verified.Before(since) }) {
				return false
			}
			v.sum.Skipped += len(item)
			return true
		})
	}
	switch {
	case o.pools != nil:
		by := map[string][][]catalog.VerifyPart{}
		for _, item := range items {
			by[item[0].Pool] = append(by[item[0].Pool], item)
		}
		items = nil
		for pool, list := range by {
			items = append(items, sample(list, o.pools[pool])...)
		}
	case o.Sample > 0:
		items = sample(items, o.Sample)
	}
	if o.Budget > 0 {
		left := o.Budget
		for i, item := range items {
			if left <= 0 {
				items, v.cut = items[:i], true
				break
			}
			left -= sizeOf(item)
		}
	}
	for _, item := range items {
		slices.SortFunc(item, func(x, y catalog.VerifyPart) int { return cmp.Compare(x.Number, y.Number) })
	}
	slices.SortFunc(items, func(x, y []catalog.VerifyPart) int {
		return cmp.Or(cmp.Compare(x[0].Barcode, y[0].Barcode), cmp.Compare(x[0].StartBlock, y[0].StartBlock), cmp.Compare(x[0].ID, y[0].ID))
	})
	return items, nil
}

func sizeOf(item []catalog.VerifyPart) (n int64) {
	for _, p := range item {
		n += p.Size
	}
	return n
}

// sample draws items at random until they hold a share of all bytes; one at least.
func sample(items [][]catalog.VerifyPart, share float64) [][]catalog.VerifyPart {
	if share >= 1 {
		return items
	}
	var total, got int64
	for _, item := range items {
		total += sizeOf(item)
	}
	rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	for i, item := range items {
		if float64(got) >= share*float64(total) {
			return items[:i]
		}
		got += sizeOf(item)
	}
	return items
}

func (v *verifier) verify(ctx context.Context, o VerifyOptions) error {
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
		v.a.env.Stage("verify", done, total)
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
	if v.volume != nil {
		if v.tape == barcode && !v.lease.Due(v.a.env.Config.WriterSlice) {
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
			v.a.env.Log.Warn("drive not given back in order", "tape", barcode, "error", lerr)
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
	t, err := v.a.env.DB.TapeByBarcode(ctx, barcode)
	if err != nil {
		return err
	}
	if v.lease, err = v.a.env.Lib.Lease(ctx, changer.Request{Barcode: changer.Barcode(barcode), Purpose: "verify",
		Wait: func(holder string) { v.a.env.Note("waiting for a drive: %s has it", holder) }}); err != nil {
		return err
	}
	v.a.env.Note("loading %s into drive %d to verify it", barcode, v.lease.Drive().Element)
	if err := v.lease.Load(ctx, changer.Barcode(barcode)); err != nil {
		return err
	}
	if v.volume, err = v.lease.Mount(ctx, changer.MountRequest{UUID: t.UUID, ReadOnly: true}); err != nil {
		return err
	}
	v.tape, v.since = barcode, time.Now()
	if t.State == catalog.TapeForeign { // another program's: its files prove it
		return v.a.env.DB.Unwant(ctx, barcode, wantedToVerify)
	}
	if err := volume.CheckLabel(v.a.env, v.volume, t); err != nil {
		return err
	}
	return v.a.env.DB.Unwant(ctx, barcode, wantedToVerify)
}

// leave unmounts and gives the drive back.
func (v *verifier) leave(ctx context.Context) error {
	lease := v.lease
	v.lease, v.volume, v.tape = nil, nil, ""
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
	sums, err := volume.PartSums(ctx, v.a.env, p.Object, p.Number)
	if errors.Is(err, catalog.ErrNotFound) {
		return v.surveyPart(ctx, p)
	}
	if err != nil {
		return false, err
	}
	if out != nil {
		err = volume.ReadPart(ctx, v.volume, p.CopyPart, sums, out)
	} else {
		err = volume.ReadPart(ctx, v.volume, p.CopyPart, sums, nil)
	}
	switch {
	case err == nil:
		v.sum.Parts++
		v.sum.Bytes += p.Size
		if p.State == catalog.PartDamaged {
			return true, v.recovered(ctx, p, sums.Size)
		}
		return true, v.a.env.DB.PartVerified(ctx, p.ID, time.Now())
	case ctx.Err() != nil:
		return false, ctx.Err()
	case volume.IsDamage(err) && p.State == catalog.PartDamaged && !p.OpenDamage:
		v.sum.Replaced++
		return false, nil
	case volume.IsDamage(err):
		v.found(p, p.Name, err)
		return false, volume.MarkDamagedSince(ctx, v.a.env, p.CopyPart, err, v.since)
	case errors.Is(err, errProof):
		v.sum.Parts++ // its sealed bytes are good as far as they were read; the program took no more
		return false, nil
	}
	v.away[p.Barcode] = err
	return false, v.leave(ctx)
}

// recovered takes back that a part is damaged.
func (v *verifier) recovered(ctx context.Context, p catalog.VerifyPart, size int64) error {
	again, err := v.a.env.DB.PartRecovered(ctx, p.CopyPart, size, time.Now())
	if again {
		v.sum.Recovered++
		v.a.env.Log.Warn("what counted as damaged was read without a fault", "tape", p.Barcode, "file", p.Name)
	}
	return err
}

func (v *verifier) found(p catalog.VerifyPart, file string, err error) {
	v.sum.Damaged = append(v.sum.Damaged, VerifyDamage{Object: p.OID, Pool: p.Pool, Barcode: p.Barcode, File: file, Why: err.Error()})
	v.noted.Add("", "", fmt.Errorf("object %s in pool %s on tape %s is damaged: %w", p.OID, p.Pool, p.Barcode, err))
}

// want records which tapes have to be brought.
func (v *verifier) want(ctx context.Context) error {
	for barcode, why := range v.away {
		if !errors.Is(why, changer.ErrNotInLibrary) && !errors.Is(why, changer.ErrNoMedium) && !errors.Is(why, changer.ErrWrongVolume) {
			v.noted.Add("", "", fmt.Errorf("tape %s could not be verified: %w", barcode, why))
			continue
		}
		if !errors.Is(why, changer.ErrNotInLibrary) {
			v.a.env.Log.Warn("a tape is taken for missing", "tape", barcode, "error", why)
		}
		if _, err := v.a.env.DB.Want(ctx, barcode, wantedToVerify); err != nil {
			return err
		}
		v.sum.Wanted = append(v.sum.Wanted, barcode)
	}
	slices.Sort(v.sum.Wanted)
	for key, why := range v.closed {
		v.noted.Add("", "", fmt.Errorf("manifests and snapshots sealed with key %s could not be verified: %w", key, why))
	}
	return nil
}

func (v *verifier) result(ctx context.Context, o VerifyOptions) error {
	damages, err := v.a.env.DB.Damages(ctx)
	if err != nil {
		return err
	}
	for _, d := range damages {
		v.sum.Known += d.Copies
	}
	missed, err := v.a.env.DB.MissedManifests(ctx)
	if err != nil {
		return err
	}
	for _, n := range missed {
		v.sum.Unnamed += n
	}
	if n := len(v.sum.Damaged) + len(v.sum.Lost); n > 0 {
		return fmt.Errorf("%w: %d files on tape are not what was written", ErrDamaged, n)
	}
	if v.sum.Known > 0 && o.written.IsZero() { // a run's own reading back is about what it wrote
		return fmt.Errorf("%w earlier, and is not healed (damaged copies: %d)", ErrDamaged, v.sum.Known)
	}
	if v.sum.Unnamed > 0 && o.written.IsZero() {
		return fmt.Errorf("%w earlier: no manifest names yet what %d lost ones named", ErrDamaged, v.sum.Unnamed)
	}
	if len(v.sum.Wanted) > 0 {
		return fmt.Errorf("%w: tapes to be verified are not in the library: %v", ErrNeedsOperator, v.sum.Wanted)
	}
	if err := v.noted.Result(); err != nil {
		return errors.New("some of what is on tape could not be verified")
	}
	return nil
}

// verifyWritten reads back what a run wrote, as far as pools ask for it, through fresh mounts.
func (a *Archiver) verifyWritten(ctx context.Context, run catalog.Run, noted *job.Problems) error {
	pools := map[string]float64{}
	for _, p := range a.env.Config.Pools {
		if p.VerifyAfterWrite > 0 {
			pools[p.Name] = p.VerifyAfterWrite
		}
	}
	if len(pools) == 0 {
		return nil
	}
	parts, err := a.env.DB.VerifyParts(ctx, catalog.VerifyFilter{Written: run.Started})
	if err != nil || !slices.ContainsFunc(parts, func(p catalog.VerifyPart) bool { return pools[p.Pool] > 0 }) {
		return err
	}
	_, err = a.Verify(ctx, VerifyOptions{Args: []string{"--after-run", fmt.Sprint(run.ID)}, written: run.Started, pools: pools})
	if err != nil && ctx.Err() == nil {
		noted.Add("", "", fmt.Errorf("read back what was written: %w", err))
		return nil
	}
	return err
}
