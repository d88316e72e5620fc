package recall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// session is one tape in one drive, from lease to release. One goroutine runs it.
type session struct {
	q       *Queue
	barcode string
	wake    chan struct{} // capacity 1: requests came or went

	leasing     context.Context // ends when nobody wants the tape any more
	stopLeasing context.CancelFunc

	ending   bool      // takes no more requests; protected by Queue.mu
	mounted  time.Time // since when it reads; protected by Queue.mu
	way      sweep     // used by the session's goroutine alone, as all below
	track    track
	aside    bool          // what next took is for no reader
	foreseen time.Duration // for how long what is only foreseen was read
	idle     bool          // and nobody waits for it
	root     *os.Root
	file     *os.File // the part read last
	name     string
	uuid     string // of the mounted volume
	proved   bool   // by its UUID, or by a file that had its MD5
	good     int    // extents read well
	clock    readClock
}

func (s *session) run() {
	q := s.q
	defer q.running.Done()
	err := s.serve()
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err == nil:
		delete(q.short, s.barcode)
	case q.closed:
	case errors.Is(err, changer.ErrDriveAway):
		q.driveFor(err)
		q.markTrouble(s.barcode, err)
	case changer.FaultOf(err) == changer.Shortage:
		s.lacking(err)
	default:
		q.log.Error("tape could not be read", "barcode", s.barcode, "err", err)
		q.markTrouble(s.barcode, err)
	}
	delete(q.sessions, s)
	q.inventory = nil // the tape may lie elsewhere now
	q.wake()
}

// shortPause is how long a tape is left alone that could not be reached for lack of something on this machine.
const shortPause = 500 * time.Millisecond

// forgetShort is when a tape that could not be reached, and that nobody asked for since, has been let down for the first time again.
const forgetShort = 10 * time.Minute

// lacking deals with what this machine lacks to reach a tape. The tape is tried again in a moment; when patience is at an end, all who
// wait for it are told. Called with the queue's lock held, which it gives away meanwhile.
func (s *session) lacking(err error) {
	q := s.q
	s.ending = true
	since, ok := q.short[s.barcode]
	if !ok || time.Since(since) > forgetShort {
		since = time.Now()
		q.short[s.barcode] = since
		q.log.Warn("tape could not be reached, and no fault of the tape", "barcode", s.barcode, "err", err)
	}
	if time.Since(since) >= q.patience {
		delete(q.short, s.barcode)
		for _, f := range q.fetches {
			if !f.active && s.answers(f) {
				q.finish(f, nil, err)
			}
		}
		return
	}
	q.mu.Unlock()
	select {
	case <-time.After(min(shortPause, q.patience)):
	case <-q.soft.Done():
	}
	q.mu.Lock()
}

// serve leases, mounts, answers and releases. An error means that the tape is of no use just now.
func (s *session) serve() error {
	q := s.q
	defer s.stopLeasing()
	le, err := s.lease()
	if err != nil || le == nil {
		return err
	}
	q.mu.Lock()
	q.driveFor(nil)
	q.mu.Unlock()
	defer func() {
		s.end()
		if rerr := le.Release(q.hard); rerr != nil {
			// The tape itself may be good. A drive that does not stand still stays leased until it does.
			q.log.Warn("drive not given back in order", "barcode", s.barcode, "err", rerr)
		}
		s.tellMoves() // last: the drive need not wait for the catalog
	}()
	if s.endIfIdle() {
		return nil
	}
	tape, err := q.db.TapeByBarcode(q.hard, s.barcode)
	if err != nil {
		return fmt.Errorf("tape %s: %w", s.barcode, err)
	}
	// That of an imported tape is learnt when a file on it proves to be what its archive says.
	if tape.UUID == "" && tape.State != catalog.TapeForeign {
		return fmt.Errorf("tape %s: %w: the catalog has no volume UUID", s.barcode, changer.ErrNotFormatted)
	}
	s.begin(tape)
	began := time.Now()
	if err := le.Load(q.hard, changer.Barcode(s.barcode)); err != nil {
		// Without a changer, another tape or none in the drive is the same as one outside the library.
		if errors.Is(err, changer.ErrNotInLibrary) || errors.Is(err, changer.ErrWrongVolume) || errors.Is(err, changer.ErrNoMedium) {
			err = fmt.Errorf("%w: %w", ErrOffline, err)
		}
		return fmt.Errorf("load tape %s: %w", s.barcode, err)
	}
	dir, uuid, err := le.Mount(q.hard, tape.UUID)
	if err != nil {
		return fmt.Errorf("mount tape %s: %w", s.barcode, err)
	}
	s.uuid, s.proved = uuid, tape.UUID != ""
	s.track.moves = append(s.track.moves, catalog.Move{Time: time.Now(), Tape: tape.ID, Kind: catalog.MoveChange, Took: time.Since(began)})
	if s.root, err = os.OpenRoot(dir); err != nil {
		return fmt.Errorf("open volume of tape %s: %w", s.barcode, err)
	}
	defer s.closeFiles()
	defer s.clock.tell(q.o.Timed)
	return s.answer(le)
}

// lease waits for a drive, as long as anybody wants the tape. Nil without an error: nobody does.
func (s *session) lease() (lease, error) {
	q := s.q
	watching := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(watching)
		for {
			q.mu.Lock()
			if !s.busy() {
				s.ending = true
				s.stopLeasing()
			}
			q.mu.Unlock()
			select {
			case <-s.wake:
			case <-s.leasing.Done():
				return
			case <-stop:
				return
			}
		}
	}()
	le, err := q.tapes.Lease(s.leasing, changer.Request{Barcode: changer.Barcode(s.barcode), Purpose: "read"})
	close(stop)
	<-watching
	if err != nil && s.leasing.Err() != nil {
		s.end()
		return nil, nil
	}
	if err != nil {
		s.end()
		if errors.Is(err, changer.ErrNotInLibrary) {
			err = fmt.Errorf("%w: %w", ErrOffline, err)
		}
		return nil, fmt.Errorf("lease a drive for tape %s: %w", s.barcode, err)
	}
	return le, nil
}

func (s *session) end() {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	s.ending = true
}

// busy tells whether anybody waits for this tape: what is foreseen keeps none. What is being read just now another session reads, from a copy on its tape: this one
// need not keep its drive from others for it. Called with the queue's lock held.
func (s *session) busy() bool {
	for _, f := range s.q.fetches {
		if !f.active && !f.idle && s.answers(f) {
			return true
		}
	}
	return false
}

// answers tells whether a fetch can be read from this tape. Called with the queue's lock held.
func (s *session) answers(f *fetch) bool {
	for _, cp := range s.q.usable(f, s.q.inventory) {
		if cp.Barcode == s.barcode {
			return true
		}
	}
	return false
}

// answer reads until the tape is idle for long enough, another tape or process wants the drive,
// or the queue closes.
func (s *session) answer(le lease) error {
	q := s.q
	mounted := time.Now()
	s.way.turned = mounted
	q.mu.Lock()
	s.mounted = mounted
	q.mu.Unlock()
	idleSince := mounted // since when no reader asked for anything
	background := false  // the last thing read was for Prefetch
	read := false        // something was, since the volume is mounted
	poll := time.NewTicker(q.poll)
	defer poll.Stop()
	for {
		if q.soft.Err() != nil {
			return nil
		}
		if err := le.Held(); err != nil {
			q.log.Warn("the tape is given back, and loaded again for those who read it", "barcode", s.barcode, "err", err)
			return nil
		}
		if read && time.Since(mounted) > q.o.ReaderSlice && le.Wanted() { // at least one, or the load was for nothing
			return nil
		}
		f, cp, others := s.next(true)
		if f != nil && s.idle && (le.Wanted() || others.any() && s.foreseen > q.o.MaxWait/2) {
			q.mu.Lock()
			q.putBack(f)
			q.mu.Unlock()
			f, cp, others = s.next(false)
		}
		aside := f == nil || s.aside
		idle := aside && time.Since(idleSince) >= q.linger && (f == nil || !s.idle)
		// A tape that was brought has its turn, however long others waited before: else the robot would be
		// busy and nothing read once there is more work than fits into MaxWait.
		if !others.reader.IsZero() && (idle || time.Since(later(others.reader, mounted)) > q.o.MaxWait) ||
			others.room ||
			!others.background.IsZero() && aside && (idle && f == nil || time.Since(later(others.background, mounted)) > q.o.MaxWait) {
			s.giveBack(f)
			return nil
		}
		if f != nil {
			began := time.Now()
			err := s.fetch(f, cp)
			read = true
			if s.idle {
				s.foreseen += time.Since(began)
			}
			if errors.Is(err, errGone) && s.good > 0 {
				q.log.Warn("volume lost while it was read, loading it again", "barcode", s.barcode, "err", err)
				return nil
			}
			if err != nil {
				return err
			}
			if s.aside {
				background = true
			} else {
				idleSince = time.Now()
			}
			continue
		}
		if background {
			background, idleSince = false, time.Now()
			continue
		}
		if idle && le.Wanted() || time.Since(idleSince) >= q.o.IdleUnmount {
			if s.endIfIdle() {
				return nil
			}
			continue
		}
		select {
		case <-s.wake:
		case <-poll.C:
		case <-q.soft.Done():
		}
	}
}

// endIfIdle ends the session unless requests wait for it. It reports whether it is ended.
func (s *session) endIfIdle() bool {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	s.ending = s.ending || s.q.closed || !s.busy()
	return s.ending
}

// giveBack ends the session in favour of another tape; f, if any, waits again.
func (s *session) giveBack(f *fetch) {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	s.ending = true
	if f != nil {
		s.q.putBack(f)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
