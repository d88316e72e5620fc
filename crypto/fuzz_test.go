package crypto

import (
	"bytes"
	"io"
	"testing"
)

// Whatever is accepted as a key is the text it prints, and fits its file.
func FuzzParseKey(f *testing.F) {
	f.Add([]byte(testKey))
	f.Add([]byte(testKey[:64]))
	f.Add([]byte(testKey[:64] + "\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParseKey(text)
		if (k == nil) != (err != nil) {
			t.Fatalf("%v, %v", k, err)
		}
		if k != nil && (k.Text()+"\n" != string(text) || len(k.Fingerprint()) != 16) {
			t.Fatal("accepted, but changed")
		}
	})
}

// Any bytes give the same answer as a stream and by random access, without a panic.
func FuzzForeign(f *testing.F) {
	for _, n := range []int{0, 15, 16, 17, 31, 32, 33, 48, 100} {
		f.Add(append([]byte(magic), seeded(uint64(n), n)...), true, int16(n/2))
		f.Add(append([]byte(magic), seeded(uint64(n), n)...), false, int16(n/2))
	}
	f.Fuzz(func(t *testing.T, sealed []byte, cbc bool, at int16) {
		foreign := Foreign{Passphrase: []byte("p"), Cipher: CTR, Iterations: 1}
		if cbc {
			foreign.Cipher = CBC
		}
		var plain []byte
		r, err := foreign.NewReader(bytes.NewReader(sealed))
		if err == nil {
			plain, err = io.ReadAll(r)
		}
		ra, errAt := foreign.NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)))
		if (err == nil) != (errAt == nil) {
			t.Fatalf("stream: %v; random access: %v", err, errAt)
		}
		if err != nil {
			return
		}
		if ra.Size() != int64(len(plain)) {
			t.Fatalf("size %d, stream %d", ra.Size(), len(plain))
		}
		p := make([]byte, 40)
		n, _ := ra.ReadAt(p, int64(at))
		if at >= 0 && int(at) < len(plain) && !bytes.Equal(p[:n], plain[at:min(len(plain), int(at)+40)]) {
			t.Fatal("random access reads other bytes")
		}
	})
}
