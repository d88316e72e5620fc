package archiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
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
		return nil, fmt.Errorf("lock source %s: %w", name, ErrLocked)
	}
	a.locked.Store(name, true)
	return func() {
		a.locked.Delete(name)
		l.Close()
	}, nil
}

// lockFree locks the sources that no other run holds, and says which are busy: the others need not wait for a run that
// may hang. ErrLocked when all are.
func (a *Archiver) lockFree(all []Source) (free []Source, busy map[string]error, unlock func(), err error) {
	var unlocks []func()
	unlock = func() {
		for _, u := range unlocks {
			u()
		}
	}
	busy = map[string]error{}
	for _, s := range all {
		u, err := a.lockSource(s.Name)
		switch {
		case errors.Is(err, ErrLocked) && (len(free) > 0 || s.Name != all[len(all)-1].Name):
			busy[s.Name] = err
		case err != nil:
			unlock()
			return nil, nil, nil, err
		default:
			free, unlocks = append(free, s), append(unlocks, u)
		}
	}
	return free, busy, unlock, nil
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
		_, err = l.TryLockContext(ctx, lockPoll)
	}
	if err != nil {
		return nil, fmt.Errorf("wait for the right to write tapes: %w", err)
	}
	return func() { l.Close() }, nil
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
	return func() { l.Close() }, nil
}

func (a *Archiver) lockFile(name string) (*flock.Flock, error) {
	if err := os.MkdirAll(a.cfg.RunDir, 0o700); err != nil {
		return nil, err
	}
	return flock.New(filepath.Join(a.cfg.RunDir, name), flock.SetPermissions(0o600)), nil
}
