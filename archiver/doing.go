package archiver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// activity is what a run does with a tape, for somebody who waits for its end.
type activity struct {
	mu    sync.Mutex
	text  string
	since time.Time
}

func (d *activity) set(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text, d.since = text, time.Now()
}

// flow is how much of all sources came, for the progress: files that were listed, bytes that are to be fetched and that were, and
// those of batches that are being fetched.
type flow struct{ listed, planned, fetched, arriving atomic.Int64 }

// Doing says what a run does with a tape just now and for how long; it may be called from any goroutine.
func (a *Archiver) Doing() string {
	a.activity.mu.Lock()
	defer a.activity.mu.Unlock()
	if a.activity.text == "" {
		return "no tape is in use"
	}
	return fmt.Sprintf("%s, for %s now", a.activity.text, time.Since(a.activity.since).Round(time.Second))
}

// Interrupted is the end of a run whose context was cancelled: context.Canceled, and what kept the
// tape from being closed in order.
type Interrupted struct{ Closing error }

func (e *Interrupted) Error() string {
	if e.Closing == nil {
		return "interrupted"
	}
	return "interrupted, and the tape was not closed in order: " + e.Closing.Error()
}

func (e *Interrupted) Unwrap() []error {
	if e.Closing == nil {
		return []error{context.Canceled}
	}
	return []error{context.Canceled, e.Closing}
}

// closingError is what kept a tape from being closed in order.
type closingError struct{ error }

func (e *closingError) Unwrap() error { return e.error }

// interrupted is a cancelled run's error, without what merely says that it was cancelled.
func interrupted(err error) error {
	var c *closingError
	if errors.As(err, &c) {
		return &Interrupted{c.error}
	}
	return &Interrupted{}
}
