package pack

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"tapefs/catalog"
	"tapefs/crypto"
)

// backRandom is n bytes that are the same in every run.
func backRandom(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func backKey(t *testing.T) *crypto.Key {
	t.Helper()
	k, err := crypto.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// backMembers reads a tree as the front half would have recorded it.
func backMembers(t *testing.T, root string) []Member {
	t.Helper()
	var out []Member
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
		m := Member{Path: rel, Version: catalog.Version{ID: id, Inode: id, Name: info.Name(), Mode: st.Mode & 0o7777,
			Owner: catalog.Owner{UID: st.Uid, GID: st.Gid}, MTime: catalog.Time{Sec: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec)}}}
		switch {
		case info.IsDir():
			m.Kind = catalog.Directory
		case info.Mode()&os.ModeSymlink != 0:
			m.Kind = catalog.Symlink
			m.Target, err = os.Readlink(p)
		default:
			m.Kind, m.Size = catalog.File, info.Size()
			if st.Nlink > 1 {
				if inodes[st.Ino] == 0 {
					inodes[st.Ino] = id
				}
				m.Inode = inodes[st.Ino]
			}
		}
		out = append(out, m)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func backOpener(root string) Opener {
	return func(p string) (*os.File, error) { return os.Open(filepath.Join(root, p)) }
}

// backUntar opens sealed files with the commands that README.txt names.
func backUntar(t *testing.T, k *crypto.Key, dir string, files ...string) {
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
