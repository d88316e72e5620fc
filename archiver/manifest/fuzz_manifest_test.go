package manifest

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/crypto"
)

// FuzzReadManifest: whoever has the key may have written what he liked into a manifest, and a medium may return anything: it is read
// or refused. The bytes are what the sealed ones open to, under a MAC that holds.
func FuzzReadManifest(f *testing.F) {
	key, err := crypto.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	proof := Proof{Catalog: "cccccccc-0000-0000-0000-000000000000", Volume: volumeA, Seq: 1, Previous: make([]byte, 32)}
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
		f.Add(members(tar.Header{Name: recordsMember}, head+string(raw)+"\n"))
	}
	f.Add(members(tar.Header{Name: recordsMember}, head+`{"type":"of a later version"}`))
	f.Add(members(tar.Header{Name: "something else"}, head))
	f.Add(members(tar.Header{Name: recordsMember, PAXRecords: map[string]string{"GNU.sparse.realsize": "9223372036854775807", "GNU.sparse.map": "0,1", "GNU.sparse.numblocks": "1"}}, head))
	f.Add([]byte{})
	stream, err := key.Stream([]byte("01234567"))
	must(f, err)
	name := Name("", volumeA, 1)
	f.Fuzz(func(t *testing.T, plain []byte) {
		sealed := append(stream.Header(), make([]byte, len(plain))...)
		stream.At(0).XORKeyStream(sealed[len(sealed)-len(plain):], plain)
		mac := proof
		h := key.ManifestMAC(mac.Header())
		h.Write(sealed)
		mac.MAC = h.Sum(nil)
		records := 0
		head, err := Read(name, bytes.NewReader(sealed), mac.text(), key, func(any) error { records++; return nil })
		if err == nil && (head.Catalog != proof.Catalog || head.Volume != proof.Volume || head.Seq != 1 || head.Format != volume.TapeFormat) {
			t.Fatalf("%+v with %d records is taken for a manifest of another tape", head, records)
		}
	})
}
