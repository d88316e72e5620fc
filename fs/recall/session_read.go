package recall

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// fetch reads one extent and hands it to all who wait. A bad one is read again once, then left to
// another copy. What this machine lacks is waited for, and then said to all who wait, but held against no copy. An error means that
// the volume itself is gone.
func (s *session) fetch(f *fetch, cp catalog.CopyPart) error {
	q := s.q
	if f.key.extent == surveyExtent {
		s.track.head = unknownPlace
		return s.survey(f, cp)
	}
	var data []byte
	began, tries := time.Now(), 0
	read := func() (err error) {
		tries++
		data, err = s.read(f, cp)
		return err
	}
	err := changer.WithPatience(q.soft, q.patience, read)
	if err != nil && !changer.FaultOf(err).Passing() && s.volumeGone(err) == nil {
		q.log.Warn("extent read badly, trying again", "barcode", s.barcode, "object", f.o.oid, "file", cp.Name,
			"extent", f.key.extent, "err", err)
		s.dropPages(f, cp)
		err = changer.WithPatience(q.soft, q.patience, read)
	}
	if err == nil && tries == 1 {
		s.readAt(int64(len(data)), time.Since(began))
	} else {
		s.track.head = unknownPlace
	}
	if err != nil {
		gone := s.volumeGone(err)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.putBack(f)
		if gone != nil {
			return fmt.Errorf("read tape %s: %w", s.barcode, gone)
		}
		return s.judge(f, cp, err)
	}
	s.good++
	if !q.cache.Put(f.o.oid, f.key.extent, data) {
		q.memory.put(f.key, data)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.finish(f, data, nil)
	return nil
}

// judge decides what follows from an error of reading a file on the mounted tape. An error means that the volume cannot be read at
// all. Called with the queue's lock held.
func (s *session) judge(f *fetch, cp catalog.CopyPart, err error) error {
	q := s.q
	about := []any{"barcode", s.barcode, "object", f.o.oid, "file", cp.Name, "extent", f.key.extent, "err", err}
	switch fault := changer.FaultOf(err); {
	case fault == changer.Absent:
		return fmt.Errorf("read tape %s: %w: %w", s.barcode, ErrOffline, err)
	case fault.Passing():
		q.log.Warn("extent not read, and no fault of the copy", about...)
		q.finish(f, nil, fmt.Errorf("read tape %s: %w", s.barcode, err))
		return nil
	case fault.OfFile():
		q.log.Error("damaged copy", about...)
		q.markDamaged(cp, f, err)
	default:
		q.log.Error("copy could not be read, for an unknown reason", about...)
		q.markUnread(cp, f, fmt.Errorf("read tape %s: %w", s.barcode, err))
	}
	if len(q.usable(f, nil)) == 0 {
		q.finish(f, nil, q.hopeless(f, nil))
	}
	q.wake()
	return nil
}

// read returns the extent's sealed bytes, which equalled their sum.
func (s *session) read(f *fetch, cp catalog.CopyPart) ([]byte, error) {
	file, err := s.open(cp.Name)
	if err != nil {
		return nil, err
	}
	if s.q.onRead != nil {
		s.q.onRead(s.barcode, s.way.at)
	}
	_, offset, size := f.o.extent(f.key.extent)
	data := make([]byte, size)
	began := time.Now()
	if _, err := file.ReadAt(data, offset); err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", cp.Name, offset, err)
	}
	s.clock.read(cp.ID, offset, size, time.Since(began))
	// The cache keeps the bytes: a second copy in the page cache would push out what others need.
	_ = unix.Fadvise(int(file.Fd()), offset, size, unix.FADV_DONTNEED)
	if sha256.Sum256(data) != f.sum {
		return nil, fmt.Errorf("read %s at %d: %w", cp.Name, offset, cache.ErrSum)
	}
	return data, nil
}

// open returns the part's file, which stays open until another one is asked for.
func (s *session) open(name string) (*os.File, error) {
	if s.file != nil && s.name == name {
		return s.file, nil
	}
	s.closeFile()
	file, err := changer.OpenFile(s.root, name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	s.file, s.name = file, name
	return file, nil
}

// dropPages makes sure that the next read comes from the tape.
func (s *session) dropPages(f *fetch, cp catalog.CopyPart) {
	if file, err := s.open(cp.Name); err == nil {
		_, offset, size := f.o.extent(f.key.extent)
		_ = unix.Fadvise(int(file.Fd()), offset, size, unix.FADV_DONTNEED)
	}
	s.closeFile()
}

var errGone = errors.New("the volume is no longer mounted")

// volumeGone tells, after a read that failed, whether the mount died or lost its cartridge: no fault of a copy.
func (s *session) volumeGone(err error) error {
	dir, derr := s.root.Open(".")
	if derr == nil {
		var st unix.Statfs_t
		derr = unix.Fstatfs(int(dir.Fd()), &st) // asks the ltfs process, which attributes need not
		dir.Close()
	}
	for _, e := range []error{err, derr} {
		if changer.SaysGone(e) {
			return fmt.Errorf("%w: %w", errGone, e)
		}
	}
	return nil
}

func (s *session) closeFile() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// closeFiles lets the volume be unmounted.
func (s *session) closeFiles() {
	s.closeFile()
	s.root.Close()
}
