package removal

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

const aside = ".tapefs-going"

// scene is a source with one file, as it was archived.
type scene struct {
	t    *testing.T
	dir  string
	want Wanted
}

func newScene(t *testing.T, path string) *scene {
	t.Helper()
	s := &scene{t: t, dir: t.TempDir()}
	s.ok(os.MkdirAll(filepath.Dir(s.at(path)), 0o755))
	s.ok(os.WriteFile(s.at(path), []byte("the last copy"), 0o644))
	when := time.Unix(1_600_000_000, 123_456_789)
	s.ok(os.Chtimes(s.at(path), when, when))
	sum := sha256.Sum256([]byte("the last copy"))
	s.want = Wanted{Path: path, Aside: aside, Kind: catalog.File, Size: 13, MTime: catalog.Time{Sec: 1_600_000_000, Nsec: 123_456_789}, SHA256: sum[:]}
	return s
}

func (s *scene) at(path string) string { return filepath.Join(s.dir, path) }

func (s *scene) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// take tries to remove it. It must fail with want, and then everything must be there as before; nil: it is gone.
func (s *scene) take(want error) {
	s.t.Helper()
	p, err := Open(s.dir)
	s.ok(err)
	defer p.Close()
	if err := p.Take(context.Background(), s.want); !errors.Is(err, want) || want == nil && err != nil {
		s.t.Errorf("Take: %v, want %v", err, want)
	}
	_, err = os.Lstat(s.at(s.want.Path))
	if there := err == nil; there != (want != nil && want != ErrGone) {
		s.t.Errorf("%s is there: %v", s.want.Path, there)
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(s.at(s.want.Path)), aside)); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("something lies aside: %v", err)
	}
}

func TestTakeFile(t *testing.T) {
	newScene(t, "file").take(nil)
	newScene(t, "a/b/odd\n\xff").take(nil)
}

func TestTakeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *scene, path string)
		want   error
	}{
		"other bytes of the same size and time": {func(s *scene, p string) {
			s.ok(os.WriteFile(p, []byte("THE LAST COPY"), 0o644))
			when := time.Unix(1_600_000_000, 123_456_789)
			s.ok(os.Chtimes(p, when, when))
		}, ErrChanged},
		"another size": {func(s *scene, p string) {
			s.ok(os.Truncate(p, 14))
			s.ok(os.Chtimes(p, time.Time{}, time.Unix(1_600_000_000, 123_456_789)))
		}, ErrChanged},
		"another time":           {func(s *scene, p string) { s.ok(os.Chtimes(p, time.Time{}, time.Unix(1_600_000_000, 0))) }, ErrChanged},
		"it is gone":             {func(s *scene, p string) { s.ok(os.Remove(p)) }, ErrGone},
		"a symlink to the same":  {func(s *scene, p string) { s.ok(os.Rename(p, p+".real")); s.ok(os.Symlink(p+".real", p)) }, ErrGone},
		"a directory":            {func(s *scene, p string) { s.ok(os.Remove(p)); s.ok(os.Mkdir(p, 0o755)) }, ErrChanged},
		"a fifo":                 {func(s *scene, p string) { s.ok(os.Remove(p)); s.ok(unix.Mkfifo(p, 0o644)) }, ErrChanged},
		"somebody writes to it":  {func(s *scene, p string) { s.open(p, os.O_WRONLY) }, ErrInUse},
		"somebody appends to it": {func(s *scene, p string) { s.open(p, os.O_RDWR|os.O_APPEND) }, ErrInUse},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "dir/file")
			c.change(s, s.at("dir/file"))
			want := c.want
			if name == "a symlink to the same" { // what is there is not the file, and stays
				p, err := Open(s.dir)
				s.ok(err)
				defer p.Close()
				if err := p.Take(context.Background(), s.want); !errors.Is(err, ErrGone) {
					t.Errorf("Take: %v", err)
				}
				if _, err := os.Stat(s.at("dir/file")); err != nil {
					t.Error(err)
				}
				return
			}
			s.take(want)
		})
	}
}

func (s *scene) open(path string, flag int) {
	f, err := os.OpenFile(path, flag, 0)
	s.ok(err)
	s.t.Cleanup(func() { f.Close() })
}

// Readers do not keep a file: what they have open they read to its end.
func TestTakeWhileRead(t *testing.T) {
	s := newScene(t, "file")
	s.open(s.at("file"), os.O_RDONLY)
	s.take(nil)
}

// A directory on the way that became a symlink leads nowhere, also when the very file lies behind it.
func TestTakeFollowsNoDirectory(t *testing.T) {
	s := newScene(t, "dir/file")
	s.ok(os.Rename(s.at("dir"), s.at("other")))
	s.ok(os.Symlink("other", s.at("dir")))
	p, err := Open(s.dir)
	s.ok(err)
	defer p.Close()
	if err := p.Take(context.Background(), s.want); !errors.Is(err, ErrGone) {
		t.Errorf("Take: %v", err)
	}
	if _, err := os.Lstat(s.at("other/file")); err != nil {
		t.Error(err)
	}
}

// Of two names of one file the other one stays, with all its bytes.
func TestTakeHardLink(t *testing.T) {
	s := newScene(t, "file")
	s.ok(os.Link(s.at("file"), s.at("name")))
	s.take(nil)
	if data, err := os.ReadFile(s.at("name")); err != nil || string(data) != "the last copy" {
		t.Errorf("the other name has %q: %v", data, err)
	}
}

func TestTakeSymlink(t *testing.T) {
	for target, want := range map[string]error{"where/to": nil, "elsewhere": ErrChanged} {
		s := newScene(t, "real")
		s.ok(os.Symlink("where/to", s.at("link")))
		var st unix.Stat_t
		s.ok(unix.Lstat(s.at("link"), &st))
		s.want = Wanted{Path: "link", Aside: aside, Kind: catalog.Symlink, MTime: catalog.Time{Sec: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec)}, Target: target}
		s.take(want)
	}
	s := newScene(t, "file")
	s.want.Kind = catalog.Symlink
	s.take(ErrChanged)
}

// What has the name aside is never replaced.
func TestTakeReplacesNothing(t *testing.T) {
	s := newScene(t, "file")
	s.ok(os.WriteFile(s.at(aside), []byte("mine"), 0o600))
	p, err := Open(s.dir)
	s.ok(err)
	defer p.Close()
	if err := p.Take(context.Background(), s.want); !errors.Is(err, unix.EEXIST) {
		t.Errorf("Take: %v", err)
	}
	for name, want := range map[string]string{"file": "the last copy", aside: "mine"} {
		if data, err := os.ReadFile(s.at(name)); err != nil || string(data) != want {
			t.Errorf("%s has %q: %v", name, data, err)
		}
	}
}

// Put under the name while the file was read, another file gets its name back, however it came there.
func TestTakeExchanged(t *testing.T) {
	s := newScene(t, "file")
	s.ok(os.WriteFile(s.at("new"), []byte("mine, and new"), 0o600))
	when := time.Unix(1_600_000_000, 123_456_789)
	s.ok(os.Chtimes(s.at("new"), when, when)) // size and time are the same, too
	exchanging = func() { s.ok(os.Rename(s.at("new"), s.at("file"))) }
	defer func() { exchanging = func() {} }()
	s.take(ErrChanged)
	if data, err := os.ReadFile(s.at("file")); err != nil || string(data) != "mine, and new" {
		t.Errorf("file has %q: %v", data, err)
	}
}

func TestRecover(t *testing.T) {
	p := func(s *scene) *Place {
		p, err := Open(s.dir)
		s.ok(err)
		t.Cleanup(p.Close)
		return p
	}
	s := newScene(t, "dir/file")
	check := func(what string, want Found, wantErr error) {
		t.Helper()
		if got, err := p(s).Recover("dir/file", aside); got != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	check("nothing was done", Kept, nil)
	s.ok(os.Rename(s.at("dir/file"), s.at("dir/"+aside)))
	check("it lay aside", Kept, nil)
	if _, err := os.Lstat(s.at("dir/file")); err != nil {
		t.Error(err)
	}
	s.ok(os.Rename(s.at("dir/file"), s.at("dir/"+aside)))
	s.ok(os.WriteFile(s.at("dir/file"), []byte("new"), 0o600))
	check("its name is taken", Kept, ErrLeftOver)
	if data, err := os.ReadFile(s.at("dir/" + aside)); err != nil || string(data) != "the last copy" {
		t.Errorf("aside lies %q: %v", data, err)
	}
	s.ok(os.RemoveAll(s.at("dir/file")))
	s.ok(os.RemoveAll(s.at("dir/" + aside)))
	check("both are gone", Removed, nil)
	s.ok(os.Remove(s.at("dir")))
	check("so is the directory", Removed, nil)
}

// Whoever opens it for writing after it was read is in time: it stays.
func TestTakeWriterComes(t *testing.T) {
	s := newScene(t, "file")
	exchanging = func() {
		fd, err := unix.Open(s.at("file"), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		if !errors.Is(err, unix.EWOULDBLOCK) { // it waits for the lease; whoever does not ask for that gets the file then
			t.Errorf("open for writing: %v", err)
		}
	}
	defer func() { exchanging = func() {} }()
	s.take(ErrInUse)
}
