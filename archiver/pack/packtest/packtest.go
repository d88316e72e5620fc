// Package packtest is what tests share that pack files, and open what was packed with the programs that a person has.
//
// Only tests import it. It knows no type of package pack, so that the tests within pack may use it.
package packtest

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
)

// Random is n bytes that are the same in every run.
func Random(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// Key is a new key.
func Key(t testing.TB) *crypto.Key {
	t.Helper()
	k, err := crypto.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Tree calls fn for each path of a tree as a listing would have recorded it. The top has the path "".
func Tree(t testing.TB, root string, fn func(path string, v catalog.Version)) {
	t.Helper()
	inodes := map[uint64]catalog.ID{}
	id := catalog.ID(10)
	err := filepath.Walk(root, func(p string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		id++
		st := info.Sys().(*syscall.Stat_t)
		rel, _ := filepath.Rel(root, p)
		if rel == "." {
			rel = ""
		}
		v := catalog.Version{ID: id, Inode: id, Name: info.Name(), Mode: st.Mode & 0o7777,
			Owner: catalog.Owner{UID: st.Uid, GID: st.Gid}, MTime: catalog.Time{Sec: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec)}}
		switch {
		case info.IsDir():
			v.Kind = catalog.Directory
		case info.Mode()&os.ModeSymlink != 0:
			v.Kind = catalog.Symlink
			v.Target, err = os.Readlink(p)
		default:
			v.Kind, v.Size = catalog.File, info.Size()
			if st.Nlink > 1 {
				if inodes[st.Ino] == 0 {
					inodes[st.Ino] = id
				}
				v.Inode = inodes[st.Ino]
			}
		}
		fn(rel, v)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Opener opens files below a directory.
func Opener(root string) func(string) (*os.File, error) {
	return func(p string) (*os.File, error) { return os.Open(filepath.Join(root, p)) }
}

// Untar opens sealed files with the commands that README.txt names.
func Untar(t testing.TB, k *crypto.Key, dir string, files ...string) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := k.Save(key); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `k=$1 d=$2; shift 2; cat "$@" | openssl enc -d -aes-256-ctr -pbkdf2 -iter 10000 -md sha256 -pass "file:$k" | tar -xp -i --warning=no-timestamp --delay-directory-restore -C "$d"`,
		"sh", key, dir)
	cmd.Args = append(cmd.Args, files...)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("open %v: %v\n%s", files, err, out)
	}
}
