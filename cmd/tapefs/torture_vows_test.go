package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// forgetChanged takes out of the promise what is another file at its source by now. What vanished there stays promised.
func (w *tortured) forgetChanged() {
	w.t.Helper()
	for name, sum := range w.vowed {
		if now, err := contentOf(filepath.Join(w.path("source"), name)); err == nil && now != sum {
			delete(w.vowed, name)
		}
	}
}

// vow asks safe what may be deleted, and remembers it. After a run that said that all is done it must name every file.
func (w *tortured) vow(all bool, args ...string) (losses []string) {
	w.t.Helper()
	for _, source := range []string{"far", "near"} {
		p, code := w.promised(source, w.path("source/"+source), args...)
		w.ended("safe", code)
		for name, sum := range p {
			w.vowed[name] = sum
		}
		if all && code != exitDone {
			_, why := w.runs(append([]string{"safe", source}, args...)...)
			losses = append(losses, fmt.Sprintf("all is done, and safe %s %s exits %d:\n%s", strings.Join(args, " "), source, code, why))
		}
	}
	return losses
}

// waysBack are the tapes and the journals that a catalog is rebuilt from. Pool off has copies of source far alone.
func (w *tortured) waysBack() (ways []rebuilt) {
	w.t.Helper()
	for _, pool := range []string{"", "main", "off"} {
		tapes, name := w.tapesOf(pool), "all tapes"
		if pool != "" {
			name = "pool " + pool + " alone"
		}
		ways = append(ways, rebuilt{name: "rebuilt from " + name, tapes: tapes},
			rebuilt{name: "rebuilt without snapshots from " + name, tapes: tapes, rebuild: []string{"--no-snapshot"}})
	}
	return ways
}

// keptVows names what safe promised and one way back does not give.
func (w *tortured) keptVows(how rebuilt) []string {
	w.t.Helper()
	p := promise{}
	for name, sum := range w.vowed {
		if !strings.Contains(how.name, "pool off") || strings.HasPrefix(name, "far/") {
			p[name] = sum
		}
	}
	return w.broken(p, how)
}
