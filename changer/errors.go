package changer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Errors that callers branch on. They are wrapped with what was attempted.
var (
	ErrNotInLibrary   = errors.New("tape is not in the library")
	ErrNoDrive        = errors.New("no drive can take this tape")
	ErrDriveAway      = errors.New("a drive is not there")
	ErrWrongVolume    = errors.New("another volume than expected is in the drive")
	ErrNotFormatted   = errors.New("no LTFS volume on the tape")
	ErrNeedsCheck     = errors.New("LTFS volume needs ltfsck")
	ErrNotChecked     = errors.New("LTFS volume needs ltfsck, which could not be run")
	ErrWriteProtected = errors.New("tape is write-protected")
	ErrReadOnly       = errors.New("volume mounted read-only")
	ErrNoMedium       = errors.New("no tape in the drive")
	ErrBusy           = errors.New("drive is in use by another program")
	ErrIncompatible   = errors.New("drive cannot use this tape")
	ErrLibraryOffline = errors.New("library is offline")
	ErrDoorOpen       = errors.New("mail slot is open")
	ErrNotBlank       = errors.New("tape is not blank")
	ErrUnknown        = errors.New("state of the tape is unknown")
	ErrSync           = errors.New("index was not proved to be on tape")
	ErrLibraryFull    = errors.New("no free slot")
	ErrStuck          = errors.New("a program that does not come to an end keeps the drive busy")
	ErrMixedDrives    = errors.New("changer and drives disagree on which drive is which")
	ErrUnproved       = errors.New("nothing proves that this is the drive which the changer fills")
	ErrKilled         = errors.New("its process was killed")
	ErrLockGone       = errors.New("a lock is gone")
	ErrOtherCartridge = errors.New("the cartridge is another one than its label says")
)

// Error carries the hint that the command line prints.
type Error struct {
	Op, Hint string
	Err      error
}

func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// fail is an Error with a hint; "" takes the hint of the cause, if it has one.
func fail(op string, err error, hint string) error {
	var inner *Error
	if hint == "" && errors.As(err, &inner) {
		hint = inner.Hint
	}
	return &Error{Op: op, Hint: hint, Err: err}
}

// ProgramError is a failed program.
type ProgramError struct {
	Args   []string
	Code   int      // exit code; -1: not started or killed
	Stderr []string // last lines
	Err    error
}

// stderrLines is how many lines of stderr a ProgramError keeps: a request sense block has 15.
const stderrLines = 20

// errorCode is in the lines that name the cause: LTFS errors. Of the others the last one counts.
var errorCode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`LTFS([0-9]{5}[A-Z])`) })

// noiseCodes are messages of HPE's LTFS that stand in the logs of good runs and of failed ones alike, as recorded: an attribute
// that not every cartridge has, and the drive's dump that ends nearly every run.
var noiseCodes = []string{"20074E", "20076I", "20077W", "20078W", "20096I"}

// telling reports whether a line names an error of LTFS.
func telling(line string) bool {
	m := errorCode().FindStringSubmatch(line)
	return m != nil && strings.HasSuffix(m[1], "E") && !slices.Contains(noiseCodes, m[1])
}

// noise reports whether a line says nothing about how the run went.
func noise(line string) bool {
	m := errorCode().FindStringSubmatch(line)
	return m != nil && slices.Contains(noiseCodes, m[1])
}

// Error holds the command line, the exit code, and the line of stderr that says most.
func (e *ProgramError) Error() string {
	var b strings.Builder
	b.WriteString(commandLine(e.Args))
	if e.Code >= 0 {
		fmt.Fprintf(&b, ": exit code %d", e.Code)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	line := ""
	for _, l := range e.Stderr {
		if telling(l) {
			line = l // the first error is the cause, the rest follows from it
			break
		}
	}
	for i := len(e.Stderr) - 1; i >= 0 && line == ""; i-- {
		if !noise(e.Stderr[i]) {
			line = e.Stderr[i]
		}
	}
	if line != "" {
		b.WriteString(": " + line)
	}
	if s := parseSense(strings.Join(e.Stderr, "\n")); len(s) > 0 {
		b.WriteString(" (" + s[len(s)-1].String() + ")")
	}
	return b.String()
}

func (e *ProgramError) Unwrap() error { return e.Err }

// commandLine is for people to read: arguments that a shell would split are quoted.
func commandLine(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$`*?[]{}()<>|&;#~") {
			out[i] = fmt.Sprintf("%q", a)
		}
	}
	return strings.Join(out, " ")
}

// maxErrorLine bounds what is kept of one line, bytes.
const maxErrorLine = 1 << 10

// lastLines are the last n lines of a text that hold anything. When the first line that names an LTFS error
// lies before them, it takes the place of the first: a drive that fails is followed by much noise.
func lastLines(text string, n int) []string {
	var out []string
	for _, l := range strings.Split(text, "\n") {
		if l = strings.TrimRight(l, " \t\r"); l != "" {
			out = append(out, strings.ToValidUTF8(l[:min(len(l), maxErrorLine)], ""))
		}
	}
	if len(out) <= n {
		return out
	}
	cut := out[len(out)-n:]
	for _, l := range out[:len(out)-n+1] {
		if telling(l) {
			return append([]string{l}, cut[1:]...)
		}
	}
	return cut
}
