package cache

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/tapefs/tapefs/crypto"
	"golang.org/x/sys/unix"
)

// BenchmarkCachedRead reads a cached object from beginning to end in requests of the kernel's size, in turns as it is served and as it
// would be without the marks, and reports how much more processor time the first takes ("dearer-%"). The goal is 15 at most; what the
// kernel does with the bytes is not in it.
func BenchmarkCachedRead(b *testing.B) {
	const extents, request = 16, 1 << 20
	c, err := Open(b.TempDir(), 1<<30, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	data := make([]byte, es)
	rand.NewChaCha8([32]byte{}).Read(data)
	sum := sha256.Sum256(data)
	for n := range int64(extents) {
		c.Put(oid, n, data)
	}
	key, err := crypto.NewKey()
	if err != nil {
		b.Fatal(err)
	}
	stream, err := key.Stream(make([]byte, 8))
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, request)
	pass := func(read func(n int64, p []byte, in int64) error) time.Duration {
		began := processorTime(b)
		for at := int64(0); at < extents*es; at += request {
			// A file begins 16 bytes into its object, so that requests never fit blocks or extents.
			n, in, rest := at/es, at%es+16, p
			if in+request > es {
				rest = p[:es-in]
			}
			if err := read(n, rest, in); err != nil {
				b.Fatal(err)
			}
			stream.At(at).XORKeyStream(rest, rest)
		}
		return processorTime(b) - began
	}
	var verified, unverified time.Duration
	b.SetBytes(2 * extents * es)
	for b.Loop() {
		verified += pass(func(n int64, p []byte, in int64) error {
			if ok, err := c.Read(b.Context(), oid, n, es, sum, p, in); !ok {
				return fmt.Errorf("not served: %w", err)
			}
			return nil
		})
		unverified += pass(func(n int64, p []byte, in int64) error { return readUnverified(c.file(oid, n), p, in) })
	}
	b.ReportMetric(100*float64(verified-unverified)/float64(unverified), "dearer-%")
}

// BenchmarkCachedPage reads pages of a cached object here and there.
func BenchmarkCachedPage(b *testing.B) {
	const extents = 16
	c, err := Open(b.TempDir(), 1<<30, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	data := make([]byte, es)
	rand.NewChaCha8([32]byte{}).Read(data)
	sum := sha256.Sum256(data)
	for n := range int64(extents) {
		c.Put(oid, n, data)
	}
	r := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, pageSize)
	for b.Loop() {
		n, in := r.Int64N(extents), r.Int64N(es/pageSize-1)*pageSize+16
		if ok, err := c.Read(b.Context(), oid, n, es, sum, p, in); !ok {
			b.Fatal(err)
		}
	}
}

// processorTime is what this process used so far.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func readUnverified(name string, p []byte, off int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return ReadAll(f, p, off)
}
