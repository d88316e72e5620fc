package cache

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

// FuzzCacheNotes: what lies in the cache's folder under the names of its notes counts or is passed over, and nothing of it costs more
// than it says.
func FuzzCacheNotes(f *testing.F) {
	f.Add([]byte("1 0 4194304\n"), []byte("1 0 4194304\n"))
	f.Add([]byte("1 0 9223372036854775807\n-1 5 5\n"), []byte("2 70368744177664 1\n"))
	f.Add([]byte("1 2\nx\n\x00\n1 4194303 2\n"), []byte("18446744073709551616 1 1\n"))
	dir := f.TempDir()
	oid := fmt.Sprintf("%032x", 7)
	object := filepath.Join(dir, oid[:2], oid)
	if err := os.MkdirAll(object, 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, versions, pinned []byte) {
		for name, text := range map[string][]byte{"versions": versions, "pinned": pinned, "000000": []byte("an extent")} {
			if err := os.WriteFile(filepath.Join(object, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Open(dir, 1<<30, 0, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for id := range catalog.ID(4) {
			if use := c.Of(id); use.Cached < 0 || use.Cached > es {
				t.Fatalf("%d bytes of version %d are cached, of one extent", use.Cached, id)
			}
		}
	})
}
