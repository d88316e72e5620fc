package archiver

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/spool"
	"github.com/tapefs/tapefs/changer/virtual"
)

// What a died run leaves in the spool goes; what waits there for a tape stays, whatever its source is called.
func TestCleanSpool(t *testing.T) {
	w := newBackWorld(t, virtual.Options{Slots: 4, TapeSize: 64 << 20})
	spoolDir := w.a.env.Config.SpoolDir
	const oid = "01a207f1fea881fe02a40b6f020ae7c9"
	stays := []string{"heal-" + oid, "manifest-" + oid, "manifest-" + oid + spool.FetchSuffix, "other-" + oid, "snapshot-" + oid}
	goes := []string{".list-heal-4294967295", "heal-4294967295", "manifest-1459223519", "snapshot-7", "src-" + oid, "src-" + oid + spool.FetchSuffix}
	for _, name := range slices.Concat(stays, goes) {
		w.must(os.MkdirAll(filepath.Join(spoolDir, name), 0o700))
		w.must(os.WriteFile(filepath.Join(spoolDir, name, "file"), []byte("x"), 0o600))
	}
	inUse, done, err := localfs.WorkDir(w.a.env.Config.SpoolDir, Source{Name: "src"}.Name)
	w.must(err)
	w.must(w.a.spool.Clean(t.Context(), map[string]bool{"src": true}))
	if _, err := os.Stat(inUse); err != nil {
		t.Errorf("the place where another run sorts: %v", err)
	}
	done(&err)
	w.must(err)
	var left []string
	entries, err := os.ReadDir(spoolDir)
	w.must(err)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if !slices.Equal(left, stays) {
		t.Errorf("left are %q, want %q", left, stays)
	}
}
