package job

import (
	"context"
	"errors"
)

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

// NewClosingError marks an error as what kept a tape from being closed in order.
func NewClosingError(err error) error { return &closingError{err} }

// closingError is what kept a tape from being closed in order.
type closingError struct{ err error }

func (e *closingError) Error() string { return e.err.Error() }
func (e *closingError) Unwrap() error { return e.err }

// AsInterrupted is a cancelled run's error, without what merely says that it was cancelled.
func AsInterrupted(err error) error {
	var c *closingError
	if errors.As(err, &c) {
		return &Interrupted{c.err}
	}
	return &Interrupted{}
}
