package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/tapefs/tapefs/changer"
)

// LockPoll is how often a lock that somebody holds is tried again.
const LockPoll = 200 * time.Millisecond

// LockSource takes the lock of a source, or says ErrLocked. The kernel frees it when we die.
func (env *Env) LockSource(name string) (unlock func(), err error) {
	l, err := env.lockFile("source." + name + ".lock")
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
	release := env.hold(l)
	env.locked.add(name)
	return func() {
		env.locked.remove(name)
		release()
	}, nil
}

// LockFree locks the sources that no other run holds, and says which are busy: the others need not wait for a run that
// may hang. ErrLocked when all are.
func (env *Env) LockFree(all []Source) (free []Source, busy map[string]error, locks *SourceLocks, err error) {
	locks = &SourceLocks{held: map[string]func(){}}
	busy = map[string]error{}
	for _, s := range all {
		u, err := env.LockSource(s.Name)
		switch {
		case errors.Is(err, ErrLocked) && (len(free) > 0 || s.Name != all[len(all)-1].Name):
			busy[s.Name] = err
		case err != nil:
			locks.Unlock()
			return nil, nil, nil, err
		default:
			free = append(free, s)
			locks.held[s.Name] = u
		}
	}
	return free, busy, locks, nil
}

// HoldsSource reports whether this process has the lock of a source.
func (env *Env) HoldsSource(name string) bool { return env.locked.has(name) }

// sourceNames is a set of sources. Safe for concurrent use.
type sourceNames struct {
	mu    sync.Mutex // guards names
	names map[string]bool
}

func (s *sourceNames) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

func (s *sourceNames) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		s.names = map[string]bool{}
	}
	s.names[name] = true
}

func (s *sourceNames) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, name)
}

// LockWriter waits for the right to write to tapes: one process at a time, so that whoever has it
// knows that parts in an unsafe state are left over.
func (env *Env) LockWriter(ctx context.Context) (unlock func(), err error) {
	l, err := env.lockFile("writer.lock")
	if err != nil {
		return nil, fmt.Errorf("wait for the right to write tapes: %w", err)
	}
	ok, err := l.TryLock()
	if err == nil && !ok {
		env.Note("waiting for another run that writes tapes")
		err = env.awaitWriter(ctx, l)
	}
	if err != nil {
		return nil, fmt.Errorf("wait for the right to write tapes: %w", err)
	}
	return env.hold(l), nil
}

// wantFile is locked, shared, by all who wait for the writer lock: whoever has that and only waits for something to write stands down.
const wantFile = "want.writer"

func (env *Env) awaitWriter(ctx context.Context, l *flock.Flock) error {
	want, err := env.lockFile(wantFile)
	if err != nil {
		return err
	}
	defer want.Close()
	if _, err := want.TryRLockContext(ctx, LockPoll/10); err != nil { // a moment at most: nobody keeps it exclusively
		return err
	}
	return env.awaitLock(ctx, l, "the right to write tapes")
}

// Exclusive runs f while no other caller is in it with the same name, in this process or another.
func (env *Env) Exclusive(name string, f func() error) error {
	l, err := env.lockFile(name + ".lock")
	if err != nil {
		return err
	}
	if err := l.Lock(); err != nil {
		return err
	}
	defer l.Close()
	return f()
}

// WriterWanted reports whether another process waits for the writer lock.
func (env *Env) WriterWanted() bool {
	want, err := env.lockFile(wantFile)
	if err != nil {
		return false
	}
	ok, err := want.TryLock()
	if ok {
		want.Close()
	}
	return err == nil && !ok
}

// awaitLock polls for a lock until it has it, and reports the wait when it gets long.
func (env *Env) awaitLock(ctx context.Context, l *flock.Flock, what string) error {
	notices := changer.NewNotices(what, false, env.Config.Waits)
	poll := time.NewTicker(LockPoll)
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

// signLock writes the holder into a lock's file, for those that wait: the process, and since when it has the lock.
func (env *Env) signLock(l *flock.Flock) {
	text := fmt.Sprintf("%d %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(l.Path(), []byte(text), 0o600); err != nil {
		env.Log.Warn("sign a lock", "file", l.Path(), "err", err)
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

// LockWriterNow takes the same right without waiting; nil when another run has it.
func (env *Env) LockWriterNow() (unlock func(), err error) {
	l, err := env.lockFile("writer.lock")
	if err != nil {
		return nil, fmt.Errorf("take the right to write tapes: %w", err)
	}
	ok, err := l.TryLock()
	if err != nil || !ok {
		return nil, err
	}
	return env.hold(l), nil
}

func (env *Env) lockFile(name string) (*flock.Flock, error) {
	if err := os.MkdirAll(env.Config.RunDir, 0o700); err != nil {
		return nil, err
	}
	return flock.New(filepath.Join(env.Config.RunDir, name), flock.SetPermissions(0o600)), nil
}

// SourceLocks are the locks of a run's sources. Safe for concurrent use.
type SourceLocks struct {
	mu   sync.Mutex // guards the fields below
	held map[string]func()
	done map[string]bool
}

// End says that nothing more comes of a source.
func (l *SourceLocks) End(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = map[string]bool{}
	}
	l.done[name] = true
}

// LetGo releases the lock of a source of which nothing more comes, and reports whether it did.
func (l *SourceLocks) LetGo(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.done[name] {
		return false
	}
	if unlock := l.held[name]; unlock != nil {
		unlock()
		delete(l.held, name)
	}
	return true
}

// Unlock releases all of them.
func (l *SourceLocks) Unlock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, unlock := range l.held {
		unlock()
	}
	clear(l.held)
}

// LockSources takes several locks, or none.
func (env *Env) LockSources(names map[string]bool) (unlock func(), err error) {
	var held []func()
	unlock = func() {
		for _, u := range held {
			u()
		}
	}
	for name := range names {
		u, err := env.LockSource(name)
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, u)
	}
	return unlock, nil
}
