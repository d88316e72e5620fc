package beneath

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// No symlink is followed below the top, with openat2 and without, and nothing but regular files is opened.
func TestOpen(t *testing.T) {
	outer := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	top := filepath.Join(outer, "top")
	must(os.MkdirAll(filepath.Join(top, "a/b"), 0o755))
	must(os.WriteFile(filepath.Join(top, "a/b/file"), []byte("mine"), 0o600))
	must(os.WriteFile(filepath.Join(top, "file"), []byte("top"), 0o600))
	must(os.WriteFile(filepath.Join(outer, "secret"), []byte("secret"), 0o600))
	must(os.Symlink("file", filepath.Join(top, "link")))
	must(os.Symlink("../secret", filepath.Join(top, "out")))
	must(os.Symlink("a", filepath.Join(top, "dir")))
	must(os.Symlink(outer, filepath.Join(top, "a/abs")))
	must(unix.Mkfifo(filepath.Join(top, "fifo"), 0o600))
	must(os.Symlink("top", filepath.Join(outer, "way")))
	long := strings.Repeat("d/", 100)
	must(os.MkdirAll(filepath.Join(top, long), 0o755))
	must(os.WriteFile(filepath.Join(top, long+"deep"), []byte("deep"), 0o600))
	t.Cleanup(func() { walks.Store(false) })
	for _, walking := range []bool{false, true} {
		walks.Store(walking)
		for path, want := range map[string]string{"file": "top", "a/b/file": "mine", long + "deep": "deep"} {
			for _, dir := range []string{top, filepath.Join(outer, "way")} {
				f, err := Open(dir, path)
				if err != nil {
					t.Errorf("walking %v: %v", walking, err)
					continue
				}
				if got, err := io.ReadAll(f); err != nil || string(got) != want {
					t.Errorf("walking %v: %s holds %q: %v", walking, path, got, err)
				}
				must(f.Close())
			}
		}
		for path, want := range map[string][]error{
			"link": {unix.ELOOP}, "out": {unix.ELOOP}, "dir/b/file": {unix.ELOOP, unix.ENOTDIR}, "a/abs/secret": {unix.ELOOP, unix.ENOTDIR},
			"fifo": {ErrNotRegular}, "a/b": {ErrNotRegular}, "none": {os.ErrNotExist}, "file/x": {unix.ENOTDIR},
			"../secret": {unix.EINVAL}, "a/../file": {unix.EINVAL}, "/file": {unix.EINVAL}, "": {unix.EINVAL}, ".": {unix.EINVAL}, "a//b/file": {unix.EINVAL},
		} {
			f, err := Open(top, path)
			if f != nil {
				f.Close()
			}
			said := false
			for _, w := range want {
				said = said || errors.Is(err, w)
			}
			if !said {
				t.Errorf("walking %v: %q: %v, want one of %v", walking, path, err, want)
			}
		}
	}
}

// Nobody who exchanges a directory for a symlink at the right moment gets another file opened.
func TestOpenRace(t *testing.T) {
	outer := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	top := filepath.Join(outer, "top")
	for dir, text := range map[string]string{"top/real": "mine", "private": "secret"} {
		must(os.MkdirAll(filepath.Join(outer, dir), 0o755))
		must(os.WriteFile(filepath.Join(outer, dir, "file"), []byte(text), 0o600))
	}
	must(os.Symlink("../private", filepath.Join(top, "trap")))
	done, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(top, "real"), unix.AT_FDCWD, filepath.Join(top, "trap"), unix.RENAME_EXCHANGE)
			}
		}
	}()
	t.Cleanup(func() { walks.Store(false) })
	for i := range 4000 {
		walks.Store(i%2 == 0)
		f, err := Open(top, "real/file")
		if err != nil {
			continue
		}
		got, err := io.ReadAll(f)
		if f.Close(); err != nil || string(got) != "mine" {
			t.Fatalf("round %d: %q: %v", i, got, err)
		}
	}
	close(done)
	<-ended
}
