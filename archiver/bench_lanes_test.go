package archiver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkSideBySide lists and compares four sources on far machines (each connection takes 300 ms) side by side and, in the same
// run, one after the other. Its ratio is what side by side takes of that.
func BenchmarkSideBySide(b *testing.B) {
	f := newFront(b, 1<<30)
	dir := b.TempDir()
	f.env.Config.SSH = filepath.Join(dir, "ssh")
	script := "#!/bin/sh\nsleep 0.3\nwhile :; do case $1 in -[opilF]) shift 2;; -*) shift;; *) break;; esac; done\nshift\nexec sh -c \"$*\"\n"
	if err := os.WriteFile(f.env.Config.SSH, []byte(script), 0o755); err != nil {
		b.Fatal(err)
	}
	var sources []Source
	for i := range 4 {
		tree := filepath.Join(dir, fmt.Sprintf("tree%d", i))
		for k := range 200 {
			touch(b, fmt.Sprintf("%s/%d/%d", tree, k%10, k), strings.Repeat("x", k), 1000, 7)
		}
		sources = append(sources, Source{Name: fmt.Sprintf("s%d", i), URL: fmt.Sprintf("host%d:%s", i, tree), Copies: []string{"main"}})
	}
	list := func(some ...Source) time.Duration {
		began := time.Now()
		sum, err := f.dryRun(b.Context(), some, Options{DryRun: true})
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range some {
			if sum.Counts[s.Name]["listed"] != 200 {
				b.Fatalf("%+v", sum.Counts)
			}
		}
		return time.Since(began)
	}
	var together, apart time.Duration
	for b.Loop() {
		together += list(sources...)
		for _, s := range sources {
			apart += list(s)
		}
	}
	b.ReportMetric(float64(together)/float64(apart), "ratio")
}
