package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestNobodyBlocksOthers: while a read from tape does not end and a hundred processes wait for that tape, all that needs no
// tape is served. A process that is killed is gone at once, and so is what it alone asked for.
func TestNobodyBlocksOthers(t *testing.T) {
	source := t.TempDir()
	const size = 5 << 20
	// In order of names one object: "alone" begins two extents behind all that the others can ask for.
	names := []string{"0", "1", "2", "3", "4", "filler", "z alone"}
	for i, name := range names {
		writeRandom(t, filepath.Join(source, name), map[bool]int64{false: size, true: 13 << 20}[name == "filler"], byte(i))
	}
	if err := os.Mkdir(filepath.Join(source, "zz"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeRandom(t, filepath.Join(source, "zz/cached"), 300_000, 100)
	a := newArchive(t, nil, "--tape-size", "256MiB", "--source", "src="+source)
	a.run("archive")
	kept := source + " kept"
	if err := os.Rename(source, kept); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(kept) })
	content := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(kept, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	src := filepath.Join(a.mount(), "src")
	if got, err := os.ReadFile(filepath.Join(src, "zz/cached")); err != nil || !bytes.Equal(got, content("zz/cached")) {
		t.Fatalf("zz/cached: %d bytes, %v", len(got), err)
	}
	a.run("virtual", "fault", "library", "stuck-read=VT0001L8")
	t.Cleanup(func() { a.run("virtual", "fault", "library", "clear") })

	type reader struct {
		*exec.Cmd
		name string
		out  bytes.Buffer
	}
	start := func(name string) *reader {
		r := &reader{Cmd: exec.Command("cat", filepath.Join(src, name)), name: name}
		r.Stdout = &r.out
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Process.Kill() })
		return r
	}
	queue := func() (readers, extents int) {
		var s statusJSON
		decode(t, a.run("status", "--json"), &s)
		for _, w := range s.Recall.Waiting {
			readers += w.Readers
			extents += w.Extents
		}
		return readers, extents
	}
	waiting := func(n int) (extents int) {
		waitUntil(t, fmt.Sprintf("%d readers wait", n), func() bool {
			var readers int
			readers, extents = queue()
			return readers == n
		})
		return extents
	}
	var readers []*reader
	for i := range 100 {
		readers = append(readers, start(names[i%5]))
	}
	shared := waiting(100)
	alone := start("z alone")
	if more := waiting(101); more <= shared {
		t.Fatalf("%d extents are in the queue with a reader of its own part, %d without", more, shared)
	}

	for range 3 {
		for _, args := range [][]string{{"ls", "-lR", src}, {"df", src}, {"stat", filepath.Join(src, "0")}, {"cat", filepath.Join(src, "../.tapefs/queue")},
			{"getfattr", "-n", "user.tapefs.state", filepath.Join(src, "zz/cached")}, {"cmp", filepath.Join(src, "zz/cached"), filepath.Join(kept, "zz/cached")}} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%v beside them: %v\n%s", args, err, out)
			}
		}
	}
	if n, _ := queue(); n != 101 {
		t.Errorf("%d still wait", n)
	}

	end := func(r *reader, sig syscall.Signal) {
		r.Process.Signal(sig)
		if err := r.Wait(); err == nil {
			t.Errorf("%v did not end the reader of %s", sig, r.name)
		}
	}
	end(alone, syscall.SIGKILL)
	if extents := waiting(100); extents != shared {
		t.Errorf("%d extents are in the queue after its reader was killed, %d were before it came", extents, shared)
	}
	end(readers[99], syscall.SIGINT)
	end(readers[98], syscall.SIGTERM)
	if extents := waiting(98); extents != shared {
		t.Errorf("%d extents are in the queue for the others, not %d", extents, shared)
	}
	a.run("virtual", "fault", "library", "clear")
	for _, r := range readers[:98] {
		if err := r.Wait(); err != nil || !bytes.Equal(r.out.Bytes(), content(r.name)) {
			t.Errorf("%s: %d bytes, %v", r.name, r.out.Len(), err)
		}
	}
	if state := xattr(t, filepath.Join(src, "z alone"), "user.tapefs.state"); state != "nearline" {
		t.Errorf("what nobody waits for any more is %s", state)
	}
	a.unmount(filepath.Dir(src))
}
