package archiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/fs/recall/beneath"
)

// check looks whether what was fetched and is still to be written lies in the spool, before sources are listed:
// what is gone is given up, and fetched again in this run from a source that still has it. Only names, sizes and
// times are looked at, and the bytes of what a reader found damaged; all bytes are held against their sums when they are packed.
func (s *stock) check(ctx context.Context) error {
	batches, err := s.batches(ctx)
	if err != nil {
		return err
	}
	for _, b := range batches {
		if _, ours := s.sources[b.Source]; !ours || b.Local {
			continue
		}
		objects, err := s.objects(ctx, b.ID)
		if err != nil {
			return err
		}
		rotten, err := s.a.env.DB.SpoolRot(ctx, b.ID)
		if err != nil {
			return err
		}
		looked := true
		for _, o := range objects {
			err := s.checkSpooled(ctx, b, o, rotten)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				looked = false
				s.noted.Add(s.sources[b.Source].Name, "", fmt.Errorf("look for object %s in the spool: %w", o.OID, err))
			}
		}
		if len(rotten) > 0 && looked {
			if err := s.a.env.DB.ForgetSpoolRot(ctx, b.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSpooled is check for one object. rotten are versions that are read whole.
func (s *stock) checkSpooled(ctx context.Context, b catalog.Batch, o catalog.PlannedObject, rotten map[catalog.ID]bool) error {
	switch o.State {
	case catalog.ObjectPlanned:
	case catalog.ObjectPacked:
		if owed, err := s.stillOwed(ctx, o.ID); err != nil || !owed {
			return err
		}
	default:
		return nil
	}
	lost, err := s.lostMembers(ctx, b, o, nil, rotten)
	if err != nil || len(lost) == 0 {
		return err
	}
	return s.giveUpSpooled(ctx, o, lost)
}

// stillOwed reports whether a packed object waits for a copy that only the spool can give.
func (s *stock) stillOwed(ctx context.Context, object int64) (bool, error) {
	all, err := s.a.env.DB.OnTapes(ctx, object)
	if err != nil || all {
		return false, err
	}
	copies, err := s.a.env.DB.ObjectCopies(ctx, object)
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

// failed deals with an object that could not be packed, or not be repeated, because its files are not what they
// were. It reports whether the object can be tried again: either what the spool lost was given up, or no tape has the whole object, so
// that it is packed anew from what is there.
func (s *stock) failed(ctx context.Context, c catalog.OwedCopy, b catalog.Batch, o catalog.PlannedObject, why error) (again bool, err error) {
	if o.State == catalog.ObjectPacked {
		if all, err := s.a.env.DB.OnTapes(ctx, o.ID); err != nil || all {
			return false, err // the copy is made from another one
		}
	}
	var bad *pack.FileError
	switch {
	case errors.As(why, &bad):
		gone := source.Gone(ctx, b, source.StallOf(s.sources[o.Source]), bad.Err)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if gone != nil {
			s.leaveAway(o.Source, gone)
			return false, nil
		}
		lost, err := s.lostMembers(ctx, b, o, bad, nil)
		if err != nil || len(lost) == 0 {
			return false, err
		}
		if b.Local {
			return true, s.giveUpUnread(ctx, o, lost)
		}
		return true, s.giveUpSpooled(ctx, o, lost)
	case errors.Is(why, pack.ErrReseal) && o.State == catalog.ObjectPacked && !s.known.repacked[c.ID]:
		s.known.repacked[c.ID] = true
		return true, s.unpack(ctx, o.ID)
	}
	return false, nil
}

// unpack lets an object that no tape has whole be packed anew.
func (s *stock) unpack(ctx context.Context, object int64) error {
	if err := s.abandon(ctx, object); err != nil {
		return err
	}
	return s.a.env.DB.Unpack(ctx, object)
}

// lostMembers lists the files of an object whose bytes the spool, or the source that is read in place, does not have any more,
// with all their hard-linked names. Of those in the spool the ones in rotten are summed, and all of them once one is known.
func (s *stock) lostMembers(ctx context.Context, b catalog.Batch, o catalog.PlannedObject, known *pack.FileError, rotten map[catalog.ID]bool) ([]spoolLoss, error) {
	source := s.sources[o.Source].Name
	l, err := s.a.spool.LayoutOf(ctx, source, o)
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
		why := s.a.lookAtMember(ctx, b, e, known != nil && !isKnown || rotten[e.Version])
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
	f, err := a.spool.OpenMember(b, e.Path)
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
	sum, err := pack.Sum(ctx, f, now.Size, catalog.Time{Sec: now.Mtime.Sec, Nsec: int32(now.Mtime.Nsec)}, map[string]int64{}, io.Discard)
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
func (s *stock) giveUpSpooled(ctx context.Context, o catalog.PlannedObject, lost []spoolLoss) error {
	s.a.env.Log.Warn("files are not in the spool any more as they were fetched: they are given up there", "source", lost[0].source, "files", len(lost),
		"first", lost[0].path, "why", localfs.ShortError(lost[0].why))
	if err := s.toBePacked(ctx, o); err != nil {
		return err
	}
	if is, err := s.a.env.DB.IsReplacement(ctx, o.ID); err != nil {
		return err
	} else if is { // what it was to replace is on tape as before
		return s.a.env.DB.DropRepacked(ctx, o.ID)
	}
	ids := make([]catalog.ID, len(lost))
	for i, l := range lost {
		ids[i] = l.version.ID
	}
	links, err := s.a.env.DB.DropSpooled(ctx, o.ID, ids, catalog.TryAgain)
	if err != nil {
		return err
	}
	if err := s.a.env.DB.DropLinked(ctx, o.ID); err != nil {
		return err
	}
	if err := s.a.env.DB.Count(ctx, s.run.ID, lost[0].source, map[string]int64{"spool_lost": int64(len(lost))}); err != nil {
		return err
	}
	s.losses.add(lost)
	return s.noteVoided(ctx, links)
}

// toBePacked gives up what tapes have of an object, so that it can be packed again with other members.
func (s *stock) toBePacked(ctx context.Context, o catalog.PlannedObject) error {
	if o.State == catalog.ObjectPacked {
		return s.unpack(ctx, o.ID)
	}
	return s.abandon(ctx, o.ID)
}

// noteLosses says which files the spool lost and this run did not fetch again. Call it at the run's end.
func (s *stock) noteLosses(ctx context.Context) error {
	for _, l := range s.losses.take() {
		if !l.version.Current { // a newer state of the file had taken its place
			s.noted.Add(l.source, l.path, fmt.Errorf("an older version of it is lost: the spool lost it before it was on tape (%s)", localfs.ShortError(l.why)))
			continue
		}
		now, err := s.a.env.DB.Lookup(ctx, l.version.Parent, l.version.Name)
		switch {
		case err != nil && !errors.Is(err, catalog.ErrNotFound):
			return err
		case err == nil && now.ID > l.version.ID && now.State == catalog.Present:
			continue // fetched again
		case err == nil && now.ID == l.version.ID && !now.Vanished.IsZero():
			s.noted.Add(l.source, l.path, fmt.Errorf("it is lost: the spool lost it before it was on tape (%s), and the source does not have it any more", localfs.ShortError(l.why)))
		default:
			s.noted.Add(l.source, l.path, fmt.Errorf("the spool lost it before it was on tape (%s); a later run fetches it again from the source", localfs.ShortError(l.why)))
		}
	}
	return nil
}
