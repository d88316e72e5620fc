package archiver

import (
	"context"
	"errors"
	"sync/atomic"
)

// mailbox is all of a writer that other goroutines may use: what they tell it, what they ask of it, and what they may read of it.
// Safe for concurrent use; only the writer's goroutine receives from its channels and closes stopped.
type mailbox struct {
	halt     atomic.Bool  // begin no further object
	quiet    atomic.Bool  // all that is still to come is from sources that are silent
	failures atomic.Int64 // tapes that the writer had to give up
	closing  error        // what kept the last tape from being closed in order; read when the writer's goroutine has ended

	calls   chan call
	work    chan struct{} // something new may be owed
	needed  chan struct{} // the spool is full
	done    chan struct{} // closed when nothing new will come
	stopped chan struct{} // closed when the writer ended
	freed   chan bool     // answers needed: whether bytes were released
}

// call is something that a writer is to do in its goroutine.
type call struct {
	f    func(context.Context) error
	done chan error
}

func newMailbox() *mailbox {
	return &mailbox{calls: make(chan call), work: make(chan struct{}, 1), needed: make(chan struct{}),
		done: make(chan struct{}), stopped: make(chan struct{}), freed: make(chan bool)}
}

// call runs f in the writer's goroutine.
func (m *mailbox) call(ctx context.Context, f func(context.Context) error) error {
	c := call{f: f, done: make(chan error, 1)}
	select {
	case m.calls <- c:
	case <-m.stopped:
		return errors.New("the tape writer has stopped")
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-m.stopped:
		return errors.New("the tape writer has stopped")
	}
}

// wake tells the writer that something may be owed.
func (m *mailbox) wake() {
	select {
	case m.work <- struct{}{}:
	default:
	}
}

// makeRoom asks the writer to get batches released; false: it cannot release any more.
func (m *mailbox) makeRoom(ctx context.Context) (bool, error) {
	select {
	case m.needed <- struct{}{}:
	case <-m.stopped:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case ok := <-m.freed:
		return ok, nil
	case <-m.stopped:
		return false, nil
	}
}

// ended reports whether nothing new will come.
func (m *mailbox) ended() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}
