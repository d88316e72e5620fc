package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// faultAt names the place at which the next file that is written will begin: 512 KiB blocks of the data partition.
func faultAt(kind string, block int64) string {
	return fmt.Sprintf("%s=VT0001L8:%d", kind, block*blockSize)
}

func setFaults(t *testing.T, l *Library, kinds ...string) {
	t.Helper()
	if err := l.Fault(kinds...); err != nil {
		t.Fatal(err)
	}
}

// tryWrite writes blocks of data through one handle and returns the first error of write, and that of close.
func tryWrite(t *testing.T, path string, blocks int) (written, closed error) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		return err, nil
	}
	for range blocks {
		if _, err := f.Write(bytes.Repeat([]byte("data"), blockSize/4)); err != nil && written == nil {
			written = err
		}
	}
	return written, f.Close()
}

// Only close tells that the bytes are lost: the file ends before them, in the mount and in the index.
func TestCloseAloneTellsOfAWriteError(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	write(t, filepath.Join(dir, "before"), "intact")
	next := attr(t, filepath.Join(dir, "before"), "startblock") + 1
	setFaults(t, l, faultAt("close-eio", next+1))
	written, closed := tryWrite(t, filepath.Join(dir, "cut"), 4)
	if written != nil || !errors.Is(closed, syscall.EIO) {
		t.Errorf("write: %v, close: %v; want no error and EIO", written, closed)
	}
	setFaults(t, l, "clear")
	write(t, filepath.Join(dir, "after"), "intact too")
	if err := syncIndex(dir); err != nil {
		t.Fatal(err)
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	has(t, filepath.Join(dir, "before"), "intact")
	has(t, filepath.Join(dir, "after"), "intact too")
	if st, err := os.Stat(filepath.Join(dir, "cut")); err != nil || st.Size() != blockSize {
		t.Errorf("the file has %d bytes (%v), want one block", st.Size(), err)
	}
}

// What nobody closed fails the sync instead.
func TestSyncTellsOfAWriteErrorBeforeClose(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	f, err := os.Create(filepath.Join(dir, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write(t, filepath.Join(dir, "before"), "x")
	setFaults(t, l, faultAt("close-eio", attr(t, filepath.Join(dir, "before"), "startblock")+1))
	if _, err := f.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	if err := syncIndex(dir); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v, want EIO", err)
	}
}

// A sticky error fails every write until the volume is unmounted, also when the fault is gone; what was there is synced.
func TestStickyWriteError(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	write(t, filepath.Join(dir, "before"), "intact")
	setFaults(t, l, faultAt("sticky-eio", attr(t, filepath.Join(dir, "before"), "startblock")+1))
	if written, _ := tryWrite(t, filepath.Join(dir, "bad"), 1); !errors.Is(written, syscall.EIO) {
		t.Errorf("write: %v, want EIO", written)
	}
	setFaults(t, l, "clear")
	if written, _ := tryWrite(t, filepath.Join(dir, "bad too"), 1); !errors.Is(written, syscall.EIO) {
		t.Errorf("a later write: %v, want EIO", written)
	}
	if err := syncIndex(dir); err != nil {
		t.Fatal(err)
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	has(t, filepath.Join(dir, "before"), "intact")
	write(t, filepath.Join(dir, "after"), "it takes data again")
}

// After a permanent write error a sync says that it worked and writes nothing; unmounting writes the index, and later
// mounts are read-only.
func TestPermanentWriteErrorEndsWriting(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	write(t, filepath.Join(dir, "before"), "intact")
	setFaults(t, l, faultAt("write-perm", attr(t, filepath.Join(dir, "before"), "startblock")+1))
	if written, _ := tryWrite(t, filepath.Join(dir, "bad"), 1); !errors.Is(written, syscall.EIO) {
		t.Errorf("write: %v, want EIO", written)
	}
	setFaults(t, l, "clear")
	if err := os.WriteFile(filepath.Join(dir, "more"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("create: %v, want EROFS", err)
	}
	generation := attr(t, dir, "indexGeneration")
	if err := syncIndex(dir); err != nil || attr(t, dir, "indexGeneration") != generation {
		t.Errorf("sync: %v, generation %d after %d; want no error and no index", err, attr(t, dir, "indexGeneration"), generation)
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	has(t, filepath.Join(dir, "before"), "intact")
	if err := os.WriteFile(filepath.Join(dir, "more"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("create in the next mount: %v, want EROFS", err)
	}
}

// An index lists what never reached the tape, and bytes of the right number are others: only reading finds it, and
// clearing the fault heals nothing.
func TestLostAndWrongWrites(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	write(t, filepath.Join(dir, "before"), "x")
	next := attr(t, filepath.Join(dir, "before"), "startblock") + 1
	setFaults(t, l, faultAt("lost-write", next), faultAt("wrong-write", next+1))
	for _, name := range []string{"lost", "wrong", "good"} {
		if written, closed := tryWrite(t, filepath.Join(dir, name), 1); written != nil || closed != nil {
			t.Fatalf("%s: %v, %v", name, written, closed)
		}
	}
	if err := syncIndex(dir); err != nil {
		t.Fatal(err)
	}
	setFaults(t, l, "clear")
	unmount(t, l, dir)
	mount(t, l, dir)
	want := strings.Repeat("data", blockSize/4)
	if got, err := os.ReadFile(filepath.Join(dir, "lost")); !errors.Is(err, syscall.EIO) {
		t.Errorf("lost: read %d bytes, %v; want EIO", len(got), err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "wrong")); err != nil || len(got) != len(want) || string(got) == want {
		t.Errorf("wrong: read %d bytes, %v; want as many as written, and others", len(got), err)
	}
	has(t, filepath.Join(dir, "good"), want)
	for _, name := range []string{"lost", "wrong"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() != blockSize {
			t.Errorf("%s has %d bytes (%v)", name, st.Size(), err)
		}
	}
}

// A sync that lies writes no index; unmounting in order still does.
func TestSyncLies(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	setFaults(t, l, "sync-lies")
	write(t, filepath.Join(dir, "a"), "content")
	if err := syncIndex(dir); err != nil {
		t.Fatal(err)
	}
	if g := attr(t, dir, "indexGeneration"); g != 1 {
		t.Errorf("generation %d, want 1", g)
	}
	kill(t, l, dir)
	mount(t, l, dir)
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a: %v, want that it is not there", err)
	}
	write(t, filepath.Join(dir, "b"), "content")
	unmount(t, l, dir)
	mount(t, l, dir)
	has(t, filepath.Join(dir, "b"), "content")
}

// An unmount that lies exits 0 and writes no index: what no sync wrote before is gone.
func TestUnmountLies(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	write(t, filepath.Join(dir, "synced"), "content")
	if err := syncIndex(dir); err != nil {
		t.Fatal(err)
	}
	setFaults(t, l, "umount-lies")
	write(t, filepath.Join(dir, "not"), "content")
	unmount(t, l, dir)
	log, err := os.ReadFile(filepath.Join(l.Dir, "drives", "0.log"))
	if err != nil || !strings.Contains(string(log), "LTFS11083E") || strings.Contains(string(log), "medium error") {
		t.Errorf("its log says %q (%v)", log, err)
	}
	setFaults(t, l, "clear")
	mount(t, l, dir)
	has(t, filepath.Join(dir, "synced"), "content")
	if _, err := os.Stat(filepath.Join(dir, "not")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not: %v, want that it is not there", err)
	}
}

// Once the end of the tape was met no sync works; unmounting writes the index.
func TestFullTapeThatDoesNotSync(t *testing.T) {
	l, dir := mounted(t, 32<<20)
	setFaults(t, l, "full-no-sync")
	write(t, filepath.Join(dir, "before"), "intact")
	if err := syncIndex(dir); err != nil {
		t.Fatalf("sync while there is room: %v", err)
	}
	write(t, filepath.Join(dir, "unsynced"), "intact too")
	if _, err := tryWrite(t, filepath.Join(dir, "large"), 65); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("close of what does not fit: %v, want ENOSPC", err)
	}
	for range 2 {
		if err := syncIndex(dir); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("sync: %v, want ENOSPC", err)
		}
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	has(t, filepath.Join(dir, "before"), "intact")
	has(t, filepath.Join(dir, "unsynced"), "intact too")
}

// A volume whose ltfs was killed after a change wants ltfsck first; one that was unmounted in order does not.
func TestKilledVolumeNeedsCheck(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	setFaults(t, l, "kill-needs-check")
	write(t, filepath.Join(dir, "synced"), "content")
	if err := syncIndex(dir); err != nil {
		t.Fatal(err)
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	write(t, filepath.Join(dir, "not"), "content")
	kill(t, l, dir)
	setFaults(t, l, "clear", "kill-needs-check")
	device := l.Drives[0].Device
	if r := shell(t, l, fmt.Sprintf("ltfs -o devname=%s %s", device, dir)); r.code != 1 || !strings.Contains(r.stderr, "LTFS14013E") {
		t.Errorf("ltfs exits %d: %s", r.code, r.stderr)
	}
	if r := shell(t, l, "ltfsck "+device); r.code != exitConsistent {
		t.Errorf("ltfsck exits %d: %s", r.code, r.stderr)
	}
	mount(t, l, dir)
	has(t, filepath.Join(dir, "synced"), "content")
}

// mt eod fails, and the drive's state does not say that the tape is at its end.
func TestEODFails(t *testing.T) {
	l, err := Create(filepath.Join(t.TempDir(), "library"), Options{Slots: 4, Tapes: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Add(1, Cartridge{Barcode: "VT0001L8", Content: Raw}); err != nil {
		t.Fatal(err)
	}
	setFaults(t, l, "eod-eio")
	must(t, l, fmt.Sprintf("mtx -f %s load 1 0 && mt -f %s rewind", l.Changer, l.Drives[0].Tape))
	if r := shell(t, l, fmt.Sprintf("mt -f %s eod", l.Drives[0].Tape)); r.code != 1 || !strings.Contains(r.stderr, "Input/output error") {
		t.Errorf("mt eod exits %d: %s", r.code, r.stderr)
	}
	if out := must(t, l, fmt.Sprintf("mt -f %s status", l.Drives[0].Tape)); strings.Contains(out, "EOD") {
		t.Errorf("the drive says that it is at the end of data:\n%s", out)
	}
}

// The help lists every kind, and formatting a tape anew takes its lasting faults away.
func TestFaultHelpAndFormat(t *testing.T) {
	var help, stderr bytes.Buffer
	if code := Main([]string{"fault", "--help"}, nil, &help, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	for _, k := range faultKinds {
		if !strings.Contains(help.String(), "  "+k.name) || k.help == "" {
			t.Errorf("the help does not explain %s", k.name)
		}
	}
	l, dir := mounted(t, 64<<20)
	write(t, filepath.Join(dir, "before"), "x")
	setFaults(t, l, faultAt("write-perm", attr(t, filepath.Join(dir, "before"), "startblock")+1))
	if written, _ := tryWrite(t, filepath.Join(dir, "bad"), 1); written == nil {
		t.Error("the write did not fail")
	}
	setFaults(t, l, "clear")
	unmount(t, l, dir)
	must(t, l, fmt.Sprintf("mkltfs -f -d %s -s VT0001 -n VT0001L8", l.Drives[0].Device))
	mount(t, l, dir)
	write(t, filepath.Join(dir, "after"), "x")
}
