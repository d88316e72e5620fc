package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	archiveRounds = 6 // with one archive; then a new one is begun: a compare takes longer the more tapes there are
	inARow        = 4 // troubles that one round has at most, with no run between them that has none
)

// TestTorture runs rounds: an archive that has files already, a few changes at its sources, one to four troubles in the
// middle of runs; then runs without trouble, until one says that all is done, and a compare of everything: what is believed
// with the bytes on tape, the sources with what openssl and tar bring back from the tapes and with the mount, what safe named
// with what a rebuild from tapes and keys alone gives back, in one of six ways (all tapes or one pool's, with snapshots or
// without), and every exit code with those that the trouble allows. When an archive is done with, verify and catalog check
// --tapes have to be content with it, and it is rebuilt in all six ways.
//
// Archives stand side by side, as many as -parallel allows. TAPEFS_ROUNDS is how many rounds there are, "once" for as many
// as it takes for each kind to come once, four in a row. TAPEFS_SEED repeats the choices of an earlier run (not the moments
// at which the machine meets them), TAPEFS_ARCHIVE one archive of it. TAPEFS_KIND runs kinds whose names begin with
// that, or with one of several such words between |; one in a round. TAPEFS_REBUILDS=all rebuilds in all six ways in each round.
// TAPEFS_KEEP is a directory that receives the archives of a failed test.
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
	rounds := plannedRounds(t, rand.New(rand.NewPCG(seed, 0)))
	t.Logf("TAPEFS_SEED=%d, %d rounds", seed, len(rounds))
	all, began := newTally(), time.Now()

	t.Run("archive", func(t *testing.T) { // ends when all of them have
		for first, n := 0, 1; first < len(rounds); first, n = first+archiveRounds, n+1 {
			if only := os.Getenv("TAPEFS_ARCHIVE"); only != "" && only != strconv.Itoa(n) {
				continue
			}
			mine := rounds[first:min(first+archiveRounds, len(rounds))]
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				w := newTortured(t, rand.New(rand.NewPCG(seed, uint64(n))), all)
				w.again = fmt.Sprintf("TAPEFS_SEED=%d TAPEFS_ARCHIVE=%d", seed, n)
				w.live(first, mine)
				t.Logf("%d rounds, %d tapes, %v after the beginning", len(mine), w.slot, time.Since(began).Round(time.Second))
			})
		}
	})
	t.Log("\n" + all.table())
	for _, round := range all.ended {
		t.Log("failed: " + round)
	}
	for _, kind := range all.neverMet() {
		t.Errorf("%s: the trouble never came in time", kind)
	}
}

// shortForm reports whether each kind comes once, as in CI: restore.sh has its turn in every second round then.
func shortForm() bool { return os.Getenv("TAPEFS_ROUNDS") == "once" }

// plannedRounds are the troubles of each round, by name. All kinds come before one comes again.
func plannedRounds(t *testing.T, r *rand.Rand) (rounds [][]string) {
	t.Helper()
	var kinds []string
	for _, k := range (&tortured{t: t, root: os.Geteuid() == 0}).troubles() {
		if slices.ContainsFunc(strings.Split(os.Getenv("TAPEFS_KIND"), "|"), func(begins string) bool { return strings.HasPrefix(k.name, begins) }) {
			kinds = append(kinds, k.name)
		}
	}
	if len(kinds) == 0 {
		t.Fatal("TAPEFS_KIND chooses no kind of trouble")
	}
	var order []string
	next := func(n int) (names []string) {
		for range n {
			if len(order) == 0 {
				for _, i := range r.Perm(len(kinds)) {
					order = append(order, kinds[i])
				}
			}
			names, order = append(names, order[0]), order[1:]
		}
		return names
	}
	text := os.Getenv("TAPEFS_ROUNDS")
	if text == "" || text == "once" {
		row := inARow
		if os.Getenv("TAPEFS_KIND") != "" {
			row = 1
		}
		for left := len(kinds); left > 0; left -= row {
			rounds = append(rounds, next(min(row, left)))
		}
		return rounds
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TAPEFS_ROUNDS: %q is no number of rounds", text)
	}
	for range n {
		row := 1
		if os.Getenv("TAPEFS_KIND") == "" && r.IntN(2) == 0 {
			row += r.IntN(inARow)
		}
		rounds = append(rounds, next(row))
	}
	return rounds
}
