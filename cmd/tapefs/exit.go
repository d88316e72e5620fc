package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/crypto"
)

// Exit codes. They are part of the command line's contract and never reused.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2  // command line or configuration
	exitPartial  = 3  // done, but some files or sources failed
	exitOperator = 4  // a tape is wanted, the library is full
	exitLocked   = 75 // another run holds the lock (EX_TEMPFAIL of sysexits.h)
)

// exitMeanings say what each means.
var exitMeanings = []string{"0 done", "1 failed", "2 usage or config", "3 done with some files failed",
	"4 needs an operator (tape wanted, library full)", "75 another run holds the lock"}

var exitHelp = "Exit codes: " + strings.Join(exitMeanings, ", ") + "."

// usageError is a mistake in the command line or the configuration.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// hintError adds what a person can do about err.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

func withHint(err error, format string, args ...any) error {
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// exitCode maps an error to the process's exit code.
func exitCode(err error) int {
	var usage *usageError
	var conf *config.Error
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.As(err, &conf):
		return exitUsage
	case errors.Is(err, archiver.ErrLocked):
		return exitLocked
	case errors.Is(err, archiver.ErrDamaged):
		return exitFailed
	case errors.Is(err, archiver.ErrNeedsOperator),
		errors.Is(err, changer.ErrNotInLibrary),
		errors.Is(err, changer.ErrLibraryFull),
		errors.Is(err, changer.ErrDoorOpen):
		return exitOperator
	case errors.Is(err, archiver.ErrPartial), errors.Is(err, archiver.ErrRefused),
		errors.Is(err, archiver.ErrNotSafe):
		return exitPartial
	}
	return exitFailed
}

// hintFor returns the outermost hint in the chain of an error.
func hintFor(err error) string {
	var own *hintError
	if errors.As(err, &own) {
		return own.hint
	}
	var hinter interface{ HintText() string }
	if errors.As(err, &hinter) && hinter.HintText() != "" {
		return hinter.HintText()
	}
	var dev *changer.Error
	if errors.As(err, &dev) && dev.Hint != "" {
		return dev.Hint
	}
	switch {
	case errors.Is(err, catalog.ErrNewer):
		return "update tapefs; the catalog was not changed"
	case catalog.IsCorrupt(err):
		return "move the catalog aside and restore a backup of it, or: tapefs catalog rebuild makes it anew from keys and tapes"
	case errors.Is(err, catalog.ErrDiskFull):
		return "make room on the file system of the state folder, then try again; nothing in the catalog is damaged"
	case errors.Is(err, crypto.ErrKeyPublic):
		return "chmod 600 the key file"
	case errors.Is(err, crypto.ErrNoKey):
		return "put the key file into the keys folder: tapefs key list shows what is there"
	}
	return shortageHint(err)
}

// errorJSON is an error as --json prints it, on standard error.
type errorJSON struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	Exit  int    `json:"exit"`
}

// report prints an error and its hint the way every command does. The commands that the hint names repeat the global flags, so that they
// can be copied.
func report(w io.Writer, err error, flags globals) {
	hint := flags.repeat(hintFor(err))
	if flags.JSON {
		_ = ui.WriteJSONLine(w, errorJSON{err.Error(), hint, exitCode(err)}) // there is nobody left to tell
		return
	}
	fmt.Fprintf(w, "tapefs: %v\n", err)
	if hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}
