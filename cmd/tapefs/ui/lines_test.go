package ui

import (
	"strings"
	"testing"
	"time"
)

// writtenLines passes on what is written to it.
type writtenLines chan string

func (w writtenLines) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// Each tick writes one line of what went on since the last, and nothing is written before the first or after the end.
func TestLines(t *testing.T) {
	written, ticks := make(writtenLines), make(chan time.Time)
	at := time.Unix(1e9, 0)
	l := newLines(written, ticks, func() time.Time { return at })
	expect := func(want string) {
		t.Helper()
		ticks <- at
		if got := <-written; got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	l.Stage("list", 10, 0)
	l.Stage("write", 0, 4<<30)
	at = at.Add(10 * time.Second)
	l.Stage("write", 1<<30, 4<<30)
	l.Note("loading \x1b[2JVT0001L8")
	expect("tapefs: list 10 files; write 1.0 GiB of 4.0 GiB, 102 MiB/s, ETA 30s; loading \\x1b[2JVT0001L8\n")
	at = at.Add(10 * time.Second)
	l.Stage("write", 2<<30, 4<<30)
	l.Note("unmounting VT0001L8")
	expect("tapefs: write 2.0 GiB of 4.0 GiB, 102 MiB/s, ETA 20s; unmounting VT0001L8\n")
	l.End()
	select {
	case got := <-written:
		t.Errorf("%q after the end", got)
	default:
	}
}

// A run that ends before the first tick says nothing.
func TestLinesOfAShortRun(t *testing.T) {
	var out strings.Builder
	l := StartLines(&out)
	l.Stage("list", 10, 10)
	l.End()
	if out.Len() > 0 {
		t.Errorf("%q", out.String())
	}
}
