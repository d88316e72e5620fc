package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mounted makes a library with a formatted tape in drive 0, mounted at the directory returned.
func mounted(t *testing.T, tapeSize int64) (*Library, string) {
	t.Helper()
	needFuse(t)
	l, err := Create(filepath.Join(t.TempDir(), "library"), Options{Slots: 4, TapeSize: tapeSize})
	if err != nil {
		t.Fatal(err)
	}
	dir := mountDirs(t, l, 1)[0]
	must(t, l, fmt.Sprintf(`mtx -f %s load 1 0 && mkltfs -q -d %s -s VT0001 -n VT0001L8`, l.Changer, l.Drives[0].Device))
	mount(t, l, dir)
	return l, dir
}

func mount(t *testing.T, l *Library, dir string) {
	t.Helper()
	must(t, l, fmt.Sprintf("ltfs -o quiet -o devname=%s %s", l.Drives[0].Device, dir))
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type != unix.FUSE_SUPER_MAGIC {
		t.Fatalf("nothing is mounted at %s (%v)", dir, err)
	}
}

// unmount waits for the process too.
func unmount(t *testing.T, l *Library, dir string) {
	t.Helper()
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	idle(t, l)
}

func kill(t *testing.T, l *Library, dir string) {
	t.Helper()
	if err := l.Fault("kill-ltfs"); err != nil {
		t.Fatal(err)
	}
	idle(t, l)
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func syncIndex(dir string) error { return unix.Setxattr(dir, "user.ltfs.sync", []byte("1"), 0) }

func attr(t *testing.T, path, name string) int64 {
	t.Helper()
	b := make([]byte, 100)
	n, err := unix.Getxattr(path, "user.ltfs."+name, b)
	if err != nil {
		t.Fatalf("%s of %s: %v", name, path, err)
	}
	v, err := strconv.ParseInt(string(b[:n]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func has(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %.40q (%v), want %.40q", filepath.Base(path), got, err, want)
	}
}

// After kill -9 a mount shows what the last index told, at its sizes, whatever was written, fsynced,
// overwritten, renamed or removed since; the space of that data stays used.
func TestKillLosesWhatNoIndexTells(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	for _, n := range []string{"grown", "rewritten", "cut", "renamed", "removed", "replaced"} {
		write(t, filepath.Join(dir, n), "old "+n)
	}
	if err := syncIndex(dir); err != nil {
		t.Fatal(err)
	}
	used := attr(t, dir, "mediaDataPartitionAvailableSpace")
	f, err := os.OpenFile(filepath.Join(dir, "grown"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(" and more"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close(), os.WriteFile(filepath.Join(dir, "rewritten"), []byte("new"), 0o644),
		os.Truncate(filepath.Join(dir, "cut"), 2), os.Rename(filepath.Join(dir, "renamed"), filepath.Join(dir, "other")),
		os.Remove(filepath.Join(dir, "removed")), os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "replaced"))); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "fsynced"), strings.Repeat("x", 4<<20))
	write(t, filepath.Join(dir, "removed"), "a new one of that name")
	kill(t, l, dir)
	mount(t, l, dir)
	for _, n := range []string{"grown", "rewritten", "cut", "renamed", "removed", "replaced"} {
		has(t, filepath.Join(dir, n), "old "+n)
	}
	if _, err := os.Stat(filepath.Join(dir, "fsynced")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was never in an index is there (%v)", err)
	}
	if left := attr(t, dir, "mediaDataPartitionAvailableSpace"); left > used-4 {
		t.Errorf("%d MiB are free after the kill, %d before 4 MiB were written", left, used)
	}
	// What was written behind the end of a file before the kill must not come back in a hole.
	if err := os.Truncate(filepath.Join(dir, "grown"), 20); err != nil {
		t.Fatal(err)
	}
	has(t, filepath.Join(dir, "grown"), "old grown"+strings.Repeat("\x00", 11))
}

// What is changed and synced is there again, under its last name.
func TestChangesSurviveUnmount(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	write(t, filepath.Join(dir, "a"), "first content")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "d"), 0o755), syncIndex(dir),
		os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "d", "b")),
		os.WriteFile(filepath.Join(dir, "a"), []byte("second"), 0o644), syncIndex(dir),
		os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "e")),
		os.Symlink("e/b", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "e", "b"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("FIR"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	has(t, filepath.Join(dir, "link"), "FIRst content")
	has(t, filepath.Join(dir, "a"), "second")
	has(t, filepath.Join(l.Dir, "tapes", "VT0001L8", "files", "e", "b"), "FIRst content")
}

// umount returns before the index is written; an unload in between loses the session.
func TestUnmountReturnsBeforeTheIndexIsWritten(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	if err := l.Fault("slow-umount=1h"); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "session"), "data")
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	if l.driveHolder(0) == 0 {
		t.Error("ltfs is gone as soon as umount returns")
	}
	if r := shell(t, l, "mkltfs -d "+l.Drives[0].Device); r.code != 8 {
		t.Errorf("the drive can be opened after umount: exit code %d", r.code)
	}
	x, err := l.loadIndex("VT0001L8")
	if err != nil || x.Generation != 1 {
		t.Errorf("generation %d (%v) is on tape before ltfs ended", x.Generation, err)
	}
	must(t, l, fmt.Sprintf("mtx -f %s unload 1 0 && mtx -f %[1]s load 1 0", l.Changer))
	if err := l.Fault("clear"); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(l.driveHolder(0), syscall.SIGKILL) // it sleeps for an hour
	idle(t, l)
	mount(t, l, dir)
	if _, err := os.Stat(filepath.Join(dir, "session")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the session is on tape (%v)", err)
	}
}

// A mounted tape that came back into the drive is still another one for the ltfs that had it.
func TestUnloadWhileMountedWritesNothing(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	write(t, filepath.Join(dir, "before"), "data")
	must(t, l, fmt.Sprintf("mtx -f %s unload 1 0 && mtx -f %[1]s load 1 0", l.Changer))
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o644); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("create: %v, want EAGAIN", err)
	}
	// Linux makes EOPNOTSUPP of an EAGAIN from setxattr.
	if err := syncIndex(dir); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("sync: %v, want EOPNOTSUPP", err)
	}
	if e, err := os.ReadDir(dir); err != nil || len(e) != 1 {
		t.Errorf("listing from memory: %v %v", e, err)
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	if e, err := os.ReadDir(dir); err != nil || len(e) != 0 {
		t.Errorf("the tape holds %v (%v)", e, err)
	}
}

// The end of the tape shows late: more is accepted than fits, close tells, the file is cut, nothing can
// be changed any more, the index can still be written, and the next mount is read-only.
func TestEndOfTapeComesLate(t *testing.T) {
	l, dir := mounted(t, 32<<20)
	keep := bytes.Repeat([]byte("keep"), 1<<20)
	if err := os.WriteFile(filepath.Join(dir, "keep"), keep, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "late"))
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 30<<20) // 4 + 30 MiB: 2 too many, less than the 4 MiB of buffer
	if n, err := f.Write(data); n != len(data) || err != nil {
		t.Fatalf("write of %d MiB accepted %d bytes: %v", len(data)>>20, n, err)
	}
	if err := f.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v, want ENOSPC", err)
	}
	st, err := os.Stat(filepath.Join(dir, "late"))
	if err != nil || st.Size() >= 28<<20 || st.Size() < 27<<20 {
		t.Fatalf("late has %d bytes (%v), want a little less than 28 MiB", st.Size(), err)
	}
	for what, err := range map[string]error{
		"create": os.WriteFile(filepath.Join(dir, "new"), nil, 0o644), "mkdir": os.Mkdir(filepath.Join(dir, "d"), 0o755),
		"remove": os.Remove(filepath.Join(dir, "keep")), "rename": os.Rename(filepath.Join(dir, "keep"), filepath.Join(dir, "k")),
	} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v, want ENOSPC", what, err)
		}
	}
	if err := syncIndex(dir); err != nil {
		t.Errorf("sync of the full tape: %v", err)
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	has(t, filepath.Join(dir, "keep"), string(keep))
	if s, err := os.Stat(filepath.Join(dir, "late")); err != nil || s.Size() != st.Size() {
		t.Errorf("late: %v %v", s, err)
	}
	if err := os.Remove(filepath.Join(dir, "late")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("remove on the next mount: %v, want EROFS", err)
	}
}

func TestWriteStopsAtTheEndOfTheBuffer(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	if err := l.Fault("enospc-after=8MiB"); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Write(make([]byte, 40<<20))
	if !errors.Is(err, syscall.ENOSPC) || n < 15<<20 || n > 17<<20 {
		t.Errorf("accepted %d MiB (%v), want 8 that fit and 8 of buffer, then ENOSPC", n>>20, err)
	}
}

func TestSignalUnmountsInOrder(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	unmount(t, l, dir)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := exec.Command(filepath.Join(l.Bin, "ltfs"), "-f", "-o", "devname="+l.Drives[0].Device, dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the mount", func() bool { _, err := unix.Getxattr(dir, "user.ltfs.volumeUUID", make([]byte, 99)); return err == nil })
		write(t, filepath.Join(dir, sig.String()), "data")
		if err := errors.Join(cmd.Process.Signal(sig), cmd.Wait()); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
	}
	mount(t, l, dir)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		has(t, filepath.Join(dir, sig.String()), "data")
	}
}

func TestIndexFaultFailsSyncAndUnmount(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	write(t, filepath.Join(dir, "a"), "data")
	before := attr(t, dir, "indexGeneration")
	if err := l.Fault("index-write"); err != nil {
		t.Fatal(err)
	}
	if err := syncIndex(dir); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v, want EIO", err)
	}
	if g := attr(t, dir, "indexGeneration"); g != before {
		t.Errorf("generation went from %d to %d", before, g)
	}
	unmount(t, l, dir)
	if err := l.Fault("clear"); err != nil {
		t.Fatal(err)
	}
	mount(t, l, dir)
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there though no index was written (%v)", err)
	}
	write(t, filepath.Join(dir, "a"), "again")
	for range 2 { // the second sync has nothing to write
		if err := syncIndex(dir); err != nil {
			t.Fatal(err)
		}
		if g := attr(t, dir, "indexGeneration"); g != before+1 {
			t.Errorf("generation %d after one change, want %d", g, before+1)
		}
	}
}

// Bad spots lie on the tape, not in the file.
func TestReadAndWriteFaults(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	data := make([]byte, 6<<20)
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	bad := attr(t, path, "startblock")*blockSize + 3<<20
	if err := l.Fault(fmt.Sprintf("read-eio=VT0001L8:%d", bad)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 4096), 3<<20); !errors.Is(err, syscall.EIO) {
		t.Errorf("read of the bad spot: %v, want EIO", err)
	}
	if _, err := f.ReadAt(make([]byte, 4096), 1<<20); err != nil {
		t.Errorf("read elsewhere: %v", err)
	}
	if err := l.Fault("clear", fmt.Sprintf("write-eio=VT0001L8:%d", bad+6<<20)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "g"), data, 0o644); !errors.Is(err, syscall.EIO) {
		t.Errorf("write over the bad spot: %v, want EIO", err)
	}
}

// A close of a file that was only read waits for no read of the drive, as with the real ltfs: a process that starts a program
// closes its files once more in the new one.
func TestCloseWaitsForNoRead(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	for _, name := range []string{"read", "closed"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	open := func(name string) *os.File {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := open("read")
	var others []*os.File
	for range 100 {
		others = append(others, open("closed"))
	}
	if err := l.Fault("stuck-read=VT0001L8"); err != nil {
		t.Fatal(err)
	}
	free := sync.OnceFunc(func() {
		if err := l.Fault("clear"); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(free)
	read := make(chan error, 1)
	go func() {
		defer f.Close()
		_, err := f.ReadAt(make([]byte, 4096), 0)
		read <- err
	}()
	closed := make(chan error, 1)
	go func() {
		var err error
		for _, f := range others { // the read begins some time between them
			err = errors.Join(err, f.Close())
			time.Sleep(5 * time.Millisecond)
		}
		closed <- err
	}()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("a close waits for the read")
		free()
		<-closed
	}
	select {
	case err := <-read:
		t.Fatalf("the read came back: nothing is tested (%v)", err)
	default:
	}
	free()
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// The log tells how many bytes the drive delivered, in which order, and where it had to stop.
func TestLogSumsWhatTheDriveDelivered(t *testing.T) {
	l, dir := mounted(t, 128<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 24<<20)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for _, n := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, n), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	old, err := l.Log()
	if err != nil {
		t.Fatal(err)
	}
	has(t, filepath.Join(dir, "b"), string(data))
	f, err := os.Open(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	tail := make([]byte, 4096)
	if _, err := f.ReadAt(tail, int64(len(data)-len(tail))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(tail, data[len(data)-len(tail):]) {
		t.Error("the end of a is not what was written")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	events, err := l.Log()
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]int64{}
	seeks, clock := 0, 0.0
	for _, e := range events[len(old):] {
		switch e.Kind {
		case "read":
			read[e.File] += e.Bytes
		case "seek":
			seeks++
		}
		if e.Drive == 0 && e.Clock < clock {
			t.Errorf("the clock went back from %f to %f", clock, e.Clock)
		}
		clock = e.Clock
	}
	if read["b"] != int64(len(data)) {
		t.Errorf("%d bytes of b were delivered, want %d", read["b"], len(data))
	}
	if read["a"] < 4096 || read["a"] > 1<<20 {
		t.Errorf("%d bytes of a were delivered for its last 4096", read["a"])
	}
	if seeks != 2 {
		t.Errorf("%d seeks, want one to each file", seeks)
	}
	if a, b := attr(t, filepath.Join(dir, "a"), "startblock"), attr(t, filepath.Join(dir, "b"), "startblock"); b != a+48 {
		t.Errorf("a begins at block %d, b at %d: want 24 MiB between them", a, b)
	}
}

// Two files that are written in turns keep their bytes apart.
func TestInterleavedWriters(t *testing.T) {
	l, dir := mounted(t, 64<<20)
	var want [2]bytes.Buffer
	var files [2]*os.File
	for i := range files {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		files[i] = f
	}
	for n := range 200 {
		for i, f := range files {
			if _, err := io.MultiWriter(f, &want[i]).Write(bytes.Repeat([]byte{byte(n), byte(i)}, 1000+n*7)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, f := range files {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	unmount(t, l, dir)
	mount(t, l, dir)
	for i := range files {
		has(t, filepath.Join(dir, strconv.Itoa(i)), want[i].String())
	}
}
