package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

const (
	compareEvery = 25 // rounds, between two compares of everything
	neverMet     = 3  // rounds of a kind after which one must have come in time
)

// TestTorture runs rounds: an archive that has files already, a few changes at its sources, one trouble in
// the middle of a run; then runs without trouble, until one says that all is done, and a compare. In the
// end, and every few rounds, everything is compared, through openssl and tar and through the mount.
//
// TAPEFS_ROUNDS is how many rounds, "once" for one of each kind. TAPEFS_SEED repeats the choices of an earlier
// run (not the moments at which the machine meets them). TAPEFS_KIND runs kinds with that prefix only.
// TAPEFS_KEEP is a directory that receives the archive of a failed test.
func TestTorture(t *testing.T) {
	if os.Getenv("TAPEFS_ROUNDS") == "" && os.Getenv("TAPEFS_SEED") == "" {
		t.Skip("random trouble for minutes: make torture")
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("TAPEFS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("TAPEFS_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("TAPEFS_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	w := newTortured(t, r)
	var chosen []trouble
	for _, k := range w.troubles() {
		if strings.HasPrefix(k.name, os.Getenv("TAPEFS_KIND")) {
			chosen = append(chosen, k)
		}
	}
	if len(chosen) == 0 {
		t.Fatal("TAPEFS_KIND chooses no kind of trouble")
	}
	rounds := len(chosen)
	if text := os.Getenv("TAPEFS_ROUNDS"); text != "" && text != "once" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("TAPEFS_ROUNDS: %q is no number of rounds", text)
		}
		rounds = n
	}
	tally := map[string]*tallied{}
	defer func() { t.Log("\n" + tableOf(tally)) }()

	w.change()
	w.settle("the first archive")
	w.keep()
	began := time.Now()
	var order []int
	for n := 1; n <= rounds; n++ {
		if len(order) == 0 {
			order = r.Perm(len(chosen)) // each kind once before one comes again
		}
		kind := chosen[order[0]]
		order = order[1:]
		w.round = fmt.Sprintf("round %d, %s, TAPEFS_SEED=%d", n, kind.name, seed)
		count := tally[kind.name]
		if count == nil {
			count = &tallied{}
			tally[kind.name] = count
		}
		count.rounds++
		start := time.Now()
		w.log.Reset()
		w.change()
		if r.IntN(2) == 0 {
			w.emptyDrives()
		}
		if kind.provoke() {
			count.met++
		}
		w.clear()
		losses := w.believed()
		w.settle(kind.name)
		losses = append(losses, w.quick()...)
		w.keep()
		if n%compareEvery == 0 && len(losses) == 0 {
			losses = append(losses, w.full()...)
		}
		count.took += time.Since(start)
		count.losses += len(losses)
		if n%compareEvery == 0 {
			t.Logf("%d rounds in %v, %d tapes", n, time.Since(began).Round(time.Second), w.slot)
		}
		if len(losses) > 0 {
			t.Fatalf("%s:\n%s\nwhat it did:\n%s", w.round, strings.Join(losses, "\n"), w.log.String())
		}
	}
	w.round = fmt.Sprintf("the last compare, TAPEFS_SEED=%d", seed)
	start := time.Now()
	losses := w.full()
	tally["compare of all"] = &tallied{rounds: 1, met: 1, losses: len(losses), took: time.Since(start)}
	if len(losses) > 0 {
		t.Fatalf("%s:\n%s", w.round, strings.Join(losses, "\n"))
	}
	for name, c := range tally {
		if c.rounds >= neverMet && c.met == 0 {
			t.Errorf("%s: %d rounds, and the trouble never came in time", name, c.rounds)
		}
	}
}

// tallied counts rounds of one kind: met are those in which the trouble came in time.
type tallied struct {
	rounds, met, losses int
	took                time.Duration
}

func tableOf(tally map[string]*tallied) string {
	var names []string
	for name := range tally {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "kind of trouble\trounds\tmet\tlosses\tseconds a round\t")
	var all tallied
	for _, name := range names {
		c := tally[name]
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%.1f\t\n", name, c.rounds, c.met, c.losses, c.took.Seconds()/float64(c.rounds))
		all.rounds, all.met, all.losses = all.rounds+c.rounds, all.met+c.met, all.losses+c.losses
		all.took += c.took
	}
	if all.rounds > 0 {
		fmt.Fprintf(tw, "all\t%d\t%d\t%d\t%.1f\t\n", all.rounds, all.met, all.losses, all.took.Seconds()/float64(all.rounds))
	}
	tw.Flush()
	return b.String()
}
