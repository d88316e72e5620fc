package changer

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Those who wait for a drive get it in the order in which they began to wait, whatever process they are in: with more than two, chance
// could pass one of them over again and again. Each has a ticket, a file in run/queue.SERIAL that it holds an flock on, named after the
// time and the Library that waits. A ticket without a lock is one of a process that died.

func (l *Library) queueDir(serial string) string {
	return filepath.Join(l.cfg.RunDir, "queue."+serial)
}

// ticket is a waiter's place in the queue for one drive.
type ticket struct {
	since time.Time
	lib   string // Library.id
}

// name is that of a ticket's file; more tells it from others of this Library and moment.
func (t ticket) name(more string) string {
	return fmt.Sprintf("%019d.%s.%s", t.since.UnixNano(), t.lib, more)
}

func parseTicket(name string) (t ticket, ok bool) {
	fields := strings.Split(name, ".")
	if len(fields) != 3 {
		return t, false
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	return ticket{time.Unix(0, n), fields[1]}, err == nil
}

// newTicket begins the name of a file that is no ticket yet: it gets a ticket's name once it is locked.
const newTicket = ".new-"

// enqueue takes a ticket. Removing and closing the file gives it back.
func (l *Library) enqueue(serial string, t ticket) (f *os.File, path string, err error) {
	dir := l.queueDir(serial)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("queue for a drive: %w", err)
	}
	if f, err = os.CreateTemp(dir, newTicket); err != nil {
		return nil, "", fmt.Errorf("queue for a drive: %w", err)
	}
	path = filepath.Join(dir, t.name(strings.TrimPrefix(filepath.Base(f.Name()), newTicket)))
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, "", fmt.Errorf("queue for a drive: %w", err)
	}
	return f, path, nil
}

// queued lists those who wait for a drive, and clears away what died waiters left.
func (l *Library) queued(serial string) []ticket {
	dir := l.queueDir(serial)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // nobody ever waited
	}
	var all []ticket
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		t, ok := parseTicket(e.Name())
		if !ok {
			if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), newTicket) && time.Since(info.ModTime()) > deferLimit {
				os.Remove(path) // its maker died before it was one
			}
			continue
		}
		switch f, err := tryLockThere(path); {
		case err != nil: // it just went
		case f == nil:
			all = append(all, t)
		default:
			os.Remove(path)
			f.Close()
		}
	}
	return all
}

// tryLockThere is tryLock of a file that is there: none is made.
func tryLockThere(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, nil
	}
	return f, nil
}
