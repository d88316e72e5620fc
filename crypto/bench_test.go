package crypto

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkSeal seals 256 MiB and lets the openssl program do the same in the same run;
// the metric "times-openssl" is how much faster ours is.
func BenchmarkSeal(b *testing.B) {
	const size = 256 << 20
	dir := b.TempDir()
	plain := seeded(1, size)
	keyFile, in := filepath.Join(dir, "k"), filepath.Join(dir, "in")
	writeFile(b, keyFile, []byte(testKey))
	writeFile(b, in, plain)
	k := parse(b, testKey)
	var ours, theirs time.Duration
	b.SetBytes(size)
	for b.Loop() {
		begun := time.Now()
		f, err := os.Open(in)
		if err != nil {
			b.Fatal(err)
		}
		s, err := k.Stream([]byte("saltsalt"))
		if err != nil {
			b.Fatal(err)
		}
		w, err := s.NewWriter(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 1<<20)
		if _, err := io.CopyBuffer(w, struct{ io.Reader }{f}, buf); err != nil {
			b.Fatal(err)
		}
		f.Close()
		ours += time.Since(begun)

		b.StopTimer()
		begun = time.Now()
		args := append(enc("-e", CTR, keyFile, DefaultIterations), "-in", in, "-out", "/dev/null")
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			b.Fatalf("openssl: %v: %s", err, out)
		}
		theirs += time.Since(begun)
		b.StartTimer()
	}
	b.ReportMetric(float64(theirs)/float64(ours), "times-openssl")
}

// BenchmarkStreamAt is the cost of opening an object at an offset, its key derived before.
func BenchmarkStreamAt(b *testing.B) {
	k := parse(b, testKey)
	p := make([]byte, 4096)
	for b.Loop() {
		s, err := k.Stream([]byte("saltsalt"))
		if err != nil {
			b.Fatal(err)
		}
		s.At(1<<40+5).XORKeyStream(p, p)
	}
}
