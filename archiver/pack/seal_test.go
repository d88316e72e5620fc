package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
)

// backTree makes names and metadata that are easily lost.
func backTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	names := []string{"plain", "with space", "new\nline", "quote'\"", "-dash", "co:lon", `\#012`, `back\slash`, "*?[]", "ünï",
		"bad\xff\xfe", strings.Repeat("n", 255), "deep/" + strings.Repeat("d", 200) + "/" + strings.Repeat("f", 200), "tab\there", "empty",
		"--checkpoint-action=exec=false", "deep/odd\xffdir\n/x=1 y"}
	for i, n := range names {
		p := filepath.Join(root, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		size := (i * 7001) % 60000
		if n == "empty" {
			size = 0
		}
		if err := os.WriteFile(p, packtest.Random(byte(i), size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, os.FileMode(0o400+i)); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			if err := os.Chown(p, 1000+i*1000003, 77); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(p, time.Time{}, time.Unix(int64(i-3)*500_000_000, int64(i)*1001+1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range []error{
		os.Symlink("target\xff\nof link", filepath.Join(root, "symlink")),
		os.Symlink(strings.Repeat("long/", 60), filepath.Join(root, "longlink")),
		os.Link(filepath.Join(root, "plain"), filepath.Join(root, "zlink")),
		os.Link(filepath.Join(root, "plain"), filepath.Join(root, "deep", "hard\xfflink")),
		os.Mkdir(filepath.Join(root, "empty dir"), 0o1770),
		os.Chtimes(filepath.Join(root, "empty dir"), time.Time{}, time.Unix(1, 999999999)),
		os.Chmod(filepath.Join(root, "with space"), 0o755|os.ModeSetuid),
		os.Chtimes(filepath.Join(root, "deep"), time.Time{}, time.Unix(5, 5)),
	} {
		if e != nil {
			t.Fatal(e)
		}
	}
	return root
}

// backCompare fails when two trees differ in anything that is archived.
func backCompare(t *testing.T, want, got string) {
	t.Helper()
	out, err := exec.Command("rsync", "-aHnc", "--numeric-ids", "--delete", "--itemize-changes", want+"/", got+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("trees differ: %v\n%s", err, out)
	}
	if strings.Join(backTimes(t, want), "\n") != strings.Join(backTimes(t, got), "\n") {
		t.Fatalf("times differ:\n%q\n%q", backTimes(t, want), backTimes(t, got))
	}
}

func backTimes(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	if err := filepath.Walk(root, func(p string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		out = append(out, fmt.Sprintf("%q %d", strings.TrimPrefix(p, root), info.ModTime().UnixNano()))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// A sealed object of several parts opens with openssl and tar and gives the tree back exactly.
func TestPackedTreeOpensWithOpensslAndTar(t *testing.T) {
	root := backTree(t)
	big := packtest.Random(99, 9<<20+17)
	if err := os.WriteFile(filepath.Join(root, "big"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := NewLayout("src", members(t, root))
	if err != nil {
		t.Fatal(err)
	}
	k := packtest.Key(t)
	p, err := New(l, packtest.Opener(root), true, k, []byte("saltsalt"), 4<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dir := t.TempDir()
	var files []string
	var all []byte
	for n := range p.Parts() {
		var buf bytes.Buffer
		part, err := p.WritePart(t.Context(), n, &buf)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(buf.Bytes()); !bytes.Equal(sum[:], part.SHA256) || part.Size != int64(buf.Len()) || part.Size != p.PartLen(n) {
			t.Fatalf("part %d: wrong sum or size", n)
		}
		if sum := sha256.Sum256(buf.Bytes()); part.Size == catalog.ExtentSize && !bytes.Equal(sum[:], part.Sums) {
			t.Fatalf("part %d: wrong extent sum", n)
		}
		files = append(files, filepath.Join(dir, filepath.Base(PartName("id", "oid", n, p.Parts()))))
		if err := os.WriteFile(files[n], buf.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, buf.Bytes()...)
	}
	if p.Parts() != 3 || !strings.HasSuffix(files[0], ".tar.enc.0001") || int64(len(all)) != p.SealedSize() {
		t.Fatalf("%d parts %q, %d bytes", p.Parts(), files, len(all))
	}
	got := t.TempDir()
	packtest.Untar(t, k, got, files...)
	backCompare(t, root, filepath.Join(got, "src"))

	// Members are where the packing says they are.
	s, err := k.Stream([]byte("saltsalt"))
	if err != nil {
		t.Fatal(err)
	}
	plain := bytes.Clone(all[crypto.HeaderSize:])
	s.At(0).XORKeyStream(plain, plain)
	packed := p.Packed(1)
	byID := map[catalog.ID]catalog.PackedMember{}
	for _, m := range packed.Members {
		byID[m.Version] = m
	}
	files2, links := 0, 0
	for _, m := range members(t, root) {
		place, ok := byID[m.ID]
		if !ok || place.Void {
			t.Fatalf("%q: member missing or void", m.Path)
		}
		if m.Kind != catalog.File || m.Inode != m.ID {
			if place.Data != -1 || place.SHA256 != nil {
				t.Errorf("%q has bytes of its own", m.Path)
			}
			links++
			continue
		}
		want, err := os.ReadFile(filepath.Join(root, m.Path))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(want)
		if !bytes.Equal(plain[place.Data:place.Data+m.Size], want) || !bytes.Equal(sum[:], place.SHA256) {
			t.Errorf("%q: other bytes or sum", m.Path)
		}
		files2++
	}
	if files2 < 15 || links < 5 {
		t.Errorf("compared %d files, %d others", files2, links)
	}
}

// Any offset of the stream can be read at any time and gives the same bytes.
func TestPlainStreamFromAnyOffset(t *testing.T) {
	root := backTree(t)
	l, err := NewLayout("src", members(t, root))
	if err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, l.Size)
	s := newPlainStream(l, packtest.Opener(root))
	if n, _ := s.read(whole, nil); int64(n) != l.Size {
		t.Fatalf("read %d of %d", n, l.Size)
	}
	if !bytes.Equal(whole[l.Size-TarEnd:], make([]byte, TarEnd)) || len(s.void) > 0 {
		t.Fatalf("end or void %v", s.void)
	}
	offsets := []int64{0, 1, l.Size - 1, l.Size - TarEnd, l.Size - TarEnd - 1}
	for _, e := range l.Entries {
		offsets = append(offsets, e.At, e.At+1, e.At+int64(len(e.Header))-1, max(e.Data, 0), max(e.Data, 0)+e.Size, max(e.Data, 0)+e.Size/2)
	}
	for _, off := range offsets {
		got := make([]byte, min(5000, l.Size-off))
		s.seek(off)
		if n, _ := s.read(got, nil); n != len(got) || !bytes.Equal(got, whole[off:off+int64(n)]) {
			t.Fatalf("offset %d: other bytes", off)
		}
	}
	if len(s.void) > 0 {
		t.Fatalf("void: %v", s.void)
	}
}

// backLimited takes some bytes and then is full.
type backLimited struct {
	bytes.Buffer
	left int
}

func (w *backLimited) Write(p []byte) (int, error) {
	if len(p) > w.left {
		n, _ := w.Buffer.Write(p[:w.left])
		w.left = 0
		return n, syscall.ENOSPC
	}
	w.left -= len(p)
	return w.Buffer.Write(p)
}

// A part is written again after the tape was full, and the file sums are still right; what changed
// in between is never sealed under the same salt.
func TestPartIsWrittenAgainIdentical(t *testing.T) {
	root := t.TempDir()
	content := packtest.Random(5, 30<<20)
	if err := os.WriteFile(filepath.Join(root, "f"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := NewLayout("src", members(t, root))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(l, packtest.Opener(root), false, packtest.Key(t), []byte("12345678"), 16<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	full := &backLimited{left: 9 << 20}
	part, err := p.WritePart(t.Context(), 0, full)
	var we *WriteError
	if !errors.As(err, &we) || !errors.Is(err, syscall.ENOSPC) || part.Size != 9<<20 {
		t.Fatalf("full tape: %v, %d bytes", err, part.Size)
	}
	var parts [2]bytes.Buffer
	for n := range parts {
		if _, err := p.WritePart(t.Context(), n, &parts[n]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.HasPrefix(parts[0].Bytes(), full.Bytes()) {
		t.Error("the second attempt differs from the first")
	}
	sum := sha256.Sum256(content)
	if m := p.Packed(1).Members; !bytes.Equal(m[1].SHA256, sum[:]) || m[1].Void {
		t.Errorf("sum %x void %v", m[1].SHA256, m[1].Void)
	}

	// Part 1 again, from changed bytes: refused before the extent that differs goes out.
	f, err := os.OpenFile(filepath.Join(root, "f"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("changed"), 25<<20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	var again bytes.Buffer
	if _, err := p.WritePart(t.Context(), 1, &again); !errors.Is(err, ErrReseal) && !errors.Is(err, ErrUnreadable) {
		t.Fatalf("changed bytes: %v", err)
	}
	if !bytes.HasPrefix(parts[1].Bytes(), again.Bytes()) || again.Len() > 8<<20 {
		t.Errorf("%d bytes came out, or other ones than before", again.Len())
	}
}

// Nothing is packed in place of a local file whose bytes are not to be had.
func TestLackingFileIsNotPacked(t *testing.T) {
	for what, open := range map[string]Opener{
		"gone":      func(string) (*os.File, error) { return nil, os.ErrNotExist },
		"dead":      func(string) (*os.File, error) { return nil, syscall.ENOTCONN },
		"cut short": func(p string) (*os.File, error) { f, err := os.Open(p); os.Truncate(p, 1000); return f, err },
	} {
		root := t.TempDir()
		for _, n := range []string{"a", "b"} {
			if err := os.WriteFile(filepath.Join(root, n), packtest.Random(n[0], 6<<20), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		l, err := NewLayout("src", members(t, root))
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(l, func(p string) (*os.File, error) {
			if p == "a" {
				return os.Open(filepath.Join(root, p))
			}
			return open(filepath.Join(root, p))
		}, false, packtest.Key(t), []byte("12345678"), 1<<30, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		_, err = p.WritePart(t.Context(), 0, io.Discard)
		var bad *FileError
		if !errors.As(err, &bad) || bad.Path != "b" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A local file that changes while it is read keeps the header's size and is void.
func TestChangedFileIsVoid(t *testing.T) {
	root := t.TempDir()
	sizes := map[string]int{"a": 6 << 20, "b": 80 << 20, "c": 6 << 20, "d": 6 << 20} // more of b than is on its way at a time
	for _, n := range []string{"a", "b", "c", "d"} {
		if err := os.WriteFile(filepath.Join(root, n), packtest.Random(n[0], sizes[n]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	members := members(t, root)
	l, err := NewLayout("src", members)
	if err != nil {
		t.Fatal(err)
	}
	open := func(p string) (*os.File, error) {
		full := filepath.Join(root, p)
		f, err := os.Open(full)
		switch p {
		case "d": // grows
			if g, e := os.OpenFile(full, os.O_APPEND|os.O_WRONLY, 0); e == nil {
				g.Write([]byte("more"))
				g.Close()
			}
		}
		return f, err
	}
	k := packtest.Key(t)
	p, err := New(l, open, false, k, []byte("12345678"), 1<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	sealed := filepath.Join(t.TempDir(), "o.tar.enc")
	f, err := os.Create(sealed)
	if err != nil {
		t.Fatal(err)
	}
	extents := 0
	_, err = p.WritePart(t.Context(), 0, writerFunc(func(b []byte) (int, error) {
		if extents++; extents == 3 { // b was begun, and cannot have been read to its end
			os.Chtimes(filepath.Join(root, "b"), time.Time{}, time.Unix(12345, 0))
		}
		return f.Write(b)
	}))
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	void := map[string]bool{}
	for _, m := range p.Packed(1).Members {
		for _, lm := range members {
			if lm.ID == m.Version {
				void[lm.Path] = m.Void
				if m.Void && m.SHA256 != nil {
					t.Errorf("%s is void with a sum", lm.Path)
				}
			}
		}
	}
	// What grows is archived as it was when it was listed.
	if void["a"] || !void["b"] || void["c"] || void["d"] || !slices.Equal(p.Grown(), []string{"d"}) {
		t.Errorf("void: %v (%v)", void, p.Voided())
	}
	dir := t.TempDir()
	packtest.Untar(t, k, dir, sealed)
	for _, n := range []string{"a", "b", "c", "d"} {
		info, err := os.Stat(filepath.Join(dir, "src", n))
		if err != nil || info.Size() != int64(sizes[n]) {
			t.Errorf("%s: %v", n, err)
		}
	}
	// From the spool the same is an error.
	p, err = New(l, open, true, k, []byte("12345679"), 1<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.WritePart(t.Context(), 0, io.Discard); !errors.Is(err, ErrUnreadable) {
		t.Errorf("damaged spool: %v", err)
	}
}

// Parents that are no members get an entry before what they hold, and names that would leave the
// folder are refused.
func TestLayoutParents(t *testing.T) {
	asked := 0
	members, err := WithParents([]Member{
		{Path: "a/b/f", Version: catalog.Version{ID: 7, Kind: catalog.File}},
		{Path: "a/b/g", Version: catalog.Version{ID: 8, Kind: catalog.File}},
		{Path: "a", Version: catalog.Version{ID: 5, Kind: catalog.Directory}},
	}, func(p string) (catalog.Version, error) {
		asked++
		return catalog.Version{ID: 6, Mode: 0o755}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLayout("s", members)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range l.Entries {
		got = append(got, fmt.Sprintf("%d:%s", e.Version, e.Path))
	}
	if strings.Join(got, " ") != "0: 5:a 0:a/b 7:a/b/f 8:a/b/g" || asked != 2 {
		t.Errorf("%q, asked %d times", got, asked)
	}
	for _, bad := range []string{"../x", "a/../b", "/x", "a//b", "a/", "./x", "nul\x00"} {
		if _, err := NewLayout("s", []Member{{Path: bad, Version: catalog.Version{ID: 9, Kind: catalog.File}}}); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

// An interrupted packing stops and says so.
func TestPackingStops(t *testing.T) {
	root := backTree(t)
	l, err := NewLayout("src", members(t, root))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(l, packtest.Opener(root), true, packtest.Key(t), []byte("12345678"), 1<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.WritePart(ctx, 0, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
