package cache

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

func TestForeignFilesInTheCacheFolder(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, oid[:2], oid)
	for _, d := range []string{sub, filepath.Join(dir, "zz", "nothing"), filepath.Join(dir, "tmp"), filepath.Join(sub, "000007")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range map[string]string{
		"000001": "good", "1": "x", "-00001": "x", "00000x": "x", "99999999999999": "x", "000002": "",
		"versions": "5 0 4\n6 0\nx\n-1 0 4\n7 -5 4\n8 0 99999999999999999\n",
	} {
		if err := os.WriteFile(filepath.Join(sub, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", "9"), []byte("left over"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir, 1<<20, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.bytes != 4 || !c.Has(oid, 1) {
		t.Errorf("%d bytes found", c.bytes)
	}
	if len(c.spans) != 1 || c.Cached(catalog.ID(5)) != 0 {
		t.Errorf("spans %v", c.spans)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp", "9")); !os.IsNotExist(err) {
		t.Errorf("temporary file is left: %v", err)
	}
}
