package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Few directories stay open, whoever uses one keeps it, and what was replaced is opened anew.
func TestHeldDirs(t *testing.T) {
	top := t.TempDir()
	root, err := os.OpenRoot(top)
	ok(t, err)
	defer root.Close()
	h := newHeldDirs(root)
	defer h.close()
	const n = 3 * maxHeldDirs
	for i := range n {
		ok(t, os.MkdirAll(filepath.Join(top, fmt.Sprintf("dir %d", i), "below"), 0o755))
	}
	first, name, err := h.parent("dir 0/below/file")
	ok(t, err)
	if name != "file" {
		t.Errorf("the name is %q", name)
	}
	for i := range n {
		d, _, err := h.parent(fmt.Sprintf("dir %d/file", i))
		ok(t, err)
		d.release()
	}
	if len(h.held) > maxHeldDirs {
		t.Errorf("%d directories are open", len(h.held))
	}
	again, _, err := h.parent("dir 0/below/other")
	ok(t, err)
	if again != first {
		t.Error("a directory in use was opened a second time")
	}

	ok(t, os.RemoveAll(filepath.Join(top, "dir 0")))
	ok(t, os.MkdirAll(filepath.Join(top, "dir 0", "below"), 0o755))
	h.forget("dir 0")
	fresh, _, err := h.parent("dir 0/below/file")
	ok(t, err)
	f, err := openIn(fresh, "file", os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	ok(t, err)
	ok(t, f.Close())
	if _, err := os.Stat(filepath.Join(top, "dir 0", "below", "file")); err != nil {
		t.Error(err)
	}
	fresh.release()
	again.release()
	if _, err := first.Stat(); err != nil {
		t.Errorf("it was closed under whoever uses it: %v", err)
	}
	first.release()
	if _, err := first.Stat(); err == nil {
		t.Error("a forgotten directory stays open")
	}
}
