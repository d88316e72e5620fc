package archiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/source"
)

// lanesWorld holds each source that is begun until the test lets it go.
type lanesWorld struct {
	lanes
	begun chan string
	gates map[string]chan error
	ended chan error
}

func newLanesWorld(t *testing.T, sources []Source) *lanesWorld {
	t.Helper()
	w := &lanesWorld{begun: make(chan string, len(sources)), gates: map[string]chan error{}, ended: make(chan error, 1)}
	for _, s := range sources {
		w.gates[s.Name] = make(chan error, 1)
	}
	w.a = &Archiver{env: &job.Env{Log: slog.New(slog.DiscardHandler)}, silentFor: time.Hour}
	w.do = func(ctx context.Context, src Source) error {
		w.begun <- src.Name
		select {
		case err := <-w.gates[src.Name]:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return w
}

func (w *lanesWorld) start(ctx context.Context, sources []Source) {
	go func() { w.ended <- w.run(ctx, sources) }()
}

// next gives the names of the sources that were begun next, in order of name.
func (w *lanesWorld) next(n int) []string {
	var names []string
	for range n {
		names = append(names, <-w.begun)
	}
	slices.Sort(names)
	return names
}

func (w *lanesWorld) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := w.next(len(want)); !slices.Equal(got, want) {
		t.Errorf("begun: %v, want %v", got, want)
	}
}

func lanesSources(urls ...string) []Source {
	var all []Source
	for i, u := range urls {
		all = append(all, Source{Name: string(rune('a' + i)), URL: u})
	}
	return all
}

// Four sources at a time, two of one machine, in the order of the configuration otherwise.
func TestLanesHavePlaces(t *testing.T) {
	all := lanesSources("me@one:x", "ssh://you@one:22/x", "one:y", "two:x", "rsync://one/m", "/here", "/there", "three:x")
	w := newLanesWorld(t, all)
	w.start(t.Context(), all)
	w.expect(t, "a", "b", "d", "f")
	w.gates["f"] <- nil
	w.expect(t, "g") // c and e are on the machine of a and b
	w.gates["b"] <- nil
	w.expect(t, "c")
	w.gates["d"] <- nil
	w.expect(t, "h")
	for _, name := range []string{"a", "c", "g", "h"} {
		w.gates[name] <- nil
	}
	w.expect(t, "e")
	w.gates["e"] <- nil
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
}

// A source from which nothing comes gives its place away, and goes on later.
func TestLanesSilentGivesItsPlace(t *testing.T) {
	var urls []string
	for i := range 7 {
		urls = append(urls, fmt.Sprintf("host%d:x", i))
	}
	all := lanesSources(urls...)
	w := newLanesWorld(t, all)
	w.a.silentFor = 20 * time.Millisecond
	quiet := make(chan bool, 1)
	w.quiet = func(is bool) {
		select {
		case <-quiet:
		default:
		}
		quiet <- is
	}
	hold := w.do
	w.do = func(ctx context.Context, src Source) error {
		defer w.a.env.Heard.Of(src.Name).Program()()
		return hold(ctx, src)
	}
	w.start(t.Context(), all)
	w.expect(t, "a", "b", "c", "d", "e", "f", "g")
	for !<-quiet {
	}
	for _, s := range all {
		w.gates[s.Name] <- nil
	}
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
	if <-quiet {
		t.Error("nothing is open, and it is silent all the same")
	}
}

// A source whose file server never answers is not waited for; others are done.
func TestLanesLeaveWhatHangsInTheKernel(t *testing.T) {
	all := lanesSources("/gone", "/here")
	all[0].StallTimeout = 20 * time.Millisecond
	w := newLanesWorld(t, all)
	never := make(chan struct{})
	defer close(never)
	hold := w.do
	w.do = func(ctx context.Context, src Source) error {
		if src.Name == "a" {
			w.a.env.Heard.Of("a").Call(func() { <-never })
			return errors.New("it came back")
		}
		return hold(ctx, src)
	}
	lost := make(chan error, 1)
	w.lost = func(src Source, err error) { lost <- fmt.Errorf("%s: %w", src.Name, err) }
	w.start(t.Context(), all)
	w.expect(t, "b")
	var stalled *source.StallError
	if err := <-lost; !errors.As(err, &stalled) || err.Error() != "a: "+stalled.Error() {
		t.Errorf("it is given up: %v", err)
	}
	w.gates["b"] <- nil
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
}

// An error ends all and is the end of the run; that others were called off for it is not.
func TestLanesEndWithAnError(t *testing.T) {
	all := lanesSources("one:x", "two:x", "three:x", "four:x", "five:x")
	broken := errors.New("the catalog is broken")
	w := newLanesWorld(t, all)
	w.start(t.Context(), all)
	w.next(4)
	w.gates["c"] <- broken
	if err := <-w.ended; err != broken {
		t.Errorf("it ended with %v", err)
	}
	if len(w.begun) > 0 {
		t.Error("another source was begun")
	}

	w = newLanesWorld(t, all)
	ctx, cancel := context.WithCancel(t.Context())
	w.start(ctx, all)
	w.next(4)
	cancel()
	if err := <-w.ended; err != context.Canceled {
		t.Errorf("called off: %v", err)
	}
}
