package ui

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// lineEvery is how often lines tell how far a command is.
const lineEvery = time.Minute

// Lines tell where nobody watches a terminal how far a command is: one line a minute, so that a short run says nothing and the log of a
// long one shows where it stood. Methods may be called from several goroutines. End must be called.
type Lines struct {
	w    io.Writer
	tick *time.Ticker
	over chan struct{}
	done chan struct{}

	mu     sync.Mutex // guards the fields below
	stages []*lineStage
	note   string
	now    func() time.Time
}

type lineStage struct {
	name        string
	done, total int64
	pace        pace
	moved       bool // since the last line
}

// StartLines begins to write lines to w.
func StartLines(w io.Writer) *Lines {
	tick := time.NewTicker(lineEvery)
	l := newLines(w, tick.C, time.Now)
	l.tick = tick
	return l
}

func newLines(w io.Writer, ticks <-chan time.Time, now func() time.Time) *Lines {
	l := &Lines{w: w, over: make(chan struct{}), done: make(chan struct{}), now: now}
	go func() {
		defer close(l.done)
		for {
			select {
			case <-l.over:
				return
			case <-ticks:
				l.tell()
			}
		}
	}()
	return l
}

// Stage tells how far a stage is, as Bars.Stage does.
func (l *Lines) Stage(stage string, done, total int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var s *lineStage
	for _, known := range l.stages {
		if known.name == stage {
			s = known
		}
	}
	if s == nil {
		s = &lineStage{name: stage}
		l.stages = append(l.stages, s)
	}
	s.moved = s.moved || s.done != done
	s.done, s.total = done, total
	s.pace.add(l.now(), done)
}

// Note tells what robot and drives do.
func (l *Lines) Note(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note = text
}

// tell writes a line of the stages that went on since the last one, and of what robot and drives did last.
func (l *Lines) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var parts []string
	for _, s := range l.stages {
		if s.moved {
			parts = append(parts, s.name+" "+stageText(s.name, s.done, s.total, s.pace.rate()))
		}
		s.moved = false
	}
	if l.note != "" {
		parts = append(parts, PrintableText(l.note))
	}
	if len(parts) > 0 {
		fmt.Fprintf(l.w, "tapefs: %s\n", strings.Join(parts, "; "))
	}
}

// End ends the lines. Nothing is written when it has returned.
func (l *Lines) End() {
	if l.tick != nil {
		l.tick.Stop()
	}
	close(l.over)
	<-l.done
}
