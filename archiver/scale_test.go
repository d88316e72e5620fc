package archiver

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// scaleMemory is what a listing of any number of names may take at its peak, bytes: Go's limit of
// 200 MiB, and what it does not count (the program's code, SQLite's caches outside of its heap).
const scaleMemory = 300 << 20

// TestScale lists and compares many names, none and all of them in the catalog, in a process that
// has little memory. TAPEFS_SCALE is how many (make scale N=…).
func TestScale(t *testing.T) {
	if n := os.Getenv("TAPEFS_SCALE_CHILD"); n != "" {
		scaleChild(t, atoi(t, n))
		return
	}
	n := 100_000
	if s := os.Getenv("TAPEFS_SCALE"); s != "" {
		n = atoi(t, s)
	} else if testing.Short() {
		t.Skip("lists and compares 100,000 names")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestScale$", "-test.v", "-test.timeout=3h")
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=200MiB", "TAPEFS_SCALE_CHILD="+strconv.Itoa(n), "TMPDIR="+t.TempDir())
	if p := os.Getenv("TAPEFS_SCALE_PROFILE"); p != "" {
		cmd.Args = append(cmd.Args, "-test.cpuprofile="+p)
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

func atoi(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%q is no number of names", s)
	}
	return n
}

func scaleChild(t *testing.T, n int) {
	const perDir = 50
	f := newFront(t, 1<<40)
	// Neither the order of a walk nor that of rsync: the comparison must not lean on either.
	f.env.Config.Rsync = filepath.Join(t.TempDir(), "rsync")
	ok(t, os.WriteFile(f.env.Config.Rsync, fmt.Appendf(nil, `#!/bin/sh
exec awk 'BEGIN {
	n = %d; dirs = int((n + %[2]d - 1) / %[2]d)
	print "cd+++++++++ 4096 rwxr-xr-x 1000 1000 2026/01/02-03:04:05 .///"
	for (i = 0; i < 100 && i < dirs; i++) printf "cd+++++++++ 4096 rwxr-xr-x 1000 1000 2026/01/02-03:04:05 collection %%02d///\n", i
	for (i = 0; i < dirs; i++) {
		d = (i * 7919) %% dirs; p = sprintf("collection %%02d/album number %%07d", d %% 100, d)
		printf "cd+++++++++ 4096 rwxr-xr-x 1000 1000 2026/01/02-03:04:05 %%s///\n", p
		for (k = 0; k < %[2]d && d * %[2]d + k < n; k++)
			printf ">f+++++++++ %%d rw-r--r-- 1000 1000 2026/01/02-03:04:05 %%s/picture of something %%03d.jpeg//\n", 1000 + k, p, k
	}
}'
`, n, perDir), 0o700))
	src := Source{Name: "media", URL: "host:/media", Copies: []string{"main"}}
	dirs := (n + perDir - 1) / perDir

	var recording time.Duration
	begin, worked := time.Now(), cpuTime(t)
	st, err := f.planSource(t.Context(), f.run, src, Options{}, func(b catalog.Batch) error {
		defer func(at time.Time) { recording += time.Since(at) }(time.Now())
		return f.pretendFetched(t.Context(), b)
	})
	ok(t, err)
	want(t, "first run", st, source.Stats{New: int64(n)})
	all := time.Since(begin)
	t.Logf("%d names in %d directories, none in the catalog: listed, compared and planned in %v (%v a name), recorded as fetched in %v (%v a name); %v of processor time",
		n, dirs, all-recording, (all-recording)/time.Duration(n), recording, recording/time.Duration(n), cpuTime(t)-worked)
	size, err := os.Stat(filepath.Join(filepath.Dir(f.env.Config.SpoolDir), "catalog.db"))
	ok(t, err)
	t.Logf("the catalog has %d MiB, %d bytes a name", size.Size()>>20, size.Size()/int64(n))

	begin, worked = time.Now(), cpuTime(t)
	st, err = f.planSource(t.Context(), f.run, src, Options{}, func(b catalog.Batch) error { return fmt.Errorf("batch %d was planned", b.ID) })
	ok(t, err)
	want(t, "second run", st, source.Stats{Same: int64(n)})
	t.Logf("all in the catalog: listed and compared in %v (%v a name); %v of processor time", time.Since(begin), time.Since(begin)/time.Duration(n), cpuTime(t)-worked)

	peak := peakMemory(t)
	t.Logf("peak memory %d MiB", peak>>20)
	if peak > scaleMemory {
		t.Errorf("the process took %d bytes, more than %d", peak, scaleMemory)
	}
}

// pretendFetched records a batch as if its files had come.
func (f *front) pretendFetched(ctx context.Context, b catalog.Batch) error {
	objects, err := f.env.DB.BatchObjects(ctx, b.ID)
	if err != nil {
		return err
	}
	var files []catalog.Fetched
	for _, o := range objects {
		for _, v := range o.Versions {
			if v.State == catalog.Planned {
				files = append(files, catalog.Fetched{Version: v.ID, Size: v.Size, Nlink: 1,
					Meta: catalog.Meta{Mode: v.Mode, Owner: v.Owner, MTime: v.MTime}})
			}
		}
	}
	if err := f.env.DB.MarkFetched(ctx, f.run.ID, b.ID, files, time.Now()); err != nil {
		return err
	}
	return f.env.DB.SetBatchState(ctx, b.ID, catalog.Synced, b.Bytes)
}

// cpuTime is what this process has worked: other work on the machine does not count.
func cpuTime(t *testing.T) time.Duration {
	var use unix.Rusage
	ok(t, unix.Getrusage(unix.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano()).Round(time.Millisecond)
}

// peakMemory is the most memory this process had resident since it began, bytes.
func peakMemory(t *testing.T) int64 {
	file, err := os.Open("/proc/self/status")
	ok(t, err)
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if rest, found := strings.CutPrefix(s.Text(), "VmHWM:"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			ok(t, err)
			return kib << 10
		}
	}
	t.Fatal("the kernel does not say how much memory this process had")
	return 0
}
