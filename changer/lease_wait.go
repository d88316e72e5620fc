package changer

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// waiting is a request that waits: the shared locks by which holders see it, and its places in the queues.
type waiting struct {
	l       *Library
	began   time.Time
	wants   map[string]*want     // by serial
	passed  map[string]time.Time // since when a free drive is left to others
	told    bool
	notices *Notices
}

// want is what shows that somebody waits for a drive.
type want struct {
	lock  *os.File // shared; holders see it
	place *os.File // the ticket
	path  string   // of the ticket
}

func (w *want) end() {
	os.Remove(w.path)
	w.place.Close()
	w.lock.Close()
}

func (w *waiting) end() {
	for _, wanted := range w.wants {
		wanted.end()
	}
}

// announce shows that we want these drives and no others, and tells who has them.
func (w *waiting) announce(drives []DriveConfig, r Request) {
	for serial, wanted := range w.wants {
		if !slices.ContainsFunc(drives, func(d DriveConfig) bool { return d.Serial == serial }) {
			wanted.end()
			delete(w.wants, serial)
		}
	}
	for _, d := range drives {
		if w.wants[d.Serial] != nil {
			continue
		}
		// refused only while a holder probes, for a moment: the next round tries again
		f, err := tryLock(w.l.wantLock(d.Serial), unix.LOCK_SH)
		if err != nil || f == nil {
			continue
		}
		place, path, err := w.l.enqueue(d.Serial, ticket{w.began, w.l.id})
		if err != nil {
			w.l.log.Warn("wait for a drive out of turn", "drive", d.Serial, "err", err)
			f.Close()
			continue
		}
		w.wants[d.Serial] = &want{f, place, path}
	}
	if !w.told && r.Wait != nil {
		r.Wait(w.holders(drives))
	}
	w.told = true
	w.notices.Look(func() string { return w.holders(drives) })
}

// holder says who has a drive. A drive that is free, and is only left to those whose turn it is, has no holder: its lock file still
// names the last one, which is gone.
func (w *waiting) holder(d DriveConfig) string {
	if taken, err := held(w.l.driveLock(d.Serial)); err == nil && !taken {
		return "somebody who waited for it"
	}
	return holderOf(w.l.driveLock(d.Serial))
}

// lastHolder is the Library that had a drive last, or has it; "" is unknown.
func (l *Library) lastHolder(d DriveConfig) string {
	fields := strings.Fields(signature(l.driveLock(d.Serial)))
	if len(fields) < 4 {
		return ""
	}
	return fields[3]
}

// yields tells whether others who wait for a drive go first: all of them when we were the last to have it, else those who have waited
// longer, but for the last holder.
func (w *waiting) yields(d DriveConfig) bool {
	last := w.l.lastHolder(d)
	first := slices.ContainsFunc(w.l.queued(d.Serial), func(t ticket) bool {
		switch {
		case t.lib == w.l.id: // of one Library's waiters any may go
			return false
		case last == w.l.id:
			return true
		}
		return t.lib != last && t.since.Before(w.began)
	})
	if !first {
		delete(w.passed, d.Serial)
		return false
	}
	if taken, err := held(w.l.driveLock(d.Serial)); err == nil && taken {
		delete(w.passed, d.Serial)
		return true
	}
	if w.passed[d.Serial].IsZero() {
		w.passed[d.Serial] = time.Now()
	}
	return time.Since(w.passed[d.Serial]) < deferLimit
}

// held tells whether somebody holds any flock, shared ones included.
func held(path string) (bool, error) {
	f, err := tryLock(path, unix.LOCK_EX)
	if err != nil {
		return false, err
	}
	if f == nil {
		return true, nil
	}
	f.Close()
	return false, nil
}

// try takes one drive if it is free, and clears away what a died owner left on it.
func (w *waiting) try(ctx context.Context, d DriveConfig, r Request) (*Lease, error) {
	if w.yields(d) {
		return nil, nil
	}
	if err := w.l.stuck(d); err != nil {
		return nil, err
	}
	f, err := tryLock(w.l.driveLock(d.Serial), unix.LOCK_EX)
	if f == nil || err != nil {
		return nil, err
	}
	le := &Lease{l: w.l, d: d, lock: f, ended: ctx.Done(), waited: w.told, turn: time.Now()}
	purpose := strings.Join(strings.Fields(r.Purpose), "-")
	if purpose == "" {
		purpose = "use"
	}
	now := time.Now().UTC()
	if err := sign(f, fmt.Sprintf("%d %s %s %s", os.Getpid(), purpose, now.Format(time.RFC3339), w.l.id)); err != nil {
		f.Close()
		return nil, err
	}
	if err := w.l.recoverDrive(ctx, d); err != nil {
		f.Close()
		return nil, err
	}
	if err := w.l.answers(ctx, d); err != nil { // not before: an ltfs that was left behind may write its index until then
		f.Close()
		return nil, err
	}
	return le, nil
}
