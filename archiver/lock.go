package archiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"tapefs/changer"
)

// lockPoll is how often a lock that somebody holds is tried again.
const lockPoll = 200 * time.Millisecond

// lockSource takes the lock of a source, or says ErrLocked. The kernel frees it when we die.
func (a *Archiver) lockSource(name string) (unlock func(), err error) {
	l, err := a.lockFile("source." + name + ".lock")
	if err != nil {
		return nil, fmt.Errorf("lock source %s: %w", name, err)
	}
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock source %s: %w", name, err)
	}
	if !ok {
		return nil, fmt.Errorf("lock source %s: %w%s", name, ErrLocked, lockSignature(l.Path()))
	}
	a.signLock(l)
	a.locked.Store(name, true)
	return func() {
		a.locked.Delete(name)
		l.Close()
	}, nil
}

// lockFree locks the sources that no other run holds, and says which are busy: the others need not wait for a run that
// may hang. ErrLocked when all are.
func (a *Archiver) lockFree(all []Source) (free []Source, busy map[string]error, locks *sourceLocks, err error) {
	locks = &sourceLocks{held: map[string]func(){}}
	busy = map[string]error{}
	for _, s := range all {
		u, err := a.lockSource(s.Name)
		switch {
		case errors.Is(err, ErrLocked) && (len(free) > 0 || s.Name != all[len(all)-1].Name):
			busy[s.Name] = err
		case err != nil:
			locks.unlock()
			return nil, nil, nil, err
		default:
			free = append(free, s)
			locks.held[s.Name] = u
		}
	}
	return free, busy, locks, nil
}

// lockWriter waits for the right to write to tapes: one process at a time, so that whoever has it
// knows that parts in an unsafe state are left over.
func (a *Archiver) lockWriter(ctx context.Context) (unlock func(), err error) {
	l, err := a.lockFile("writer.lock")
	if err != nil {
		return nil, fmt.Errorf("wait for the right to write tapes: %w", err)
	}
	ok, err := l.TryLock()
	if err == nil && !ok {
		a.note("waiting for another run that writes tapes")
		err = a.awaitWriter(ctx, l)
	}
	if err != nil {
		return nil, fmt.Errorf("wait for the right to write tapes: %w", err)
	}
	a.signLock(l)
	return func() { l.Close() }, nil
}

// wantFile is locked, shared, by all who wait for the writer lock: whoever has that and only waits for something to write stands down.
const wantFile = "want.writer"

func (a *Archiver) awaitWriter(ctx context.Context, l *flock.Flock) error {
	want, err := a.lockFile(wantFile)
	if err != nil {
		return err
	}
	defer want.Close()
	if _, err := want.TryRLockContext(ctx, lockPoll/10); err != nil { // a moment at most: nobody keeps it exclusively
		return err
	}
	return a.awaitLock(ctx, l, "the right to write tapes")
}

// writerWanted reports whether another process waits for the writer lock.
func (a *Archiver) writerWanted() bool {
	want, err := a.lockFile(wantFile)
	if err != nil {
		return false
	}
	ok, err := want.TryLock()
	if ok {
		want.Close()
	}
	return err == nil && !ok
}

// awaitLock polls for a lock until it is had, and tells of it when that takes its time.
func (a *Archiver) awaitLock(ctx context.Context, l *flock.Flock, what string) error {
	notices := changer.NewNotices(what, false, a.cfg.Waits)
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		if ok, err := l.TryLock(); ok || err != nil {
			return err
		}
		notices.Look(func() string { return "another run" + lockSignature(l.Path()) })
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
}

// signLock writes into a lock's file who has it, for those who wait: the process and since when.
func (a *Archiver) signLock(l *flock.Flock) {
	text := fmt.Sprintf("%d %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(l.Path(), []byte(text), 0o600); err != nil {
		a.log.Warn("sign a lock", "file", l.Path(), "error", err)
	}
}

// lockSignature is what the holder of a lock signed: " (pid 12, since 2026-…)"; "" when that cannot be told.
func lockSignature(path string) string {
	text, err := os.ReadFile(path)
	f := strings.Fields(string(text))
	if err != nil || len(f) != 2 {
		return ""
	}
	return fmt.Sprintf(" (pid %s, since %s)", f[0], f[1])
}

// lockWriterNow takes the same right without waiting; nil when another run has it.
func (a *Archiver) lockWriterNow() (unlock func(), err error) {
	l, err := a.lockFile("writer.lock")
	if err != nil {
		return nil, fmt.Errorf("take the right to write tapes: %w", err)
	}
	ok, err := l.TryLock()
	if err != nil || !ok {
		return nil, err
	}
	a.signLock(l)
	return func() { l.Close() }, nil
}

func (a *Archiver) lockFile(name string) (*flock.Flock, error) {
	if err := os.MkdirAll(a.cfg.RunDir, 0o700); err != nil {
		return nil, err
	}
	return flock.New(filepath.Join(a.cfg.RunDir, name), flock.SetPermissions(0o600)), nil
}
