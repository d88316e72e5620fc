package job

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/gofrs/flock"

	"github.com/tapefs/tapefs/changer"
)

// heldLocks are the locks that this process has taken and not released. Safe for concurrent use.
type heldLocks struct {
	mu    sync.Mutex // guards locks
	locks map[*flock.Flock]bool
}

// hold signs a lock that was just taken and remembers it. Call release.
func (env *Env) hold(l *flock.Flock) (release func()) {
	env.signLock(l)
	env.locks.mu.Lock()
	defer env.locks.mu.Unlock()
	if env.locks.locks == nil {
		env.locks.locks = map[*flock.Flock]bool{}
	}
	env.locks.locks[l] = true
	return func() {
		env.locks.mu.Lock()
		delete(env.locks.locks, l)
		env.locks.mu.Unlock()
		l.Close()
	}
}

// LocksHeld returns changer.ErrLockGone once the file of a lock that this process holds is no longer where other processes look for it: they may
// do now what the lock was to prevent. The run is to end then.
func (env *Env) LocksHeld() error {
	env.locks.mu.Lock()
	defer env.locks.mu.Unlock()
	for l := range env.locks.locks {
		if !isInPlace(l) {
			return &changer.Error{Op: "go on with this run", Err: fmt.Errorf("%w: %s was removed or replaced while it was locked", changer.ErrLockGone, l.Path()),
				Hint: "leave the run folder of the state alone while tapefs works; what was written is finished in order, and the next run goes on"}
		}
	}
	return nil
}

// isInPlace reports whether the file of a lock is still the one that its path names. What cannot be told counts as yes.
func isInPlace(l *flock.Flock) bool {
	named, err := os.Stat(l.Path())
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	own, err := l.Stat()
	return err != nil || os.SameFile(own, named)
}
