package archiver

import (
	"context"

	"github.com/tapefs/tapefs/archiver/job"
)

// writerLock is a run's right to write tapes, which one run has at a time. It is taken when it is first needed.
type writerLock struct {
	env    *job.Env
	unlock func() // nil: it is not held
}

// take waits for the lock unless it is held.
func (l *writerLock) take(ctx context.Context) error {
	if l.held() {
		return nil
	}
	unlock, err := l.env.LockWriter(ctx)
	if err != nil {
		return err
	}
	l.unlock = unlock
	return nil
}

func (l *writerLock) held() bool { return l.unlock != nil }

// release gives the lock back if it is held.
func (l *writerLock) release() {
	if l.held() {
		l.unlock()
		l.unlock = nil
	}
}
