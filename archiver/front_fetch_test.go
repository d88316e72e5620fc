package archiver

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
)

// oddTree makes a tree of names and kinds that are hard to carry.
func oddTree(t testing.TB, dir string) {
	t.Helper()
	for i, n := range []string{
		"plain", "sp ace", " lead", "trail ", "new\nline", "tab\t", "qu'ote", `dou"ble`, `back\slash`, `\#012`, `a\#b`, "-dash", "--files-from=x",
		"co:lon", "host::mod", "*?[]", "{a,b}", "$(touch x)", "`x`", ";#&|<>", "~", "~root", "uni-\u00e9\u4e16", "inv\xff\xfe", "a => b", "a -> b",
		strings.Repeat("n", 255), "...", ".hidden", "%41", "d/sub/deep", "d-beside", "d/new\ndir/f", "\\", "=",
	} {
		touch(t, filepath.Join(dir, n), strings.Repeat("x", i), 1000000000+int64(i), int64(i)*1001)
	}
	touch(t, dir+"/old", "", -1000, 999999999)
	touch(t, dir+"/empty", "", 1, 1)
	touch(t, dir+"/big", strings.Repeat("0123456789abcdef", 200<<10/16), 1500000000, 5)
	ok(t, os.Symlink("nowhere//x -> y", dir+"/dangling"))
	ok(t, os.Symlink("/etc/passwd", dir+"/absolute"))
	ok(t, os.Symlink("inv\xff\nx", dir+"/odd target"))
	ok(t, os.Symlink("d", dir+"/to a directory"))
	ok(t, os.Link(dir+"/plain", dir+"/d/hard"))
	ok(t, os.Link(dir+"/plain", dir+"/A hard"))
	ok(t, os.Link(dir+"/big", dir+"/z hard"))
	ok(t, os.MkdirAll(dir+"/empty dir/inner", 0o711))
	ok(t, os.Mkdir(dir+"/sticky", 0o755))
	ok(t, os.Chmod(dir+"/sticky", 0o755|os.ModeSticky|os.ModeSetgid))
	ok(t, os.Chmod(dir+"/sp ace", 0o755|os.ModeSetuid))
	ok(t, os.Chmod(dir+"/empty", 0o400))
	if os.Getuid() == 0 {
		ok(t, os.Chmod(dir+"/d-beside", 0))
		ok(t, os.Lchown(dir+"/tab\t", 1, 2))
		ok(t, os.Lchown(dir+"/sticky", 12345, 54321))
		ok(t, os.Chmod(dir+"/sticky", 0o755|os.ModeSticky|os.ModeSetgid))
		ok(t, os.Lchown(dir+"/empty dir", 1, 0))
	}
	ok(t, syscall.Mkfifo(dir+"/fifo", 0o600))
	for _, d := range []string{"empty dir/inner", "empty dir", "sticky", "d/sub", "d"} {
		ok(t, os.Chtimes(filepath.Join(dir, d), time.Unix(1400000000, 123456789), time.Unix(1400000000, 123456789)))
	}
}

// contents are the sums of the files below a directory; hard links are grouped.
func contents(t testing.TB, dir string, paths []string, open func(string) (*os.File, error)) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, p := range paths {
		f, err := open(p)
		if err != nil {
			t.Errorf("open %q: %v", p, err)
			continue
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		ok(t, err)
		all[p] = fmt.Sprintf("%x", h.Sum(nil))
	}
	return all
}

func files(shown map[string]string) []string {
	var paths []string
	for p, s := range shown {
		if strings.HasPrefix(s, "file") {
			paths = append(paths, p)
		}
	}
	return paths
}

func TestOddNamesThroughEveryTransport(t *testing.T) {
	for _, c := range []struct {
		name  string
		where string // of the tree below a fresh directory
		local bool
		reach func(t *testing.T, base, tree string) Source
	}{
		{"local", "tr:ee * 'x", true, func(t *testing.T, _, tree string) Source { return Source{URL: tree} }},
		{"ssh", "tree", false, func(t *testing.T, _, tree string) Source {
			s := startSSHD(t, "")
			return Source{URL: s.URL(tree), SSH: s.Args}
		}},
		{"ssh with an odd path", "-a b/$(x)'\"\n*é", false, func(t *testing.T, _, tree string) Source {
			s := startSSHD(t, "")
			return Source{URL: fmt.Sprintf("ssh://%s@127.0.0.1:%d%s", s.User, s.Port, tree), SSH: append([]string{"-v"}, s.Args...)}
		}},
		{"account that may only rsync", "tree", false, func(t *testing.T, base, _ string) Source {
			s := startSSHD(t, needProgram(t, "rrsync")+" -ro "+base)
			return Source{URL: s.URL("tree"), SSH: s.Args}
		}},
		{"account that may only rsync, odd path", "a b/$x", false, func(t *testing.T, base, _ string) Source {
			s := startSSHD(t, needProgram(t, "rrsync")+" -ro "+base)
			return Source{URL: s.URL("a b/$x"), SSH: s.Args}
		}},
		{"daemon", "", false, func(t *testing.T, _, tree string) Source {
			return Source{URL: startDaemon(t, tree, "use chroot = no")}
		}},
		{"daemon with a path", "a b/*x/tree", false, func(t *testing.T, base, _ string) Source {
			return Source{URL: startDaemon(t, base, "use chroot = no\nnumeric ids = no") + "/a b/*x/tree"}
		}},
		{"daemon with chroot", "sub", false, func(t *testing.T, base, _ string) Source {
			if os.Getuid() != 0 {
				t.Skip("chroot needs root")
			}
			return Source{URL: startDaemon(t, base, "use chroot = yes") + "/sub"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFront(t, 1<<30)
			base := filepath.Join(t.TempDir(), "b")
			tree := filepath.Join(base, c.where)
			ok(t, os.MkdirAll(tree, 0o755))
			oddTree(t, tree)
			src := c.reach(t, base, tree)
			src.Name, src.BundleBelow = "media", 100<<10
			st, batches := f.plan(t, src, Options{})
			if st.Skipped != 1 || st.Partial || st.Planned != st.Listed {
				t.Errorf("%+v", st)
			}
			if len(batches) != 1 || batches[0].Local != c.local {
				t.Fatalf("batches: %+v", batches)
			}
			ok(t, f.spool.FetchBatch(t.Context(), f.run, src, batches[0]))
			want := onDisk(t, tree)
			got := f.shown(t, "media")
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("the catalog differs: %s", d)
			}
			sums := contents(t, tree, files(want), func(p string) (*os.File, error) { return os.Open(filepath.Join(tree, p)) })
			have := contents(t, tree, files(want), func(p string) (*os.File, error) { return f.spool.OpenMember(batches[0], p) })
			if d := cmp.Diff(sums, have); d != "" {
				t.Errorf("the bytes differ: %s", d)
			}
			checkLinks(t, f, "plain", "d/hard", "A hard")
			checkLinks(t, f, "big", "z hard")
			checkOwners(t, f, tree, c.name == "daemon with chroot")
			checkSizes(t, f, batches[0])
			open, err := f.env.DB.OpenBatches(t.Context())
			ok(t, err)
			if len(open) != 1 || open[0].State != catalog.Synced || !c.local && open[0].Bytes != st.Bytes {
				t.Errorf("batch: %+v, %d bytes planned", open, st.Bytes)
			}
			report, err := f.env.DB.RunReport(t.Context(), f.run.ID)
			ok(t, err)
			if len(report.Errors) > 0 {
				t.Errorf("errors: %v", report.Errors)
			}
			again, _ := f.plan(t, src, Options{})
			if again.Same != st.Listed || again.New+again.Changed+again.Metadata != 0 {
				t.Errorf("a second listing finds news: %+v", again)
			}
			ok(t, f.spool.RemoveBatch(batches[0]))
			if _, err := os.Lstat(filepath.Join(f.env.Config.SpoolDir, batches[0].Dir)); !c.local && !os.IsNotExist(err) {
				t.Errorf("the spool directory is still there: %v", err)
			}
			if _, err := os.Lstat(tree + "/plain"); err != nil {
				t.Errorf("the source suffered: %v", err)
			}
		})
	}
}

func checkLinks(t *testing.T, f *front, paths ...string) {
	t.Helper()
	inodes := map[catalog.ID]bool{}
	for _, p := range paths {
		v, err := f.env.DB.Resolve(t.Context(), "/media/"+p)
		ok(t, err)
		inodes[v.Inode] = true
		if int(v.Nlink) != len(paths) {
			t.Errorf("%s has %d links", p, v.Nlink)
		}
	}
	if len(inodes) != 1 {
		t.Errorf("%v are %d files", paths, len(inodes))
	}
}

// checkSizes: an object is never larger than it was planned, for bundles must not exceed a part.
func checkSizes(t *testing.T, f *front, b catalog.Batch) {
	t.Helper()
	objects, err := f.env.DB.BatchObjects(t.Context(), b.ID)
	ok(t, err)
	for _, o := range objects {
		var members []pack.Member
		for _, v := range o.Versions {
			p, err := f.env.DB.Path(t.Context(), v.ID)
			ok(t, err)
			members = append(members, pack.Member{Version: v, Path: strings.TrimPrefix(strings.TrimPrefix(p, "/media"), "/")})
		}
		l, err := pack.NewLayout("media", members)
		ok(t, err)
		if sealed := l.Size + crypto.HeaderSize; sealed > o.PlannedSize {
			t.Errorf("an object of %d bytes was planned with %d", sealed, o.PlannedSize)
		}
	}
}

func checkOwners(t *testing.T, f *front, tree string, nameless bool) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	names := source.NewOwnerNames(true)
	for _, p := range []string{"plain", "tab\t", "sticky", "empty dir", "d/sub"} {
		var st syscall.Stat_t
		ok(t, syscall.Lstat(filepath.Join(tree, p), &st))
		want := catalog.Owner{UID: st.Uid, GID: st.Gid}
		if !nameless {
			want = names.Complete(want)
		}
		v, err := f.env.DB.Resolve(t.Context(), "/media/"+p)
		ok(t, err)
		if v.Owner != want {
			t.Errorf("%s belongs to %+v, want %+v", p, v.Owner, want)
		}
	}
}

func TestFetchFindsWhatChangedSinceTheListing(t *testing.T) {
	for _, local := range []bool{true, false} {
		t.Run(fmt.Sprintf("local %v", local), func(t *testing.T) {
			f := newFront(t, 1<<30)
			tree := filepath.Join(t.TempDir(), "tree")
			outside := filepath.Join(t.TempDir(), "outside")
			for _, p := range []string{"gone", "grown", "kind", "dir/f", "inner/f", "kept", "other/f"} {
				touch(t, tree+"/"+p, "listed", 1000, 7)
			}
			touch(t, outside+"/f", "secret", 1000, 7)
			src := Source{Name: "media", URL: tree}
			if !local {
				s := startSSHD(t, "")
				src.URL, src.SSH = s.URL(tree), s.Args
			}
			_, batches := f.plan(t, src, Options{})
			ok(t, os.Remove(tree+"/gone"))
			touch(t, tree+"/grown", "has grown", 1000, 7)
			ok(t, os.Remove(tree+"/kind"))
			ok(t, os.Symlink("kept", tree+"/kind"))
			ok(t, os.RemoveAll(tree+"/dir"))
			ok(t, os.Symlink(outside, tree+"/dir"))
			ok(t, os.RemoveAll(tree+"/inner"))
			ok(t, os.Symlink("other", tree+"/inner"))
			ok(t, f.spool.FetchBatch(t.Context(), f.run, src, batches[0]))
			var have []string
			for p := range f.shown(t, "media") {
				have = append(have, p)
			}
			for _, p := range []string{"gone", "kind", "dir/f", "inner/f"} {
				if _, err := f.env.DB.Resolve(t.Context(), "/media/"+p); err == nil {
					t.Errorf("%s counts as fetched, of %q", p, have)
				}
				if file, err := f.spool.OpenMember(batches[0], p); err == nil && (local || p == "kind") {
					file.Close()
					t.Errorf("%s can be opened", p)
				}
			}
			for _, p := range []string{"kept", "other/f", "grown"} {
				if _, err := f.env.DB.Resolve(t.Context(), "/media/"+p); err != nil {
					t.Error(err)
				}
			}
			report, err := f.env.DB.RunReport(t.Context(), f.run.ID)
			ok(t, err)
			about := map[string]bool{}
			for _, e := range report.Errors {
				about[e.Path] = true
			}
			for _, p := range []string{"gone", "grown", "kind", "dir/f", "inner/f"} {
				if !about[p] {
					t.Errorf("no error about %s: %v", p, report.Errors)
				}
			}
			got := report.Counts["media"]
			if got["gone"] != 1 || got["became_other"] != 3 || got["grown"] != 1 || got["new"] != 3 || got["unreadable"] != 0 {
				t.Errorf("counted: %v", got)
			}
			if !f.env.RunFailed(f.run.ID) {
				t.Error("a run that could not take everything counts as whole")
			}
		})
	}
}

// wrapped replaces rsync by a script; $REAL is rsync.
func (f *front) wrapped(t testing.TB, script string) {
	t.Helper()
	fake := filepath.Join(t.TempDir(), "rsync")
	ok(t, os.WriteFile(fake, []byte("#!/bin/sh\nREAL="+needProgram(t, "rsync")+"\n"+script+"\n"), 0o700))
	f.env.Config.Rsync = fake
}

func TestInterruptedFetchGoesOn(t *testing.T) {
	f := newFront(t, 1<<30)
	tree := filepath.Join(t.TempDir(), "tree")
	touch(t, tree+"/a", "content a", 1000, 7)
	touch(t, tree+"/d/b", "content b", 1000, 7)
	s := startSSHD(t, "")
	src := Source{Name: "media", URL: s.URL(tree), SSH: s.Args}
	_, batches := f.plan(t, src, Options{})
	b := batches[0]
	spooled := filepath.Join(f.env.Config.SpoolDir, b.Dir)

	f.wrapped(t, `"$REAL" "$@"; exit 12`)
	if err := f.spool.FetchBatch(t.Context(), f.run, src, b); err == nil || !strings.Contains(err.Error(), "exit 12") {
		t.Fatalf("a fetch that ended badly: %v", err)
	}
	if _, err := f.env.DB.Resolve(t.Context(), "/media/a"); err == nil {
		t.Error("a file counts as fetched though rsync ended badly")
	}
	before, err := os.Stat(spooled + "/a")
	ok(t, err)

	// What came before is compared by content, and not fetched again.
	f.wrapped(t, `case " $* " in *" --checksum "*) ;; *) echo unexpected >&2; exit 1;; esac; "$REAL" "$@"; exit 30`)
	if err := f.spool.FetchBatch(t.Context(), f.run, src, b); err == nil || !strings.Contains(err.Error(), "exit 30") {
		t.Fatalf("a second try: %v", err)
	}
	after, err := os.Stat(spooled + "/a")
	ok(t, err)
	if !os.SameFile(before, after) {
		t.Error("what was fetched was fetched again")
	}

	// After a power cut, or on a disk that rots, a file may have its size and time but not its bytes.
	f.env.Config.Rsync = ""
	touch(t, spooled+"/a", "\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1000, 7)
	ok(t, f.spool.FetchBatch(t.Context(), f.run, src, b))
	file, err := f.spool.OpenMember(b, "a")
	ok(t, err)
	defer file.Close()
	text, err := io.ReadAll(file)
	ok(t, err)
	if !bytes.Equal(text, []byte("content a")) {
		t.Errorf("the spool has %q", text)
	}
	if d := cmp.Diff(onDisk(t, tree), f.shown(t, "media")); d != "" {
		t.Error(d)
	}
	b.State = catalog.Synced
	f.wrapped(t, "exit 1")
	ok(t, f.spool.FetchBatch(t.Context(), f.run, src, b)) // nothing to do
}

func TestUnreadableFilesAreReported(t *testing.T) {
	f := newFront(t, 1<<30)
	tree := filepath.Join(t.TempDir(), "tree")
	touch(t, tree+"/good", "x", 1000, 7)
	touch(t, tree+"/bad one", "x", 1000, 7)
	// The daemon, as nobody, may not read it.
	if os.Getuid() != 0 {
		t.Skip("needs a daemon that runs as another user")
	}
	for p := tree; p != "/"; p = filepath.Dir(p) {
		if info, err := os.Stat(p); err == nil && info.Mode().Perm()&0o005 != 0o005 && strings.HasPrefix(p, os.TempDir()+"/") {
			ok(t, os.Chmod(p, 0o755))
		}
	}
	ok(t, os.Chmod(tree+"/bad one", 0o600))
	src := Source{Name: "media", URL: strings.Replace(startDaemon(t, tree, "use chroot = no\n[as-nobody]\nuid = 65534\ngid = 65534\npath = "+tree), "/files", "/as-nobody", 1)}
	st, batches := f.plan(t, src, Options{})
	if st.New != 2 {
		t.Fatalf("%+v", st)
	}
	ok(t, f.spool.FetchBatch(t.Context(), f.run, src, batches[0]))
	report, err := f.env.DB.RunReport(t.Context(), f.run.ID)
	ok(t, err)
	if len(report.Errors) != 1 || report.Errors[0].Path != "bad one" || !strings.Contains(report.Errors[0].Message, "Permission denied") {
		t.Errorf("errors: %+v", report.Errors)
	}
	if _, err := f.env.DB.Resolve(t.Context(), "/media/good"); err != nil {
		t.Error(err)
	}
}

func TestBatchThatLostAllItsFiles(t *testing.T) {
	f := newFront(t, 1<<30)
	tree := filepath.Join(t.TempDir(), "tree")
	touch(t, tree+"/a", "x", 1000, 7)
	src := Source{Name: "media", URL: tree}
	_, batches := f.plan(t, src, Options{})
	ok(t, os.Remove(tree+"/a"))
	ok(t, f.spool.FetchBatch(t.Context(), f.run, src, batches[0]))
	if m := f.members(t, batches[0]); len(m) != 0 {
		t.Errorf("objects are left: %v", m)
	}
	free, err := f.env.DB.ReleasableBatches(t.Context())
	ok(t, err)
	if len(free) != 1 {
		t.Errorf("an empty batch is never released: %v", free)
	}
}

// makeSafe records that the copies of a batch are on the tape and durable.
func (f *front) makeSafe(t *testing.T, batch int64) {
	t.Helper()
	ctx := t.Context()
	tape, err := f.env.DB.TapeByBarcode(ctx, "A00001L8")
	ok(t, err)
	objects, err := f.env.DB.BatchObjects(ctx, batch)
	ok(t, err)
	var parts []int64
	for _, o := range objects {
		copies, err := f.env.DB.ObjectCopies(ctx, o.ID)
		ok(t, err)
		part, err := f.env.DB.AddCopyPart(ctx, catalog.CopyPart{Copy: copies[0].ID, Tape: tape.ID, Name: o.OID})
		ok(t, err)
		salt, err := f.env.DB.DrawSalt(ctx, o.Key, "object")
		ok(t, err)
		packing := &catalog.Packing{Object: o.ID, Salt: salt, PlainSize: 984, SealedSize: 1000}
		for i, v := range o.Versions {
			packing.Members = append(packing.Members, catalog.PackedMember{Member: catalog.Member{Version: v.ID, Header: int64(i), Data: -1}})
		}
		sum := make([]byte, 32)
		ok(t, f.env.DB.PartClosed(ctx, catalog.ClosedPart{CopyPart: part.ID, Part: catalog.Part{Size: 1000, SHA256: sum, Sums: sum}}, packing))
		parts = append(parts, part.ID)
	}
	_, err = f.env.DB.AddManifest(ctx, catalog.Manifest{Tape: tape.ID, Seq: int(batch), Name: "m", MAC: make([]byte, 32), Previous: make([]byte, 32)}, parts)
	ok(t, err)
	ok(t, f.env.DB.MarkDurable(ctx, tape.ID, 2, tape.Free, time.Now()))
}

func TestSpoolBounds(t *testing.T) {
	f := newFront(t, 1<<30)
	tree := filepath.Join(t.TempDir(), "tree")
	for i := range 4 {
		touch(t, fmt.Sprintf("%s/%d", tree, i), strings.Repeat("x", 40), 1000, 7)
	}
	s := startSSHD(t, "")
	src := Source{Name: "media", URL: s.URL(tree), SSH: s.Args}
	f.env.Config.SpoolMax = 100
	_, batches := f.plan(t, src, Options{})
	if len(batches) != 4 {
		t.Fatalf("%d batches", len(batches))
	}
	fits := func(b catalog.Batch) bool {
		t.Helper()
		can, err := f.spool.Fits(t.Context(), b)
		ok(t, err)
		return can
	}
	use := func(want int64) {
		t.Helper()
		got, err := f.spool.Use(t.Context())
		ok(t, err)
		if got != want {
			t.Errorf("the spool takes %d bytes, want %d", got, want)
		}
	}
	use(0)
	for i, room := range []bool{true, true, false} {
		if fits(batches[i]) != room {
			t.Errorf("batch %d fits: %v", i, !room)
		}
		if room {
			ok(t, f.spool.FetchBatch(t.Context(), f.run, src, batches[i]))
			use(int64(i+1) * 40)
		}
	}
	if err := f.env.DB.ReleaseBatch(t.Context(), batches[0].ID); !errors.Is(err, catalog.ErrUnsafe) {
		t.Errorf("a batch that is on no tape was released: %v", err)
	}
	f.makeSafe(t, batches[0].ID)
	ok(t, f.env.DB.ReleaseBatch(t.Context(), batches[0].ID))
	ok(t, f.spool.RemoveBatch(batches[0]))
	ok(t, f.spool.RemoveBatch(batches[0])) // again
	use(40)
	if !fits(batches[2]) {
		t.Error("a released batch still takes room")
	}
	huge := catalog.Batch{ID: 99, Dir: "media-x", Bytes: 1000}
	if fits(huge) {
		t.Error("what is larger than the spool goes beside others")
	}
	f.makeSafe(t, batches[1].ID)
	ok(t, f.env.DB.ReleaseBatch(t.Context(), batches[1].ID))
	if !fits(huge) {
		t.Error("what is larger than the spool can never be fetched")
	}
	for _, dir := range []string{"", "..", "a/b", "/etc", "."} {
		if err := f.spool.RemoveBatch(catalog.Batch{ID: 1, Dir: dir}); err == nil {
			t.Errorf("a batch in %q was removed", dir)
		}
	}
}
