package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

const (
	archiveRounds = 10 // with one archive; then a new one is begun: a compare takes longer the more tapes there are
	neverMet      = 3  // rounds of a kind after which one must have come in time
)

// TestTorture runs rounds: an archive that has files already, a few changes at its sources, one trouble in
// the middle of a run; then runs without trouble, until one says that all is done, and a compare of everything: what is
// believed with the bytes on tape, the sources with what openssl and tar bring back from the tapes and with the mount, and
// what safe named with what a rebuild from tapes and keys alone gives back: in each round in one of six ways (all tapes or
// one pool's, with snapshots or without), and in all six when an archive is done with. The short form does that after each
// fifth round, and in three ways at the end of an archive.
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
	tally := map[string]*tallied{}
	defer func() { t.Log("\n" + tableOf(tally)) }()
	r := rand.New(rand.NewPCG(seed, 0))
	var order []int // of the kinds that are to come before one comes again
	began, rounds := time.Now(), 0
	for n, archive := 0, 1; archive == 1 || n < rounds; archive++ {
		t.Run(fmt.Sprintf("archive %d", archive), func(t *testing.T) {
			w := newTortured(t, r)
			w.seed, w.tally = seed, tally
			chosen := w.chosen()
			if archive == 1 {
				rounds = roundsOf(t, len(chosen))
			}
			w.change()
			w.settle("the first archive")
			w.keep()
			for i := 0; i < archiveRounds && n < rounds; i++ {
				if len(order) == 0 {
					order = r.Perm(len(chosen))
				}
				n++
				w.oneRound(n, chosen[order[0]])
				order = order[1:]
			}
			w.fromTapes(n)
			t.Logf("%d rounds in %v, %d tapes", n, time.Since(began).Round(time.Second), w.slot)
		})
		if t.Failed() {
			return
		}
	}
	for name, c := range tally {
		if c.rounds >= neverMet && c.met == 0 {
			t.Errorf("%s: %d rounds, and the trouble never came in time", name, c.rounds)
		}
	}
}

// roundsOf is how many rounds are wanted, once for each kind when nothing is said.
func roundsOf(t *testing.T, kinds int) int {
	t.Helper()
	text := os.Getenv("TAPEFS_ROUNDS")
	if text == "" || text == "once" {
		return kinds
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TAPEFS_ROUNDS: %q is no number of rounds", text)
	}
	return n
}

// shortEvery is after how many rounds of the short form a catalog is rebuilt: none of the six ways is left out.
const shortEvery = 5

// shortForm reports whether each kind comes once, as in CI.
func shortForm() bool { return os.Getenv("TAPEFS_ROUNDS") == "once" }

// chosen are the kinds of trouble that are wanted.
func (w *tortured) chosen() (chosen []trouble) {
	w.t.Helper()
	for _, k := range w.troubles() {
		if strings.HasPrefix(k.name, os.Getenv("TAPEFS_KIND")) {
			chosen = append(chosen, k)
		}
	}
	if len(chosen) == 0 {
		w.t.Fatal("TAPEFS_KIND chooses no kind of trouble")
	}
	return chosen
}

// oneRound makes a few changes at the sources, one trouble, runs until all is done, and mounts.
func (w *tortured) oneRound(n int, kind trouble) {
	w.t.Helper()
	w.round = fmt.Sprintf("round %d, %s, TAPEFS_SEED=%d", n, kind.name, w.seed)
	count := w.count(kind.name)
	w.now = count
	start := time.Now()
	w.log.Reset()
	w.change()
	w.forgetChanged()
	if w.r.IntN(2) == 0 {
		w.emptyDrives()
	}
	if kind.provoke() {
		count.met++
	}
	w.clear()
	losses := w.believed()
	w.vow(false)
	w.settle(kind.name)
	losses = append(losses, w.quick()...)
	losses = append(losses, w.vow(true)...)
	w.keep()
	compared := time.Now()
	losses = append(losses, w.restored()...)
	losses = append(losses, w.mounted()...)
	if !shortForm() || n%shortEvery == 0 {
		ways := w.waysBack()
		losses = append(losses, w.keptVows(ways[n%len(ways)])...)
	}
	count.compare += time.Since(compared)
	count.took += time.Since(start)
	count.losses += len(losses)
	if len(losses) > 0 {
		w.t.Fatalf("%s:\n%s\nwhat it did:\n%s", w.round, strings.Join(losses, "\n"), w.log.String())
	}
}

// fromTapes mounts the mount once more, with all bytes read from the tapes, as the last thing that is done with an archive.
func (w *tortured) fromTapes(n int) {
	w.t.Helper()
	w.round = fmt.Sprintf("the compare after round %d, TAPEFS_SEED=%d", n, w.seed)
	count := w.count(emptyCache)
	start := time.Now()
	w.must(os.RemoveAll(w.path("state/cache")))
	losses := w.mounted()
	for i, way := range w.waysBack() {
		if !shortForm() || i%2 == n/archiveRounds%2 {
			losses = append(losses, w.keptVows(way)...)
		}
	}
	count.met++
	count.took += time.Since(start)
	count.losses += len(losses)
	if len(losses) > 0 {
		w.t.Fatalf("%s:\n%s", w.round, strings.Join(losses, "\n"))
	}
}

// count is the tally of a kind, in which one more round begins.
func (w *tortured) count(kind string) *tallied {
	if w.tally[kind] == nil {
		w.tally[kind] = &tallied{codes: map[int]int{}}
	}
	w.tally[kind].rounds++
	return w.tally[kind]
}

// codesText lists exit codes and how often each came.
func codesText(codes map[int]int) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		parts = append(parts, fmt.Sprintf("%d×%d", code, codes[code]))
	}
	return strings.Join(parts, " ")
}

const emptyCache = "the mount with an empty cache" // beside the kinds in a tally

// tallied counts rounds of one kind: met are those in which the trouble came in time.
type tallied struct {
	rounds, met, losses int
	took, compare       time.Duration // in all; of it restore.sh, the mount and a rebuild
	codes               map[int]int   // exit codes of archive, -1 for a signal, and how often
}

func tableOf(tally map[string]*tallied) string {
	var names []string
	for name := range tally {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "kind of trouble\trounds\tmet\tlosses\tseconds a round\tof it compares\texit codes\t")
	var all tallied
	mounts := tally[emptyCache]
	for _, name := range names {
		c := tally[name]
		if c == mounts {
			continue
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%.1f\t%.1f\t%s\t\n", name, c.rounds, c.met, c.losses, c.took.Seconds()/float64(c.rounds), c.compare.Seconds()/float64(c.rounds), codesText(c.codes))
		all.rounds, all.met, all.losses = all.rounds+c.rounds, all.met+c.met, all.losses+c.losses
		all.took, all.compare = all.took+c.took, all.compare+c.compare
	}
	if all.rounds > 0 {
		fmt.Fprintf(tw, "all\t%d\t%d\t%d\t%.1f\t%.1f\t\t\n", all.rounds, all.met, all.losses, all.took.Seconds()/float64(all.rounds), all.compare.Seconds()/float64(all.rounds))
	}
	tw.Flush()
	if mounts != nil {
		fmt.Fprintf(&b, "%s: compared %d times, losses %d, %.1f seconds each\n", emptyCache, mounts.rounds, mounts.losses, mounts.took.Seconds()/float64(mounts.rounds))
	}
	return b.String()
}
