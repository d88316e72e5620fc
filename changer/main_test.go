package changer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// TestMain makes the test binary the programs of the virtual library, and another process that
// leases a drive.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "virtual":
			os.Exit(virtual.Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
		case "other-process":
			os.Exit(otherProcess(os.Args[2], os.Args[3], os.Args[4]))
		}
	}
	// the race detector lets every process that ends sleep for a second: the programs are many
	if err := os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// otherProcess leases the drive of a tape, mounts it when asked to, says so, and waits for a line on
// stdin before it gives everything back.
func otherProcess(dir, barcode, what string) int {
	ctx := context.Background()
	err := func() error {
		vl, err := virtual.Open(filepath.Join(dir, "library"))
		if err != nil {
			return err
		}
		l, err := changer.Open(config(vl, filepath.Join(dir, "run")), nil)
		if err != nil {
			return err
		}
		fmt.Println("open")
		le, err := l.Lease(ctx, changer.Request{Barcode: changer.Barcode(barcode), Purpose: "other"})
		if err != nil {
			return err
		}
		if what == "load" {
			fmt.Println("loading")
			if err := le.Load(ctx, changer.Barcode(barcode)); err != nil {
				return err
			}
		}
		if what == "mount" {
			if err := le.Load(ctx, changer.Barcode(barcode)); err != nil {
				return err
			}
			v, err := le.Mount(ctx, changer.MountRequest{})
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(v.Dir, "left-behind"), []byte("written by the other process"), 0o644); err != nil {
				return err
			}
		}
		fmt.Println("leased", le.Drive().Serial)
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
		return le.Release(ctx)
	}()
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

func config(vl *virtual.Library, run string) changer.Config {
	bin := func(name string) string { return filepath.Join(vl.Bin, name) }
	cfg := changer.Config{
		Changer: vl.Changer,
		RunDir:  run,
		Programs: changer.Programs{Mtx: bin("mtx"), Mt: bin("mt"), Mkltfs: bin("mkltfs"), Ltfs: bin("ltfs"),
			Ltfsck: bin("ltfsck"), Lsscsi: bin("lsscsi"), SgReadAttr: bin("sg_read_attr"), SgLogs: bin("sg_logs")},
		MoveTimeout: time.Minute, ReadyTimeout: time.Minute, MountTimeout: time.Minute, UnmountTimeout: time.Minute,
	}
	for _, d := range vl.Drives {
		cfg.Drives = append(cfg.Drives, changer.DriveConfig{Serial: d.Serial, Device: d.Device, Tape: d.Tape, Element: d.Element})
	}
	return cfg
}

// world is a virtual library and a run directory of one test.
type world struct {
	*testing.T
	dir string
	vl  *virtual.Library
	cfg changer.Config
	l   *changer.Library
	ctx context.Context
}

func newWorld(t *testing.T, o virtual.Options, change ...func(*changer.Config)) *world {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	w := &world{T: t, dir: t.TempDir()}
	if o.Flavor == "" {
		o.Flavor = os.Getenv("TAPEFS_VIRTUAL_FLAVOR")
	}
	var err error
	if w.vl, err = virtual.Create(filepath.Join(w.dir, "library"), o); err != nil {
		t.Fatal(err)
	}
	w.cfg = config(w.vl, filepath.Join(w.dir, "run"))
	for _, c := range change {
		c(&w.cfg)
	}
	w.l = w.open()
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(func() {
		cancel()
		w.cleanup()
	})
	return w
}

// cleanup leaves no process and no mount behind, also when the test failed.
func (w *world) cleanup() {
	_ = w.vl.Fault("clear")
	for i := range 3 {
		if i > 0 {
			_ = w.vl.Fault("kill-ltfs")
		}
		for _, d := range w.cfg.Drives {
			_ = syscall.Unmount(filepath.Join(w.cfg.RunDir, "ltfs", d.Serial), syscall.MNT_DETACH)
		}
		deadline := time.Now().Add(5 * time.Second)
		for time.Now().Before(deadline) {
			if !w.anyLtfs() {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	w.Error("an ltfs process could not be ended")
}

// anyLtfs tells whether an ltfs of this library runs.
func (w *world) anyLtfs() bool { return w.running("devname=" + w.vl.Dir) }

// running tells whether a process has this text in its arguments, which blanks separate.
func (w *world) running(text string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range all {
		b, err := os.ReadFile(f)
		if err == nil && strings.Contains(strings.ReplaceAll(string(b), "\x00", " "), text) {
			return true
		}
	}
	return false
}

// open gives another Library on the same run directory.
func (w *world) open() *changer.Library {
	w.Helper()
	l, err := changer.Open(w.cfg, slog.New(slog.NewTextHandler(w.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		w.Fatal(err)
	}
	return l
}

func (w *world) fault(kinds ...string) {
	w.Helper()
	if err := w.vl.Fault(kinds...); err != nil {
		w.Fatal(err)
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) lease(r changer.Request) *changer.Lease {
	w.Helper()
	le, err := w.l.Lease(w.ctx, r)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = le.Release(context.Background()) })
	return le
}

// loaded leases a drive and loads a tape.
func (w *world) loaded(b changer.Barcode) *changer.Lease {
	w.Helper()
	le := w.lease(changer.Request{Barcode: b, Purpose: "test"})
	w.must(le.Load(w.ctx, b))
	return le
}

// formatted has the tape loaded and formatted.
func (w *world) formatted(b changer.Barcode) (*changer.Lease, string) {
	w.Helper()
	le := w.loaded(b)
	uuid, err := le.Format(w.ctx, changer.FormatRequest{Barcode: b})
	w.must(err)
	return le, uuid
}

func (w *world) mount(le *changer.Lease, r changer.MountRequest) *changer.Volume {
	w.Helper()
	v, err := le.Mount(w.ctx, r)
	if err != nil {
		w.Fatal(err)
	}
	return v
}

func (w *world) inventory() *changer.Inventory {
	w.Helper()
	inv, err := w.l.Inventory(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	return inv
}

// wants checks the error, and that it has a hint when hint is not "".
func (w *world) wants(err, want error, hint string) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Fatalf("got error %v, want %v", err, want)
	}
	if hint == "" {
		return
	}
	var e *changer.Error
	for cur := err; errors.As(cur, &e); cur = e.Err {
		if strings.Contains(e.Hint, hint) {
			return
		}
	}
	w.Errorf("no hint with %q in %v", hint, err)
}

// other is another process that holds a drive.
type other struct {
	cmd   *exec.Cmd
	stdin interface{ Write([]byte) (int, error) }
	lines chan string
}

func (w *world) other(b changer.Barcode, what string) *other {
	w.Helper()
	self, err := os.Executable()
	w.must(err)
	o := &other{cmd: exec.Command(self, "other-process", w.dir, string(b), what), lines: make(chan string, 100)}
	o.cmd.Stderr = os.Stderr
	in, err := o.cmd.StdinPipe()
	w.must(err)
	o.stdin = in
	out, err := o.cmd.StdoutPipe()
	w.must(err)
	w.must(o.cmd.Start())
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(o.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			o.lines <- s.Text()
		}
	}()
	w.Cleanup(func() {
		_ = o.cmd.Process.Kill()
		<-read
		_ = o.cmd.Wait()
	})
	return o
}

// expect waits for a line that begins so.
func (w *world) expect(o *other, prefix string) string {
	w.Helper()
	for {
		select {
		case line, ok := <-o.lines:
			if !ok {
				w.Fatalf("the other process ended before it said %q", prefix)
			}
			if strings.HasPrefix(line, prefix) {
				return line
			}
			w.Logf("other: %s", line)
		case <-w.ctx.Done():
			w.Fatalf("the other process did not say %q", prefix)
		}
	}
}
