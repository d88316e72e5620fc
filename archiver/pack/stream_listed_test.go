package pack

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/beneath"
)

// A file that is read in place counts only while it is the inode that was listed, of the same owner; one in the spool is root's.
func TestStreamOfExchangedFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "file"), &st); err != nil {
		t.Fatal(err)
	}
	v := catalog.Version{ID: 5, Inode: 5, Data: 5, Name: "file", Kind: catalog.File, Size: 5, State: catalog.Present, Ino: st.Ino,
		MTime: catalog.Time{Sec: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec)}, Owner: catalog.Owner{UID: st.Uid, GID: st.Gid}}
	for _, tc := range []struct {
		what    string
		change  func(*catalog.Version)
		inPlace bool
		void    bool
	}{
		{"as listed", func(*catalog.Version) {}, true, false},
		{"an inode that nobody knows", func(v *catalog.Version) { v.Ino = 0 }, true, false},
		{"another inode", func(v *catalog.Version) { v.Ino++ }, true, true},
		{"another owner", func(v *catalog.Version) { v.Owner.UID++ }, true, true},
		{"another group", func(v *catalog.Version) { v.Owner.GID++ }, true, true},
		{"another owner in the spool", func(v *catalog.Version) { v.Owner.UID++ }, false, false},
	} {
		one := v
		tc.change(&one)
		l, err := NewLayout("src", []Member{{Version: one, Path: "file"}})
		if err != nil {
			t.Fatal(err)
		}
		s := newPlainStream(l, func(p string) (*os.File, error) { return beneath.Open(dir, p) })
		s.place = tc.inPlace
		buf := make([]byte, l.Size)
		s.read(buf, nil)
		s.closeFile()
		if (len(s.void) > 0) != tc.void || tc.void && !errors.Is(s.void[0], ErrNotAsPlanned) {
			t.Errorf("%s: void %v", tc.what, s.void)
		}
	}
}
