package archiver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/tapefs/tapefs/archiver/diff"
	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/removal"
	"github.com/tapefs/tapefs/archiver/safe"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// Why a safe file stays at the source although it was to be removed. The words are part of the command's output.
const (
	InUse       = "in use"       // somebody has it open for writing
	ChangedNow  = "changed now"  // it is not what was listed any more
	GoneAlready = "gone already" // nothing is there
	NotRemoved  = "not removed"  // the system refused, or nobody can tell whether somebody writes to it
)

// ErrNotHere: files are only removed where they can be looked at, held and removed in one place.
var ErrNotHere = errors.New("only a source on this machine can be emptied")

// DeleteSummary is what a deletion did.
type DeleteSummary struct {
	SafeSummary
	Run          int64
	Removed      int64
	RemovedBytes int64
	Receipts     string // the file with them; "" when nothing was removed
}

// deletePage is how many files are written down, removed and recorded at once.
const deletePage = 100

// SafeDelete is Safe, and removes what is safe: each file is read at the moment it goes, and goes only if its bytes are those that were
// read back from as many copies as are wanted. fn gets each file when it is gone, or with the reason why it stays. What is removed
// is written down before in the catalog, and after in a file of receipts; it has vanished from its source then. Killed at any
// step, the next SafeDelete or Archive of the source ends what was begun. ErrNotSafe when anything stays.
func (a *Archiver) SafeDelete(ctx context.Context, name string, o SafeOptions, fn func(SafeFile) error) (sum DeleteSummary, err error) {
	chosen, err := a.env.ChooseSources([]string{name})
	if err != nil {
		return sum, err
	}
	if err := canEmpty(chosen[0]); err != nil {
		return sum, fmt.Errorf("source %s: %w", name, err)
	}
	unlock, err := a.env.LockSource(name)
	if err != nil {
		return sum, err
	}
	defer unlock()
	run, err := a.env.StartRun(ctx, "safe", []string{"--delete", name})
	if err != nil {
		return sum, err
	}
	sum, err = a.empty(ctx, run, chosen[0], o, fn)
	sum.Run = run.ID
	state, message := job.EndOf(ctx, err)
	if errors.Is(err, ErrNotSafe) {
		state = "done"
	}
	ctx = context.WithoutCancel(ctx)
	return sum, errors.Join(err, a.countRemoved(ctx, run, name, sum), a.env.DB.FinishRun(ctx, run.ID, state, message))
}

func (a *Archiver) countRemoved(ctx context.Context, run catalog.Run, source string, sum DeleteSummary) error {
	return a.countSome(ctx, run, source, map[string]int64{"removed": sum.Removed, "removed_bytes": sum.RemovedBytes})
}

// countSome records a run's counts but those of nothing.
func (a *Archiver) countSome(ctx context.Context, run catalog.Run, source string, counts map[string]int64) error {
	maps.DeleteFunc(counts, func(_ string, n int64) bool { return n == 0 })
	return a.env.DB.Count(ctx, run.ID, source, counts)
}

// OnThisMachine reports whether a source's URL is that of a directory here, which is read in place.
func OnThisMachine(url string) bool { return canEmpty(Source{URL: url}) == nil }

// canEmpty reports why nothing is ever removed from a source.
func canEmpty(src Source) error {
	at, err := source.ParseAddress(src.URL)
	if err == nil && at.Transport != source.InPlace {
		err = ErrNotHere
	}
	return err
}

// empty removes what is safe at a source that this process has locked.
func (a *Archiver) empty(ctx context.Context, run catalog.Run, src Source, o SafeOptions, fn func(SafeFile) error) (sum DeleteSummary, err error) {
	at, err := source.ParseAddress(src.URL)
	if err != nil {
		return sum, err
	}
	if err := a.endRemovals(ctx, run, src); err != nil {
		return sum, err
	}
	row, err := a.env.SourceRow(ctx, src, true)
	if err != nil {
		return sum, err
	}
	place, err := removal.Open(at.Path)
	if err != nil {
		return sum, fmt.Errorf("source %s: %w", src.Name, err)
	}
	defer place.Close()
	if o.Copies <= 0 {
		o.Copies = max(1, len(src.Copies))
	}
	o.Verified = true
	e := &emptying{a: a, run: run, src: src, row: row, place: place, o: o, fn: fn, stay: map[string]int64{}}
	sum.SafeSummary, err = a.Safe(ctx, src.Name, o, func(f SafeFile) error { return e.file(ctx, f) })
	if ctx.Err() == nil && (err == nil || errors.Is(err, ErrNotSafe)) {
		err = errors.Join(err, e.flush(ctx))
	}
	sum.Removed, sum.RemovedBytes, sum.Safe, sum.SafeBytes = e.removed, e.bytes, e.removed, e.bytes
	for why, n := range e.stay {
		sum.NotSafe[why] += n
	}
	if err == nil && len(e.stay) > 0 {
		err = ErrNotSafe
	}
	var ferr error
	sum.Receipts, ferr = a.fileReceipts(context.WithoutCancel(ctx), src, row)
	return sum, errors.Join(err, ferr)
}

// emptying is one source being emptied.
type emptying struct {
	a     *Archiver
	run   catalog.Run
	src   Source
	row   catalog.Source
	place *removal.Place
	o     SafeOptions
	fn    func(SafeFile) error
	page  []SafeFile // safe, and not removed yet

	removed, bytes int64
	stay           map[string]int64 // were safe when they were listed, and stay, by reason
}

// file takes what Safe says of one file.
func (e *emptying) file(ctx context.Context, f SafeFile) error {
	if f.Why != "" {
		return e.fn(f)
	}
	if e.page = append(e.page, f); len(e.page) < deletePage {
		return nil
	}
	return e.flush(ctx)
}

// flush writes a page of files down, removes them one after the other, and records what became of each.
func (e *emptying) flush(ctx context.Context) error {
	page := e.page
	e.page = nil
	var files []SafeFile
	var receipts []catalog.Receipt
	var wanted []removal.Wanted
	judge := safe.NewRecount(e.a.env, e.o) // asks anew what is on tape
	for _, f := range page {
		r, w, why, err := e.ready(ctx, judge, &f)
		if err != nil {
			return err
		}
		if why != "" {
			if err := e.stays(f, why); err != nil {
				return err
			}
			continue
		}
		files, receipts, wanted = append(files, f), append(receipts, r), append(wanted, w)
	}
	if len(files) == 0 {
		return nil
	}
	if err := e.a.env.DB.BeginReceipts(ctx, receipts); err != nil {
		return err
	}
	job.Failpoint("removal-noted")
	whys := make([]string, len(files))
	for i := range files {
		err := e.place.Take(ctx, wanted[i])
		receipts[i].At = time.Now()
		if receipts[i].State = catalog.ReceiptKept; err == nil {
			receipts[i].State = catalog.ReceiptRemoved
			continue
		}
		whys[i] = e.because(ctx, files[i].Path, err)
	}
	if err := e.a.env.DB.EndReceipts(context.WithoutCancel(ctx), e.run.ID, receipts); err != nil {
		return err
	}
	job.Failpoint("removal-recorded")
	for i, f := range files {
		if whys[i] != "" {
			if err := e.stays(f, whys[i]); err != nil {
				return err
			}
			continue
		}
		e.removed++
		e.bytes += f.Size
		if err := e.fn(f); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (e *emptying) stays(f SafeFile, why string) error {
	e.stay[why]++
	f.Why = why
	return e.fn(f)
}

// because puts an error of a removal into a word, and into the run where it is more than that.
func (e *emptying) because(ctx context.Context, path string, err error) string {
	switch {
	case errors.Is(err, removal.ErrLeftOver):
	case errors.Is(err, removal.ErrInUse):
		return InUse
	case errors.Is(err, removal.ErrGone):
		return GoneAlready
	case errors.Is(err, removal.ErrChanged):
		return ChangedNow
	case ctx.Err() != nil:
		return NotRemoved
	}
	e.a.env.Log.Warn("a file stays at its source", "source", e.src.Name, "path", path, "err", err)
	if rerr := e.a.env.DB.AddRunError(context.WithoutCancel(ctx), e.run.ID, e.src.Name, path, "it stays at the source: "+err.Error()); rerr != nil {
		e.a.env.Log.Error("an error of the run could not be recorded", "err", rerr)
	}
	return NotRemoved
}

// ready looks once more whether a file may go, and says what it must be and what its receipt is. why: it must stay.
func (e *emptying) ready(ctx context.Context, judge *safe.Recount, f *SafeFile) (r catalog.Receipt, w removal.Wanted, why string, err error) {
	db := e.a.env.DB
	v, err := db.Get(ctx, f.Version)
	if err != nil {
		return r, w, "", err
	}
	if err := judge.Count(ctx, &v, f); err != nil || f.Why != "" {
		return r, w, f.Why, err
	}
	sum, err := diff.SumOf(ctx, db, &v)
	if err != nil {
		return r, w, "", err
	}
	if v.Kind == catalog.File && len(sum) == 0 {
		return r, w, safe.NotCompared, nil
	}
	r = catalog.Receipt{Run: e.run.ID, Source: e.row.ID, Path: f.Path, Version: v.ID, Kind: v.Kind, Size: v.Size, SHA256: sum}
	if r.Copies, err = e.copies(ctx, &v); err != nil {
		return r, w, "", err
	}
	r.Aside = fmt.Sprintf(".tapefs-going-%d-%d", e.run.ID, v.ID) // no other run, and no other path, has this name
	w = removal.Wanted{Path: f.Path, Aside: r.Aside, Kind: v.Kind, Size: v.Size, MTime: v.MTime, SHA256: sum, Target: v.Target}
	return r, w, "", nil
}

// copies are those that count for a version.
func (e *emptying) copies(ctx context.Context, v *catalog.Version) (all []catalog.ReceiptCopy, err error) {
	objects, err := e.a.env.DB.ObjectsWith(ctx, v.Data)
	if err != nil {
		return nil, err
	}
	if v.Kind == catalog.Symlink {
		if objects, err = e.a.env.DB.ObjectsWith(ctx, v.ID); err != nil {
			return nil, err
		}
	}
	for _, object := range objects {
		some, err := e.a.env.DB.CountedCopies(ctx, object)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// endRemovals finds out what became of removals at a source whose process died, and gives files that lie aside their names back.
func (a *Archiver) endRemovals(ctx context.Context, run catalog.Run, src Source) error {
	at, err := source.ParseAddress(src.URL)
	if err != nil || at.Transport != source.InPlace {
		return err
	}
	row, err := a.env.SourceRow(ctx, src, true)
	if err != nil || row.ID == 0 {
		return err
	}
	list, err := a.env.DB.OpenReceipts(ctx, row.ID)
	if err != nil || len(list) == 0 {
		return err
	}
	place, err := removal.Open(at.Path)
	if err != nil {
		return fmt.Errorf("source %s: look what became of files that were being removed: %w", src.Name, err)
	}
	defer place.Close()
	for i := range list {
		r := &list[i]
		found, err := place.Recover(r.Path, r.Aside)
		if err != nil && !errors.Is(err, removal.ErrLeftOver) {
			return fmt.Errorf("source %s: look what became of %q, which was being removed: %w", src.Name, r.Path, err)
		}
		if err != nil {
			a.env.Log.Warn("a file that was to be removed lies beside its name", "source", src.Name, "path", r.Path, "err", err)
			if err := a.env.DB.AddRunError(ctx, run.ID, src.Name, r.Path, err.Error()); err != nil {
				return err
			}
		}
		if r.State, r.At = catalog.ReceiptKept, time.Now(); found == removal.Removed {
			r.State = catalog.ReceiptRemoved
		}
	}
	if err := a.env.DB.EndReceipts(ctx, run.ID, list); err != nil {
		return err
	}
	_, err = a.fileReceipts(ctx, src, row)
	return err
}
