package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"strings"
	"sync"
	"testing"
)

// At any offset the key stream is the one that a read from the start has there.
func TestStreamAt(t *testing.T) {
	k := parse(t, testKey)
	plain := seeded(7, 3*chunk+5)
	salt := seeded(8, SaltSize)
	sealed := seal(t, k, salt, plain)
	s, err := k.Stream(salt)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.Header(), sealed[:HeaderSize]) {
		t.Errorf("header %x", s.Header())
	}
	for _, off := range offsets(len(plain)) {
		if off >= len(plain) {
			continue
		}
		got := make([]byte, len(plain)-off)
		s.At(int64(off)).XORKeyStream(got, sealed[HeaderSize+off:])
		if !bytes.Equal(got, plain[off:]) {
			t.Errorf("offset %d: other bytes", off)
		}
	}
}

// The counter is one 128-bit number: it carries over the middle and wraps at the end, as the
// program's does (compared with openssl's own -K and -iv).
func TestCounterCarry(t *testing.T) {
	key := seeded(3, 32)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, ivHex := range []string{
		"00000000000000000000000000000000",
		"0000000000000000fffffffffffffffe",
		"00000000ffffffffffffffffffffffff",
		"fffffffffffffffffffffffffffffffe",
		"ffffffffffffffffffffffffffffffff",
		"123456789abcdef0ffffffffffffff00",
	} {
		raw, err := hex.DecodeString(ivHex)
		if err != nil {
			t.Fatal(err)
		}
		const n = 5000 // over 256 blocks
		want := openssl(t, make([]byte, n), "enc", "-e", "-"+CTR, "-K", hex.EncodeToString(key), "-iv", ivHex)
		for _, off := range []int{0, 1, 15, 16, 17, 32, 33, 4079, 4080, 4096, 4097, n - 1} {
			got := make([]byte, n-off)
			ctrAt(block, [16]byte(raw), int64(off)).XORKeyStream(got, got)
			if !bytes.Equal(got, want[off:]) {
				t.Errorf("iv %s offset %d: other key stream", ivHex, off)
			}
		}
		// Far offsets, against arithmetic on big integers.
		for _, off := range []int64{1<<36 - 1, 1 << 36, 1<<40 + 7, 1<<62 + 16, 1<<63 - 1} {
			sum := new(big.Int).Add(new(big.Int).SetBytes(raw), big.NewInt(off/16))
			var counter [17]byte // one more, for the carry that falls off
			sum.FillBytes(counter[:])
			far := make([]byte, 64)
			cipher.NewCTR(block, counter[1:]).XORKeyStream(far, far)
			got := make([]byte, 64-off%16)
			ctrAt(block, [16]byte(raw), off).XORKeyStream(got, got)
			if !bytes.Equal(got, far[off%16:]) {
				t.Errorf("iv %s offset %d: other key stream", ivHex, off)
			}
		}
	}
}

// Streams are kept, but no more than a fixed number, and asking from many goroutines is safe.
func TestStreamsAreKept(t *testing.T) {
	k := parse(t, testKey)
	cache := k.open()
	for i := range byte(200) {
		cache.keep(&Stream{salt: [SaltSize]byte{i, 1}})
	}
	first := cache.kept([SaltSize]byte{0, 1})
	for i := range streamsKept - 1 {
		cache.keep(&Stream{salt: [SaltSize]byte{byte(i), byte(i >> 8), 2}})
	}
	if cache.recent.Len() != streamsKept || len(cache.streams) != streamsKept {
		t.Errorf("%d streams in the list and %d in the map, want %d", cache.recent.Len(), len(cache.streams), streamsKept)
	}
	if cache.kept([SaltSize]byte{0, 1}) != first || cache.kept([SaltSize]byte{1, 1}) != nil {
		t.Error("the stream used last is gone or an older one stayed")
	}

	var wg sync.WaitGroup
	got := make([]*Stream, 8)
	for i := range got {
		wg.Go(func() { got[i], _ = k.Stream([]byte("saltsalt")) })
	}
	wg.Wait()
	for _, s := range got {
		if s == nil || s != got[0] {
			t.Fatal("one salt, several streams")
		}
	}
	for _, n := range []int{0, 7, 9} {
		if _, err := k.Stream(make([]byte, n)); err == nil {
			t.Errorf("salt of %d bytes accepted", n)
		}
	}
}

// failing takes some bytes, then errs.
type failing struct{ left int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		n := f.left
		f.left = 0
		return n, errFull
	}
	f.left -= len(p)
	return len(p), nil
}

// Once a write failed the writer takes nothing more: its key stream has moved on.
func TestWriterStopsAtAnError(t *testing.T) {
	k := parse(t, testKey)
	s, err := k.Stream([]byte("saltsalt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewWriter(&failing{left: 8}); !errors.Is(err, errFull) {
		t.Errorf("header: %v", err)
	}
	f := &failing{left: HeaderSize + chunk + 10}
	w, err := s.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	plain := seeded(1, 2*chunk)
	if n, err := w.Write(plain); n != chunk+10 || !errors.Is(err, errFull) {
		t.Errorf("wrote %d, %v", n, err)
	}
	f.left = 1 << 20
	if n, err := w.Write(plain); n != 0 || !errors.Is(err, errFull) {
		t.Errorf("wrote %d after an error, %v", n, err)
	}
	if !bytes.Equal(plain, seeded(1, 2*chunk)) {
		t.Error("the writer changed the caller's bytes")
	}
	if _, err := k.NewReader(strings.NewReader("Salted__1234567")); !errors.Is(err, ErrNotSealed) {
		t.Errorf("short header: %v", err)
	}
	if _, err := k.NewReader(io.LimitReader(nil, 0)); !errors.Is(err, ErrNotSealed) {
		t.Errorf("empty: %v", err)
	}
}
