package archiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"syscall"

	"tapefs/archiver/pack"
	"tapefs/catalog"
	"tapefs/changer"
	"tapefs/fs/recall/beneath"
)

// spoolLoss is a file that was fetched, and whose bytes the spool lost before they were safe on tape.
type spoolLoss struct {
	version catalog.Version
	source  string
	path    string
	why     error
}

// spoolLosses gathers what the spool lost. Safe for concurrent use.
type spoolLosses struct {
	mu   sync.Mutex
	list []spoolLoss
}

func (s *spoolLosses) add(some []spoolLoss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, some...)
}

func (s *spoolLosses) take() []spoolLoss {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = nil
	return list
}

// checkSpool looks whether what was fetched and is still to be written lies in the spool, before sources are listed:
// what is gone is given up, and fetched again in this run from a source that still has it. Only names, sizes and
// times are looked at, and the bytes of what a reader found damaged; all bytes are held against their sums when they are packed.
func (w *writer) checkSpool(ctx context.Context) error {
	batches, err := w.batches(ctx)
	if err != nil {
		return err
	}
	for _, b := range batches {
		if _, ours := w.sources[b.Source]; !ours || b.Local {
			continue
		}
		objects, err := w.objects(ctx, b.ID)
		if err != nil {
			return err
		}
		rotten, err := w.a.env.DB.SpoolRot(ctx, b.ID)
		if err != nil {
			return err
		}
		looked := true
		for _, o := range objects {
			err := w.checkSpooled(ctx, b, o, rotten)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				looked = false
				w.noted.Add(w.sources[b.Source].Name, "", fmt.Errorf("look for object %s in the spool: %w", o.OID, err))
			}
		}
		if len(rotten) > 0 && looked {
			if err := w.a.env.DB.ForgetSpoolRot(ctx, b.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSpooled is checkSpool for one object. rotten are versions that are read whole.
func (w *writer) checkSpooled(ctx context.Context, b catalog.Batch, o catalog.PlannedObject, rotten map[catalog.ID]bool) error {
	switch o.State {
	case catalog.ObjectPlanned:
	case catalog.ObjectPacked:
		if owed, err := w.stillOwed(ctx, o.ID); err != nil || !owed {
			return err
		}
	default:
		return nil
	}
	lost, err := w.lostMembers(ctx, b, o, nil, rotten)
	if err != nil || len(lost) == 0 {
		return err
	}
	return w.giveUpSpooled(ctx, o, lost)
}

// stillOwed reports whether a packed object waits for a copy that only the spool can give.
func (w *writer) stillOwed(ctx context.Context, object int64) (bool, error) {
	all, err := w.a.env.DB.OnTapes(ctx, object)
	if err != nil || all {
		return false, err
	}
	copies, err := w.a.env.DB.ObjectCopies(ctx, object)
	if err != nil {
		return false, err
	}
	for _, c := range copies {
		if c.State < catalog.Durable {
			return true, nil
		}
	}
	return false, nil
}

// spoolFailed deals with an object that could not be packed, or not be repeated, because its files are not what they
// were. It reports whether the object can be tried again: either what the spool lost was given up, or no tape has the whole object, so
// that it is packed anew from what is there.
func (w *writer) spoolFailed(ctx context.Context, c catalog.OwedCopy, b catalog.Batch, o catalog.PlannedObject, why error) (again bool, err error) {
	if o.State == catalog.ObjectPacked {
		if all, err := w.a.env.DB.OnTapes(ctx, o.ID); err != nil || all {
			return false, err // the copy is made from another one
		}
	}
	var bad *pack.FileError
	switch {
	case errors.As(why, &bad):
		gone := placeGone(ctx, b, stallOf(w.sources[o.Source]), bad.Err)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if gone != nil {
			w.leaveAway(o.Source, gone)
			return false, nil
		}
		lost, err := w.lostMembers(ctx, b, o, bad, nil)
		if err != nil || len(lost) == 0 {
			return false, err
		}
		if b.Local {
			return true, w.giveUpUnread(ctx, o, lost)
		}
		return true, w.giveUpSpooled(ctx, o, lost)
	case errors.Is(why, pack.ErrReseal) && o.State == catalog.ObjectPacked && !w.repacked[c.ID]:
		w.repacked[c.ID] = true
		return true, w.unpack(ctx, o.ID)
	}
	return false, nil
}

// unpack lets an object that no tape has whole be packed anew.
func (w *writer) unpack(ctx context.Context, object int64) error {
	if err := w.abandon(ctx, object); err != nil {
		return err
	}
	return w.a.env.DB.Unpack(ctx, object)
}

// lostMembers lists the files of an object whose bytes the spool, or the source that is read in place, does not have any more,
// with all their hard-linked names. Of those in the spool the ones in rotten are summed, and all of them once one is known.
func (w *writer) lostMembers(ctx context.Context, b catalog.Batch, o catalog.PlannedObject, known *pack.FileError, rotten map[catalog.ID]bool) ([]spoolLoss, error) {
	source := w.sources[o.Source].Name
	l, err := w.a.layoutOf(ctx, source, o)
	if err != nil {
		return nil, err
	}
	bad := map[int]error{}
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.First >= 0 || e.Data < 0 || e.Size == 0 || e.Void {
			continue
		}
		isKnown := known != nil && e.Path == known.Path
		why := w.a.lookAtMember(ctx, b, e, known != nil && !isKnown || rotten[e.Version])
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if why == nil && isKnown {
			why = known.Err
		}
		if why != nil && saysLost(why, b.Local) {
			bad[i] = why
		}
	}
	if len(bad) == 0 {
		return nil, nil
	}
	versions := map[catalog.ID]catalog.Version{}
	for _, v := range o.Versions {
		versions[v.ID] = v
	}
	var lost []spoolLoss
	for i := range l.Entries {
		e := &l.Entries[i]
		first := i
		if e.First >= 0 {
			first = e.First
		}
		if why := bad[first]; why != nil {
			lost = append(lost, spoolLoss{versions[e.Version], source, e.Path, why})
		}
	}
	return lost, nil
}

// lookAtMember says what is wrong with a file that waits for its tape. A deep look reads it, unless it is read in place.
func (a *Archiver) lookAtMember(ctx context.Context, b catalog.Batch, e *pack.Entry, deep bool) error {
	f, err := a.openMember(b, e.Path)
	if err != nil {
		return err
	}
	now, err := pack.StateOf(f)
	if err == nil && !(b.Local && now.Size > e.Size) { // one that grows is archived as far as it was listed
		err = e.AsPlanned(now)
	}
	if err == nil && b.Local {
		err = e.AsListed(now)
	}
	if err != nil || b.Local || !deep || len(e.SHA256) == 0 {
		f.Close()
		return err
	}
	sum, err := sumFile(ctx, f, now.Size, catalog.Time{Sec: now.Mtime.Sec, Nsec: int32(now.Mtime.Nsec)}, map[string]int64{}, io.Discard)
	if err == nil && !bytes.Equal(sum[:], e.SHA256) {
		err = pack.ErrOtherSum
	}
	return err
}

// saysLost reports whether an error of a file means that its bytes are not to be had. Want of memory or descriptors does not; want
// of rights does not in the spool, which is ours.
func saysLost(err error, inPlace bool) bool {
	if inPlace {
		return !changer.BlamesNoTape(err)
	}
	for _, gone := range []error{fs.ErrNotExist, beneath.ErrNotRegular, pack.ErrNotAsPlanned, pack.ErrOtherSum, syscall.ENOTDIR, syscall.ELOOP, syscall.EISDIR,
		syscall.EIO, syscall.EUCLEAN, syscall.EBADMSG} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// giveUpSpooled takes files out of an object because the spool lost them. What else is in the object is written as planned.
func (w *writer) giveUpSpooled(ctx context.Context, o catalog.PlannedObject, lost []spoolLoss) error {
	w.a.env.Log.Warn("files are not in the spool any more as they were fetched: they are given up there", "source", lost[0].source, "files", len(lost),
		"first", lost[0].path, "why", shortError(lost[0].why))
	if err := w.toBePacked(ctx, o); err != nil {
		return err
	}
	if is, err := w.a.env.DB.IsReplacement(ctx, o.ID); err != nil {
		return err
	} else if is { // what it was to replace is on tape as before
		return w.a.env.DB.DropRepacked(ctx, o.ID)
	}
	ids := make([]catalog.ID, len(lost))
	for i, l := range lost {
		ids[i] = l.version.ID
	}
	links, err := w.a.env.DB.DropSpooled(ctx, o.ID, ids, catalog.TryAgain)
	if err != nil {
		return err
	}
	if err := w.a.env.DB.DropLinked(ctx, o.ID); err != nil {
		return err
	}
	if err := w.a.env.DB.Count(ctx, w.run.ID, lost[0].source, map[string]int64{"spool_lost": int64(len(lost))}); err != nil {
		return err
	}
	w.losses.add(lost)
	return w.noteVoided(ctx, links)
}

// toBePacked gives up what tapes have of an object, so that it can be packed again with other members.
func (w *writer) toBePacked(ctx context.Context, o catalog.PlannedObject) error {
	if o.State == catalog.ObjectPacked {
		return w.unpack(ctx, o.ID)
	}
	return w.abandon(ctx, o.ID)
}

// noteLosses says which files the spool lost and this run did not fetch again. Call it at the run's end.
func (w *writer) noteLosses(ctx context.Context) error {
	for _, l := range w.losses.take() {
		if !l.version.Current { // a newer state of the file had taken its place
			w.noted.Add(l.source, l.path, fmt.Errorf("an older version of it is lost: the spool lost it before it was on tape (%s)", shortError(l.why)))
			continue
		}
		now, err := w.a.env.DB.Lookup(ctx, l.version.Parent, l.version.Name)
		switch {
		case err != nil && !errors.Is(err, catalog.ErrNotFound):
			return err
		case err == nil && now.ID > l.version.ID && now.State == catalog.Present:
			continue // fetched again
		case err == nil && now.ID == l.version.ID && !now.Vanished.IsZero():
			w.noted.Add(l.source, l.path, fmt.Errorf("it is lost: the spool lost it before it was on tape (%s), and the source does not have it any more", shortError(l.why)))
		default:
			w.noted.Add(l.source, l.path, fmt.Errorf("the spool lost it before it was on tape (%s); a later run fetches it again from the source", shortError(l.why)))
		}
	}
	return nil
}
