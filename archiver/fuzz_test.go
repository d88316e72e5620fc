package archiver

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"tapefs/archiver/volume"
	"tapefs/catalog"
	"tapefs/crypto"
)

// FuzzReadManifest: whoever has the key may have written what he liked into a manifest, and a medium may return anything: it is read
// or refused. The bytes are what the sealed ones open to, under a MAC that holds.
func FuzzReadManifest(f *testing.F) {
	key, err := crypto.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	proof := macText{Catalog: "cccccccc-0000-0000-0000-000000000000", Volume: volumeA, Seq: 1, Previous: make([]byte, 32)}
	head := fmt.Sprintf(`{"type":"manifest","format":%d,"catalog":%q,"volume":%q,"seq":1,"previous":%q}`+"\n",
		volume.TapeFormat, proof.Catalog, proof.Volume, hex.EncodeToString(proof.Previous))
	members := func(h tar.Header, text string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		h.Mode, h.Size = 0o600, int64(len(text))
		must(f, w.WriteHeader(&h))
		_, err := io.WriteString(w, text)
		must(f, errors.Join(err, w.Close()))
		return b.Bytes()
	}
	for _, raw := range frozenRecords(f) {
		f.Add(members(tar.Header{Name: manifestRecords}, head+string(raw)+"\n"))
	}
	f.Add(members(tar.Header{Name: manifestRecords}, head+`{"type":"of a later version"}`))
	f.Add(members(tar.Header{Name: "something else"}, head))
	f.Add(members(tar.Header{Name: manifestRecords, PAXRecords: map[string]string{"GNU.sparse.realsize": "9223372036854775807", "GNU.sparse.map": "0,1", "GNU.sparse.numblocks": "1"}}, head))
	f.Add([]byte{})
	stream, err := key.Stream([]byte("01234567"))
	must(f, err)
	name := manifestName("", volumeA, 1)
	f.Fuzz(func(t *testing.T, plain []byte) {
		sealed := append(stream.Header(), make([]byte, len(plain))...)
		stream.At(0).XORKeyStream(sealed[len(sealed)-len(plain):], plain)
		mac := proof
		h := key.ManifestMAC(mac.header())
		h.Write(sealed)
		mac.MAC = h.Sum(nil)
		records := 0
		head, err := readManifest(name, bytes.NewReader(sealed), mac.text(), key, func(any) error { records++; return nil })
		if err == nil && (head.Catalog != proof.Catalog || head.Volume != proof.Volume || head.Seq != 1 || head.Format != volume.TapeFormat) {
			t.Fatalf("%+v with %d records is taken for a manifest of another tape", head, records)
		}
	})
}

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

// FuzzComplaints: the messages of a server's rsync name files of that source or none, and are never longer than what was said.
func FuzzComplaints(f *testing.F) {
	for _, line := range []string{
		`rsync: [sender] send_files failed to open "/src/x": Permission denied (13)`,
		`rsync: [sender] opendir "/src/d" failed: Permission denied (13)`,
		`file has vanished: "/src/x" (in module)`,
		`file has vanished: "/src/\#012\#377" (in module)`,
		`rsync: "x" "y`, `"`, `"" `, `rsync error: some files could not be transferred`,
	} {
		f.Add(line, "host:/src")
		f.Add(line, "rsync://host/module/src")
		f.Add(line, "/src")
		f.Add(line, "host:relative")
	}
	f.Fuzz(func(t *testing.T, line, url string) {
		at, err := parseURL(url)
		if err != nil {
			return
		}
		for _, c := range complaints(at, []string{line}) {
			if len(c.path)+len(c.text) > len(line) {
				t.Fatalf("%q of %q is %q and %q", line, url, c.path, c.text)
			}
		}
		for _, text := range []string{at.listed(), at.machine(), at.daemon()} {
			if strings.ContainsRune(text, 0) {
				t.Fatalf("%q is %q", url, text)
			}
		}
		if operand, _ := at.fetched(); strings.HasPrefix(operand, "-") {
			t.Fatalf("%q is an option: %q", url, operand)
		}
	})
}
