package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// stopper turns signals into an orderly end. The first one cancels the context; a command that then
// has something to finish says so, and each further signal says how far that is. None of them
// kills: a tape that is left in the middle costs what was written since its last sync.
type stopper struct {
	w      io.Writer
	mu     sync.Mutex
	doing  func() string     // of the command that runs; nil: it has nothing to finish
	atWork []func() []string // of the libraries it opened: programs that must not be interrupted
	signal string            // the first signal
}

type stopperKey struct{}

// onSignals returns the context of the whole program.
func onSignals(w io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stopper{w: w}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for sig := range signals {
			s.heard(sig.String())
			cancel()
		}
	}()
	return context.WithValue(ctx, stopperKey{}, s), func() {
		signal.Stop(signals)
		cancel()
	}
}

func (s *stopper) heard(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.signal == ""
	if first {
		s.signal = name
	}
	switch {
	case s.doing == nil:
	case first:
		fmt.Fprintf(s.w, "tapefs: %s: stopping after the part in hand, then the tape is synced and unmounted; another signal says how far that is\n", name)
	default:
		fmt.Fprintf(s.w, "tapefs: %s: still stopping: %s\n", name, s.doing())
	}
	if first {
		return
	}
	for _, programs := range s.atWork {
		for _, p := range programs() {
			fmt.Fprintf(s.w, "tapefs: %s: %s\n", name, p)
		}
	}
}

// uses lets further signals name the programs that a library has at work.
func (s *stopper) uses(atWork func() []string) {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.atWork = append(s.atWork, atWork)
	}
}

// finishing lets a command say what it does when it is told to stop.
func finishing(ctx context.Context, doing func() string) {
	if s, ok := ctx.Value(stopperKey{}).(*stopper); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.doing = doing
	}
}
