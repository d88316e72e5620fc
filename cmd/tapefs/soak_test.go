package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer/virtual"
)

const (
	soakTapes   = 40 // half of them in each pool
	soakReaders = 4
)

// TestSoak keeps one mount busy for as long as TAPEFS_SOAK says (2h, 3m): programs read, stop half-way, list and
// look, while archive adds files, verify reads tapes back and the library has one trouble after the other. Not one
// byte that is read may differ from what was archived, and no read may fail, because a second copy always is
// there. The memory and the descriptors of the mount's process are sampled all the time; they are what they were
// after the first quarter when the last one ends. TAPEFS_SOAK_PLOT names an SVG file that receives the samples.
//
// With go test -race the mount, archive and the rest run under the race detector, too: a race that one of them
// reports fails the test.
func TestSoak(t *testing.T) {
	text := os.Getenv("TAPEFS_SOAK")
	if text == "" {
		t.Skip("hours of readers, writers and faults: make soak")
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("TAPEFS_SOAK: %v", err)
	}
	s := newSoak(t)
	for range 16 {
		s.change()
	}
	s.archive.run("archive")
	s.remember()
	s.mount()
	s.run(length)
	s.settle()
	s.report()
}

// soak is an archive in use.
type soak struct {
	t           *testing.T
	archive     *archive
	lib         *virtual.Library
	source      string
	mnt         string
	mountCmd    *exec.Cmd
	mountOutput lockedBuffer
	mountEnded  chan error

	ctx    context.Context
	fail   context.CancelCauseFunc
	serial int // of file contents; only the writer's

	mu    sync.Mutex
	files map[string][]byte // what was archived, by path below the source

	reads, interrupted, listings, archives, verifies, faults atomic.Int64
	readBytes                                                atomic.Int64
	samples                                                  []soakSample
}

func newSoak(t *testing.T) *soak {
	s := &soak{t: t, source: filepath.Join(t.TempDir(), "source"), files: map[string][]byte{}, mountEnded: make(chan error, 1)}
	s.must(os.MkdirAll(s.source, 0o755))
	s.archive = newArchive(t, func(text string) string {
		at := strings.Index(text, "\npools:")
		end := at + 1 + strings.Index(text[at+1:], "\nsources:")
		text = text[:at] + "\npools:\n  main: {include: [\"VT000*\", \"VT001*\"], format_blank: true}\n  second: {include: [\"VT002*\", \"VT003*\", \"VT004*\"], format_blank: true}\n" + text[end:]
		return strings.NewReplacer("    url: \""+s.source+"\"\n", "    url: \""+s.source+"\"\n    copies: [main, second]\n",
			"# bundle_below: 64MiB", "bundle_below: 256KiB", "# max: 20GiB", "max: 24MiB", "# reader_slice: 10m", "reader_slice: 5s").Replace(text)
	}, "--source", "src="+s.source)
	s.must(os.RemoveAll(s.archive.path("library")))
	s.archive.run("virtual", "create", s.archive.path("library"), "--slots", fmt.Sprint(soakTapes), "--tapes", fmt.Sprint(soakTapes), "--drives", "2", "--tape-size", "256MiB")
	s.lib = s.archive.library()
	s.must(s.lib.Fault("clear", "slow-umount=20ms"))
	ctx, cancel := context.WithCancelCause(context.Background())
	s.ctx, s.fail = ctx, cancel
	t.Cleanup(func() { cancel(nil) })
	if text, err := os.ReadFile(s.archive.conf); err != nil || !strings.Contains(string(text), "copies: [main, second]") || !strings.Contains(string(text), "max: 24MiB") || !strings.Contains(string(text), "reader_slice: 5s") {
		t.Fatalf("the configuration is not what the test wants: %v\n%s", err, text)
	}
	return s
}

func (s *soak) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// change adds a few files at the source, each new content with a new name.
func (s *soak) change() {
	for range 4 {
		s.serial++
		size := int64(s.serial*7919) % 200_000
		if s.serial%4 == 0 {
			size = 1<<20 + int64(s.serial*104729)%(6<<20) // two extents at most
		}
		content := make([]byte, size)
		fill := rand.NewChaCha8([32]byte{byte(s.serial), byte(s.serial >> 8), byte(s.serial >> 16), 11})
		fill.Read(content)
		path := filepath.Join(s.source, fmt.Sprintf("folder %d", s.serial%9), fmt.Sprintf("file %05d", s.serial))
		s.must(os.MkdirAll(filepath.Dir(path), 0o755))
		s.must(os.WriteFile(path, content, 0o644))
		at := time.Unix(1_500_000_000+int64(s.serial)*977, 0)
		s.must(os.Chtimes(path, at, at))
	}
}

// remember takes what the source holds as what readers must get, and leaves the source empty: a local source could
// answer for the tapes.
func (s *soak) remember() {
	found := map[string][]byte{}
	s.must(filepath.WalkDir(s.source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(s.source, path)
		found[name] = content
		return err
	}))
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, content := range found {
		s.files[name] = content
		s.must(os.Remove(filepath.Join(s.source, name)))
	}
}

// pick returns one of the archived files.
func (s *soak) pick() (string, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := rand.IntN(len(s.files))
	for name, content := range s.files {
		if n--; n < 0 {
			return name, content
		}
	}
	return "", nil
}

// mount starts the mount in the foreground, so that its process is known.
func (s *soak) mount() {
	s.t.Helper()
	s.mnt = s.archive.path("mnt")
	s.must(os.Mkdir(s.mnt, 0o755))
	s.mountCmd = s.archive.command("mount", s.mnt)
	s.mountCmd.Stdout, s.mountCmd.Stderr = &s.mountOutput, &s.mountOutput
	if dir := os.Getenv("TAPEFS_SOAK_HEAPS"); dir != "" {
		s.must(os.MkdirAll(dir, 0o755))
		s.mountCmd.Env = append(os.Environ(), soakHeap+"="+dir)
	}
	s.must(s.mountCmd.Start())
	go func() {
		s.mountEnded <- s.mountCmd.Wait()
		s.fail(errors.New("the mount has ended"))
	}()
	waitUntil(s.t, "the mount answers", func() bool { return exists(filepath.Join(s.mnt, "src")) })
}

// run lets everybody loose.
func (s *soak) run(length time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, length)
	defer cancel()
	var work sync.WaitGroup
	begin := func(pause time.Duration, step func(context.Context) error) {
		work.Go(func() {
			for ctx.Err() == nil {
				if err := step(ctx); err != nil {
					s.fail(err)
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	for range soakReaders {
		begin(20*time.Millisecond, s.read)
	}
	begin(100*time.Millisecond, s.interrupt)
	begin(200*time.Millisecond, s.list)
	begin(5*time.Second, s.write)
	begin(20*time.Second, s.verify)
	begin(2*time.Second, s.trouble)
	begin(max(length/600, 200*time.Millisecond), s.sample)
	work.Wait()
	s.must(s.lib.Fault("clear", "slow-umount=20ms"))
	if err := context.Cause(s.ctx); err != nil {
		s.t.Fatalf("%v\nthe mount says:\n%s", err, s.mountOutput.String())
	}
}

// read compares a whole file, or a piece of one, with what was archived.
func (s *soak) read(context.Context) error {
	name, want := s.pick()
	f, err := os.Open(filepath.Join(s.mnt, "src", name))
	if err != nil {
		return err
	}
	defer f.Close()
	from := 0
	if len(want) > 0 && rand.IntN(3) == 0 {
		from = rand.IntN(len(want))
		want = want[from:min(len(want), from+1+rand.IntN(100_000))]
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, int64(from)); err != nil && err != io.EOF {
		return fmt.Errorf("read %d bytes of %s from %d: %w", len(want), name, from, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s has other bytes from %d on than were archived", name, from)
	}
	s.reads.Add(1)
	s.readBytes.Add(int64(len(got)))
	return nil
}

// interrupt kills a program that reads, as Ctrl-C does.
func (s *soak) interrupt(ctx context.Context) error {
	name, _ := s.pick()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(100))*time.Millisecond)
	defer cancel()
	exec.CommandContext(ctx, "cat", filepath.Join(s.mnt, "src", name)).Run()
	s.interrupted.Add(1)
	return nil
}

// list walks the tree and looks at every attribute.
func (s *soak) list(ctx context.Context) error {
	err := filepath.WalkDir(s.mnt, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			_, err = d.Info()
		}
		return errors.Join(err, ctx.Err())
	})
	if ctx.Err() != nil {
		return nil
	}
	s.listings.Add(1)
	return err
}

// write archives a few more files. What an exit code other than 0 leaves undone is done by the next run.
func (s *soak) write(context.Context) error {
	s.change()
	code, out := s.command("archive", "--accept-deletions")
	switch code {
	case exitDone:
		s.remember()
	case exitPartial, exitOperator, exitFailed:
	default:
		return fmt.Errorf("archive exits with %d\n%s", code, out)
	}
	s.archives.Add(1)
	return s.healthy("archive", out)
}

func (s *soak) verify(context.Context) error {
	code, out := s.command("verify", "--sample", "20%")
	if code != exitDone && code != exitFailed && code != exitPartial {
		return fmt.Errorf("verify exits with %d\n%s", code, out)
	}
	s.verifies.Add(1)
	return s.healthy("verify", out)
}

// trouble sets a fault for a while: none that could keep both copies of a file away for good.
func (s *soak) trouble(ctx context.Context) error {
	kinds := []string{"slow-load=2s", "slow-robot=1s", "unit-attention", "noise", "slow-umount=1s", "blocking-open=2s",
		fmt.Sprintf("slow-write=VT%04dL8:20ms", 1+rand.IntN(soakTapes)), fmt.Sprintf("slow-write=VT%04dL8:20ms", 1+rand.IntN(soakTapes))}
	if err := s.lib.Fault("clear", "slow-umount=20ms", kinds[rand.IntN(len(kinds))]); err != nil {
		return err
	}
	s.faults.Add(1)
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(rand.IntN(5000)) * time.Millisecond):
	}
	return s.lib.Fault("clear", "slow-umount=20ms")
}

// command runs tapefs to its end and returns its exit code, -1 when a signal ended it, and what it printed.
func (s *soak) command(args ...string) (int, string) {
	cmd := s.archive.command(args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return -1, err.Error()
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// healthy fails on what no trouble of a library excuses.
func (s *soak) healthy(who, out string) error {
	for _, bad := range []string{"panic:", "fatal error:", "DATA RACE"} {
		if strings.Contains(out, bad) {
			return fmt.Errorf("%s: %s\n%s", who, bad, out)
		}
	}
	return nil
}

// settle waits until nobody reads any more, takes a last sample, and ends the mount.
func (s *soak) settle() {
	s.t.Helper()
	s.must(s.healthy("mount", s.mountOutput.String()))
	s.must(s.sample(s.ctx))
	waitUntil(s.t, "umount", func() bool { return exec.Command("umount", s.mnt).Run() == nil })
	select {
	case err := <-s.mountEnded:
		if err != nil {
			s.t.Errorf("the mount ended with %v\n%s", err, s.mountOutput.String())
		}
	case <-time.After(2 * time.Minute):
		s.t.Errorf("the mount does not end\n%s", s.mountOutput.String())
	}
	s.must(s.healthy("mount", s.mountOutput.String()))
}

// report prints what was done and holds the last quarter of the samples against the second one.
func (s *soak) report() {
	s.t.Helper()
	s.t.Logf("%d reads (%d MiB), %d more that were interrupted, %d listings, %d archive runs, %d verify runs, %d troubles, %d files",
		s.reads.Load(), s.readBytes.Load()>>20, s.interrupted.Load(), s.listings.Load(), s.archives.Load(), s.verifies.Load(), s.faults.Load(), len(s.files))
	if s.reads.Load() == 0 || s.listings.Load() == 0 || s.archives.Load() == 0 {
		s.t.Error("somebody never had his turn")
	}
	n := len(s.samples)
	if n < 16 {
		s.t.Errorf("%d samples are too few", n)
		return
	}
	early, late := s.samples[n/4:n/2], s.samples[n-n/4:]
	for _, q := range []struct {
		name  string
		of    func(soakSample) int64
		grace int64 // beside half as much again: what a busy moment takes
	}{
		{"descriptors", func(x soakSample) int64 { return x.descriptors }, 16},
		{"resident memory, KiB", func(x soakSample) int64 { return x.resident }, 64 << 10},
		{"threads", func(x soakSample) int64 { return x.threads }, 16},
	} {
		before, after := medianOf(early, q.of), medianOf(late, q.of)
		s.t.Logf("%s of the mount: median %d in the second quarter, %d in the last", q.name, before, after)
		if after > before+before/2+q.grace {
			s.t.Errorf("%s grow: %d, then %d", q.name, before, after)
		}
	}
	if file := os.Getenv("TAPEFS_SOAK_PLOT"); file != "" {
		s.must(os.WriteFile(file, plotSoak(s.samples), 0o644))
		s.t.Logf("plot: %s", file)
	}
}
