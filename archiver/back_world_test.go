package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
	"github.com/tapefs/tapefs/crypto"
)

// TestMain makes the test binary the programs of the virtual library, and a process that archives
// and may be killed at a failpoint.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "virtual":
			os.Exit(virtual.Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
		case "back-archive":
			os.Exit(backProcess(os.Args[2], os.Args[3]))
		}
	}
	// Programs built with the race detector would each wait a second before they end.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	os.Exit(m.Run())
}

// backProcess archives the sources of a world's directory.
func backProcess(dir, size string) int {
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return 2
	}
	a, db, err := backOpen(dir, slog.New(slog.NewTextHandler(os.Stderr, nil)), func(c *Config) {
		c.SyncBytes = n
		if os.Getenv("BACK_OWN_POOLS") != "" {
			ownPools(c)
		}
	})
	if err == nil {
		defer db.Close()
		_, err = a.Archive(context.Background(), nil, Options{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// backOpen wires an Archiver over a world's directory: source "src" is read in place, "far" is
// fetched through a stand-in for ssh, with a copy in each of two pools.
func backOpen(dir string, log *slog.Logger, change func(*Config)) (*Archiver, *catalog.DB, error) {
	vl, err := virtual.Open(filepath.Join(dir, "library"))
	if err != nil {
		return nil, nil, err
	}
	bin := func(name string) string { return filepath.Join(vl.Bin, name) }
	lc := changer.Config{Changer: vl.Changer, RunDir: filepath.Join(dir, "run"),
		Programs:    changer.Programs{Mtx: bin("mtx"), Mt: bin("mt"), Mkltfs: bin("mkltfs"), Ltfs: bin("ltfs"), Ltfsck: bin("ltfsck"), Lsscsi: bin("lsscsi")},
		MoveTimeout: time.Minute, ReadyTimeout: time.Minute, MountTimeout: time.Minute, UnmountTimeout: time.Minute}
	for _, d := range vl.Drives {
		lc.Drives = append(lc.Drives, changer.DriveConfig{Serial: d.Serial, Device: d.Device, Tape: d.Tape, Element: d.Element})
	}
	lib, err := changer.Open(lc, log)
	if err != nil {
		return nil, nil, err
	}
	keys, err := crypto.LoadKeyring(filepath.Join(dir, "keys"))
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, "catalog.db")
	db, err := catalog.Open(context.Background(), path)
	if errors.Is(err, fs.ErrNotExist) {
		db, err = catalog.Create(context.Background(), path)
	}
	if err != nil {
		return nil, nil, err
	}
	c := Config{DB: db, Keys: keys, Library: lib, SpoolDir: filepath.Join(dir, "spool"), RunDir: filepath.Join(dir, "run"), Log: log, Version: "test",
		SSH: filepath.Join(dir, "ssh"),
		Sources: []Source{
			{Name: "src", URL: filepath.Join(dir, "src"), Copies: []string{"a"}, BundleBelow: 64 << 10, BundleSize: 1 << 20},
			{Name: "far", URL: "host:" + filepath.Join(dir, "far"), Copies: []string{"a", "b"}, BundleBelow: 64 << 10, BundleSize: 1 << 20},
		},
		Pools: []Pool{{Name: "a", Include: []string{"VT000[1-4]*"}, FormatBlank: true}, {Name: "b", Include: []string{"VT000[5-7]*"}, FormatBlank: true}},
	}
	if change != nil {
		change(&c)
	}
	a, err := New(c)
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	return a, db, nil
}

type backWorld struct {
	*testing.T
	dir string
	vl  *virtual.Library
	db  *catalog.DB
	a   *Archiver
}

func newBackWorld(t *testing.T, o virtual.Options) *backWorld {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	w := &backWorld{T: t, dir: t.TempDir()}
	var err error
	w.vl, err = virtual.Create(filepath.Join(w.dir, "library"), o)
	w.must(err)
	ring := &crypto.Keyring{}
	_, err = ring.Add(filepath.Join(w.dir, "keys"), packtest.Key(t))
	w.must(err)
	// ssh [options] host command…: the options used here all stand before "host".
	w.must(os.WriteFile(filepath.Join(w.dir, "ssh"), []byte("#!/bin/sh\nwhile [ \"$1\" != host ]; do shift; done\nshift\nexec sh -c \"$*\"\n"), 0o755))
	w.must(os.Mkdir(filepath.Join(w.dir, "src"), 0o755))
	w.must(os.Mkdir(filepath.Join(w.dir, "far"), 0o755))
	t.Cleanup(w.cleanup)
	w.open(nil)
	return w
}

func (w *backWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// open opens catalog and archiver; close closes them, so that another process may.
func (w *backWorld) open(change func(*Config)) {
	w.Helper()
	w.close()
	var err error
	w.a, w.db, err = backOpen(w.dir, slog.New(slog.NewTextHandler(w.Output(), nil)), change)
	w.must(err)
}

func (w *backWorld) close() {
	if w.db != nil {
		w.db.Close()
	}
	w.db = nil
}

// cleanup leaves no process and no mount behind, also when the test failed.
func (w *backWorld) cleanup() {
	w.close()
	_ = w.vl.Fault("clear")
	for i := range 3 {
		if i > 0 {
			_ = w.vl.Fault("kill-ltfs")
		}
		for _, d := range w.vl.Drives {
			_ = syscall.Unmount(filepath.Join(w.dir, "run", "ltfs", d.Serial), syscall.MNT_DETACH)
		}
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if !w.anyLtfs() {
				return
			}
		}
	}
	w.Error("an ltfs process could not be ended")
}

func (w *backWorld) anyLtfs() bool {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "devname="+w.vl.Dir) {
			return true
		}
	}
	return false
}

// write makes a file below the world's directory.
func (w *backWorld) write(name string, seed byte, size int) {
	w.Helper()
	p := filepath.Join(w.dir, name)
	w.must(os.MkdirAll(filepath.Dir(p), 0o755))
	w.must(os.WriteFile(p, packtest.Random(seed, size), 0o640))
}

func (w *backWorld) archive() Summary {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Minute)
	defer cancel()
	s, err := w.a.Archive(ctx, nil, Options{})
	if err != nil {
		report, _ := w.db.RunReport(ctx, s.Run)
		w.Fatalf("archive: %v\n%+v", err, report.Errors)
	}
	return s
}

// moves counts what the robot and the drives did.
func (w *backWorld) moves() int {
	w.Helper()
	log, err := w.vl.Log()
	w.must(err)
	return len(log)
}

// restore opens every part on a pool's tapes with openssl and tar, in order of name, and compares
// a source's tree with it. It returns the names of the objects found.
func (w *backWorld) restore(source string, pool string) []string {
	w.Helper()
	ctx := w.Context()
	tapes, err := w.db.Tapes(ctx)
	w.must(err)
	parts := map[string][]string{}
	for _, t := range tapes {
		if t.PoolName != pool {
			continue
		}
		lease, err := w.a.env.Lib.Lease(ctx, changer.Request{Barcode: changer.Barcode(t.Barcode), Purpose: "test"})
		w.must(err)
		w.must(lease.Load(ctx, changer.Barcode(t.Barcode)))
		v, err := lease.Mount(ctx, changer.MountRequest{UUID: t.UUID, ReadOnly: true})
		w.must(err)
		keep := w.TempDir()
		files, err := filepath.Glob(filepath.Join(v.Dir, "tapefs", "*", "*"))
		w.must(err)
		for _, f := range files {
			name := filepath.Base(f)
			oid, number, ok := strings.Cut(name, ".tar.enc")
			if !ok || len(oid) != 32 || !w.live(t, "tapefs/"+filepath.Base(filepath.Dir(f))+"/"+name) {
				continue
			}
			b, err := os.ReadFile(f)
			w.must(err)
			w.must(os.WriteFile(filepath.Join(keep, name), b, 0o600))
			parts[oid] = append(parts[oid], filepath.Join(keep, oid+".tar.enc"+number))
		}
		w.must(lease.Release(ctx))
	}
	var oids []string
	for oid := range parts {
		oids = append(oids, oid)
	}
	sort.Strings(oids)
	key, err := w.a.env.Keys.Current()
	w.must(err)
	got := w.TempDir()
	for _, oid := range oids {
		sort.Slice(parts[oid], func(i, j int) bool { return filepath.Base(parts[oid][i]) < filepath.Base(parts[oid][j]) })
		packtest.Untar(w.T, key, got, parts[oid]...)
	}
	out, err := exec.Command("rsync", "-aHnc", "--omit-dir-times", "--delete", "--itemize-changes", filepath.Join(w.dir, source)+"/", filepath.Join(got, source)+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		w.Fatalf("source %s and pool %s differ: %v\n%s", source, pool, err, out)
	}
	return oids
}

// live tells whether the catalog has a durable part of this name on a tape.
func (w *backWorld) live(t catalog.Tape, name string) bool {
	w.Helper()
	for _, p := range w.durable() {
		if p.Tape == t.ID && p.Name == name {
			return true
		}
	}
	return false
}

// durable lists all durable parts, and fails when anything is left unsafe or owed.
func (w *backWorld) durable() []catalog.CopyPart {
	w.Helper()
	ctx := w.Context()
	var out []catalog.CopyPart
	for id := int64(1); ; id++ {
		if _, err := w.db.GetCopy(ctx, id); errors.Is(err, catalog.ErrNotFound) {
			return out
		}
		parts, err := w.db.CopyParts(ctx, id)
		w.must(err)
		for _, p := range parts {
			if p.State == catalog.PartDurable {
				out = append(out, p)
			}
		}
	}
}

// settled fails unless every copy is durable with each part once, every batch released, and the
// spool empty.
func (w *backWorld) settled() {
	w.Helper()
	ctx := w.Context()
	unsafe, err := w.db.UnsafeParts(ctx)
	w.must(err)
	open, err := w.db.OpenBatches(ctx)
	w.must(err)
	debts, err := w.db.Debts(ctx)
	w.must(err)
	for _, d := range debts {
		if d.Copies > 0 {
			w.Errorf("owed: %+v", d)
		}
	}
	if len(unsafe) > 0 || len(open) > 0 {
		w.Fatalf("unsafe %+v, open %+v", unsafe, open)
	}
	seen := map[string]bool{}
	copies := 0
	for id := int64(1); ; id++ {
		c, err := w.db.GetCopy(ctx, id)
		if errors.Is(err, catalog.ErrNotFound) {
			break
		}
		w.must(err)
		if c.State == catalog.CopyDropped {
			continue // all its files went elsewhere
		}
		copies++
		if c.State != catalog.Durable {
			w.Errorf("copy %d is in state %d", c.ID, c.State)
		}
	}
	for _, p := range w.durable() {
		id := fmt.Sprint(p.Copy, "/", p.Number)
		if seen[id] {
			w.Errorf("part %s was made twice", id)
		}
		seen[id] = true
	}
	if copies == 0 || len(seen) < copies {
		w.Errorf("%d parts of %d copies", len(seen), copies)
	}
	err = filepath.WalkDir(filepath.Join(w.dir, "spool"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			w.Errorf("left in the spool: %s", p)
		}
		return nil
	})
	w.must(err)
}
