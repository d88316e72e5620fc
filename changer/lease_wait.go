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

// waiting is a request that waits: the shared locks by which holders see it.
type waiting struct {
	l     *Library
	began time.Time
	wants map[string]*os.File
	told  bool
}

func (w *waiting) end() {
	for _, f := range w.wants {
		f.Close()
	}
}

// announce shows that we want these drives and no others, and tells the caller once who has the first.
func (w *waiting) announce(drives []DriveConfig, r Request) {
	for serial, f := range w.wants {
		if !slices.ContainsFunc(drives, func(d DriveConfig) bool { return d.Serial == serial }) {
			f.Close()
			delete(w.wants, serial)
		}
	}
	for _, d := range drives {
		if w.wants[d.Serial] != nil || w.yields(d) {
			continue
		}
		// refused only while a holder probes, for a moment: the next round tries again
		if f, err := tryLock(w.l.wantLock(d.Serial), unix.LOCK_SH); err == nil && f != nil {
			w.wants[d.Serial] = f
		}
	}
	if !w.told && r.Wait != nil {
		r.Wait(w.holder(drives[0]))
	}
	w.told = true
}

// holder says who has a drive, or is about to: when we had it last, it is one of those we let go first.
func (w *waiting) holder(d DriveConfig) string {
	if w.l.hadLast(d) {
		if taken, err := held(w.l.driveLock(d.Serial)); err == nil && !taken {
			return "somebody who waited for it"
		}
	}
	return holderOf(w.l.driveLock(d.Serial))
}

// hadLast tells whether no other process had a drive after this Library.
func (l *Library) hadLast(d DriveConfig) bool {
	l.mu.Lock()
	token := l.held[d.Serial]
	l.mu.Unlock()
	return token != "" && strings.HasSuffix(signature(l.driveLock(d.Serial)), " "+token)
}

// yields tells whether we were the last to have a drive that others wait for: they go first.
func (w *waiting) yields(d DriveConfig) bool {
	if time.Since(w.began) > deferLimit {
		return false
	}
	if !w.l.hadLast(d) {
		return false
	}
	if f := w.wants[d.Serial]; f != nil { // or we would meet ourselves
		f.Close()
		delete(w.wants, d.Serial)
	}
	wanted, err := held(w.l.wantLock(d.Serial))
	return err == nil && wanted
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
	le := &Lease{l: w.l, d: d, lock: f, ended: ctx.Done()}
	purpose := strings.Join(strings.Fields(r.Purpose), "-")
	if purpose == "" {
		purpose = "use"
	}
	now := time.Now().UTC()
	token := fmt.Sprintf("%x-%x", os.Getpid(), now.UnixNano())
	if err := sign(f, fmt.Sprintf("%d %s %s %s", os.Getpid(), purpose, now.Format(time.RFC3339), token)); err != nil {
		f.Close()
		return nil, err
	}
	w.l.mu.Lock()
	w.l.held[d.Serial] = token
	w.l.mu.Unlock()
	if err := w.l.recoverDrive(ctx, d); err != nil {
		f.Close()
		return nil, err
	}
	return le, nil
}
