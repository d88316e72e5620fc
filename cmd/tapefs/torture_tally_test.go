package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

const neverMet = 6 // rounds of a kind after which one must have come in time

// tally counts rounds by kind of trouble, for all archives.
type tally struct {
	mu    sync.Mutex
	kinds map[string]*tallied
	ends  tallied // of archives: verify, catalog check --tapes, six rebuilds
	said  int     // files of which spoilt tapes had the only good copy: said to be lost, as they are
	steps map[string]time.Duration
	ended []string // rounds that ended with a failure, and its first lines
}

// tallied counts rounds of one kind: met are those in which the trouble came in time.
type tallied struct {
	rounds, met, losses int
	took, compared      time.Duration          // in all; of it restore.sh, the mount and the rebuild
	codes               map[string]map[int]int // by command, exit codes and how often; -1 is a signal
}

func newTally() *tally {
	return &tally{kinds: map[string]*tallied{}, steps: map[string]time.Duration{}}
}

// failed notes a round that failed, so that the end of the log names it, too: what the round did is long.
func (a *tally) failed(round string, losses []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, loss := range losses {
		first, _, _ := strings.Cut(loss, "\n")
		round += "\n    " + first
	}
	a.ended = append(a.ended, round)
}

// of changes the count of a kind.
func (a *tally) of(kind string, change func(*tallied)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kinds[kind] == nil {
		a.kinds[kind] = &tallied{codes: map[string]map[int]int{}}
	}
	change(a.kinds[kind])
}

func (c *tallied) code(command string, code int) {
	if c.codes[command] == nil {
		c.codes[command] = map[int]int{}
	}
	c.codes[command][code]++
}

// lost counts files that a tape lost for good, and that were said to be.
func (a *tally) lost(files int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said += files
}

// step adds what a step of a round took.
func (a *tally) step(name string, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps[name] += took
}

// neverMet are kinds that had their rounds and never came in time.
func (a *tally) neverMet() (kinds []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, c := range a.kinds {
		if c.rounds >= neverMet && c.met == 0 {
			kinds = append(kinds, name)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func (a *tally) table() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "kind of trouble\trounds\tmet\tlosses\tseconds\tcompared\texit codes")
	for _, name := range slices.Sorted(maps.Keys(a.kinds)) {
		c := a.kinds[name]
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%.1f\t%.1f\t%s\n", name, c.rounds, c.met, c.losses,
			c.took.Seconds()/float64(max(c.rounds, 1)), c.compared.Seconds()/float64(max(c.rounds, 1)), codesText(c.codes))
	}
	tw.Flush()
	fmt.Fprintf(&b, "ends of archives: %d, losses %d, %.1f seconds each\n", a.ends.rounds, a.ends.losses, a.ends.took.Seconds()/float64(max(a.ends.rounds, 1)))
	fmt.Fprintf(&b, "files of which a spoilt tape had the only copy, and that were said to be lost: %d\n", a.said)
	for _, name := range slices.Sorted(maps.Keys(a.steps)) {
		fmt.Fprintf(&b, "%s %.0f s, ", name, a.steps[name].Seconds())
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// codesText lists exit codes by command, and how often each came.
func codesText(codes map[string]map[int]int) string {
	var parts []string
	for _, command := range slices.Sorted(maps.Keys(codes)) {
		part := command
		for _, code := range slices.Sorted(maps.Keys(codes[command])) {
			part += fmt.Sprintf(" %d×%d", codes[command][code], code)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
