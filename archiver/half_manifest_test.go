package archiver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer/virtual"
)

// What a kill leaves of a manifest is half as long as its .mac file is not there, also when there is nothing of it yet: that is
// no sign that somebody altered it.
func TestHalfManifest(t *testing.T) {
	w := newBackWorld(t, virtual.Options{Slots: 2, Drives: 1})
	key, err := w.a.env.Keys.Current()
	ok(t, err)
	dir := t.TempDir()
	tape := catalog.Tape{UUID: "11111111-2222-3333-4444-555555555555"}
	name := filepath.Join("tapefs", key.Fingerprint(), "manifest-"+tape.UUID+"-000010.tar.enc")
	ok(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
	root, err := os.OpenRoot(dir)
	ok(t, err)
	defer root.Close()
	for _, text := range []string{"", "Salted__", "Salted__12345678", "Salted__12345678 and what follows"} {
		ok(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		p, err := manifest.Prove(t.Context(), w.a.env, root, tape, name)
		if !errors.Is(err, manifest.ErrHalf) || (p.Salt != nil) != (len(text) >= 16) {
			t.Errorf("of %d bytes: salt %x, %v", len(text), p.Salt, err)
		}
	}
}
