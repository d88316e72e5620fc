package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// live is the life of an archive: rounds with the troubles that are named, and its end.
func (w *tortured) live(first int, rounds [][]string) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.all.failed(w.round, w.failures)
		}
	}()
	troubles := w.troubles()
	w.round = "the first archive, " + w.again
	w.change(true)
	w.settle("the first archive")
	w.keep()
	for i, names := range rounds {
		var kinds []trouble
		for _, name := range names {
			kinds = append(kinds, troubles[slices.IndexFunc(troubles, func(k trouble) bool { return k.name == name })])
		}
		w.oneRound(first+i+1, kinds)
	}
	w.lastCompare()
}

// oneRound makes a few changes at the sources, has the troubles one after the other, runs until all is done, and compares.
func (w *tortured) oneRound(n int, kinds []trouble) {
	w.t.Helper()
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	w.round = fmt.Sprintf("round %d, %s, %s", n, strings.Join(names, " + "), w.again)
	w.begin(names)
	defer func() { w.kinds = nil }()
	start := time.Now()

	w.change(true)
	w.forgetChanged()
	if w.r.IntN(2) == 0 {
		w.emptyDrives()
	}
	var losses []string
	for i, kind := range kinds {
		if i > 0 {
			w.between()
		}
		w.kinds = append(w.kinds, kind.name)
		w.step("trouble", func() {
			if kind.provoke() {
				w.all.of(kind.name, func(c *tallied) { c.met++ })
			}
			w.clear()
		})
		losses = append(losses, w.believed()...)
	}

	w.vow(false)
	w.step("settle", func() { w.settle(strings.Join(names, " + ")) })
	w.step("catalog", func() { losses = append(losses, w.quick()...) })
	w.step("safe", func() { losses = append(losses, w.vow(true)...) })
	w.keep()
	compared := time.Now()
	if !shortForm() || w.r.IntN(2) == 0 {
		w.step("restore.sh", func() { losses = append(losses, w.restored()...) })
	}
	w.step("mount", func() { losses = append(losses, w.mounted()...) })
	ways := w.waysBack()
	if os.Getenv("TAPEFS_REBUILDS") != "all" {
		ways = []rebuilt{ways[w.r.IntN(len(ways))]}
	}
	w.step("rebuild", func() {
		for _, way := range ways {
			losses = append(losses, w.keptVows(way)...)
		}
	})
	losses = append(losses, w.losses...)
	for _, name := range names {
		w.all.of(name, func(c *tallied) {
			c.took, c.compared, c.losses = c.took+time.Since(start), c.compared+time.Since(compared), c.losses+len(losses)
		})
	}
	w.fatal(losses)
}

// begin forgets what the round before did.
func (w *tortured) begin(names []string) {
	w.log.Reset()
	w.losses, w.kinds, w.lastCode = nil, nil, exitDone
	for _, name := range names {
		w.all.of(name, func(c *tallied) { c.rounds++ })
	}
}

// between leaves more to do for the next trouble. An operator did what was asked for.
func (w *tortured) between() {
	w.t.Helper()
	if w.lastCode == exitOperator || w.lastCode == exitFailed {
		w.operate()
	}
	w.change(false)
	w.forgetChanged()
}

// lastCompare is the last thing that is done with an archive: its tapes are read, restore.sh and the mount, with nothing in
// its cache, give all, and it is rebuilt in all ways.
func (w *tortured) lastCompare() {
	w.t.Helper()
	w.round = "the archive's end, " + w.again
	w.begin(nil)
	start := time.Now()
	var losses []string
	w.step("verify at the end", func() {
		for _, args := range [][]string{{"verify"}, {"catalog", "check", "--tapes"}} {
			w.runs(args...) // the table of exit codes allows nothing but 0
		}
		losses = append(losses, w.vow(true, "--verified")...)
	})
	w.step("restore.sh", func() { losses = append(losses, w.restored()...) })
	w.must(os.RemoveAll(w.path("state/cache")))
	w.step("mount at the end", func() { losses = append(losses, w.mounted()...) })
	w.step("rebuilds at the end", func() {
		for _, way := range w.waysBack() {
			losses = append(losses, w.keptVows(way)...)
		}
	})
	w.all.mu.Lock()
	w.all.ends.rounds++
	w.all.ends.losses += len(losses)
	w.all.ends.took += time.Since(start)
	w.all.mu.Unlock()
	w.fatal(append(losses, w.losses...))
}

func (w *tortured) fatal(losses []string) {
	w.t.Helper()
	if w.failures = losses; len(losses) > 0 {
		w.t.Fatalf("%s:\n%s\nwhat it did:\n%s", w.round, strings.Join(losses, "\n"), w.log.String())
	}
}

// step does a part of a round, and counts what it takes.
func (w *tortured) step(name string, do func()) {
	began := time.Now()
	do()
	w.all.step(name, time.Since(began))
}

// loss is something that went wrong in a round, which fails at its end.
func (w *tortured) loss(format string, args ...any) {
	w.losses = append(w.losses, fmt.Sprintf(format, args...))
}
