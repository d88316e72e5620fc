package verify

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

// FuzzCompareFiles: what an openssl program makes of an object is compared or refused, whatever it is.
func FuzzCompareFiles(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{{Name: "source/a", Size: 1}, {Name: "source/b", Typeflag: tar.TypeLink, Linkname: "source/a"}, {Name: "source/" + strings.Repeat("long", 60), Size: 0}} {
		must(f, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write([]byte("x"))
			must(f, err)
		}
	}
	must(f, w.Close())
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:600])
	f.Fuzz(func(t *testing.T, text []byte) {
		want := map[string]catalog.Version{"source/a": {Kind: catalog.File, Size: 1, State: catalog.Present, SHA256: make([]byte, 32)}}
		if n, err := compareFiles(bytes.NewReader(text), want); err == nil && n > 0 {
			t.Fatalf("%d files have a sum that nothing has", n)
		}
	})
}
