package pack

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/catalog"
)

// summedFile makes a file with a time of its own, and says when that is.
func summedFile(t *testing.T, name string, size int) catalog.Time {
	t.Helper()
	must(t, os.WriteFile(name, packtest.Random(3, size), 0o600))
	at := time.Unix(1_600_000_000, 123_456_789)
	must(t, os.Chtimes(name, at, at))
	return catalog.Time{Sec: at.Unix(), Nsec: int32(at.Nanosecond())}
}

// A sum counts only for the file that was looked at: of its size and its time, to the nanosecond, before and after.
func TestSumFileComparesTimes(t *testing.T) {
	const size = 100_000
	name := filepath.Join(t.TempDir(), "file")
	at := summedFile(t, name, size)
	for _, c := range []struct {
		what string
		size int64
		at   catalog.Time
		ok   bool
	}{
		{"as it was", size, at, true},
		{"another size", size + 1, at, false},
		{"another second", size, catalog.Time{Sec: at.Sec + 1, Nsec: at.Nsec}, false},
		{"another nanosecond", size, catalog.Time{Sec: at.Sec, Nsec: at.Nsec + 1}, false},
	} {
		in, err := os.Open(name)
		must(t, err)
		if _, err := Sum(context.Background(), in, c.size, c.at, map[string]int64{}, io.Discard); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
