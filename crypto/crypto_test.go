package crypto

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// testKey is the key of the frozen vectors.
const testKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

func parse(t testing.TB, text string) *Key {
	t.Helper()
	k, err := ParseKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// seeded returns n bytes that depend on seed only.
func seeded(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// openssl runs the program with input on stdin.
func openssl(t testing.TB, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// enc is the command line of FORMAT.md.
func enc(direction, cipher, keyFile string, iterations int) []string {
	return []string{"enc", direction, "-" + cipher, "-pbkdf2", "-iter", strconv.Itoa(iterations), "-md", "sha256", "-pass", "file:" + keyFile}
}

func writeFile(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func seal(t testing.TB, k *Key, salt, plain []byte) []byte {
	t.Helper()
	s, err := k.Stream(salt)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := s.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	for rest := plain; len(rest) > 0; {
		n := min(len(rest), 1+int(rest[0])*4000)
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	return out.Bytes()
}

var sizes = []int{0, 1, 15, 16, 17, 4<<20 - 1, 4 << 20, 4<<20 + 1}

// The program opens what we seal, at the sizes around every boundary and at random ones.
func TestProgramOpensOurs(t *testing.T) {
	keyFile := writeFile(t, filepath.Join(t.TempDir(), "k"), []byte(testKey))
	k := parse(t, testKey)
	all := append([]int{}, sizes...)
	for range 5 {
		all = append(all, rand.IntN(1<<20))
	}
	for i, n := range all {
		plain := seeded(uint64(i), n)
		sealed := seal(t, k, seeded(uint64(100+i), SaltSize), plain)
		if len(sealed) != HeaderSize+n {
			t.Fatalf("%d plain bytes sealed as %d", n, len(sealed))
		}
		if got := openssl(t, sealed, enc("-d", CTR, keyFile, DefaultIterations)...); !bytes.Equal(got, plain) {
			t.Errorf("size %d: openssl reads other bytes", n)
		}
	}
}

// We open what the program seals: with a key, and with passphrases in both modes.
func TestWeOpenPrograms(t *testing.T) {
	dir := t.TempDir()
	keyFile := writeFile(t, filepath.Join(dir, "k"), []byte(testKey))
	passFile := writeFile(t, filepath.Join(dir, "p"), []byte("correct horse 'battery\nsecond line is not used\n"))
	k := parse(t, testKey)
	all := append([]int{}, sizes...)
	for range 5 {
		all = append(all, rand.IntN(1<<20))
	}
	for i, n := range all {
		plain := seeded(uint64(i), n)
		r, err := k.NewReader(bytes.NewReader(openssl(t, plain, enc("-e", CTR, keyFile, DefaultIterations)...)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("key, size %d: other bytes, %v", n, err)
		}
		for _, name := range []string{CTR, CBC} {
			f := Foreign{Passphrase: []byte("correct horse 'battery"), Cipher: name, Iterations: 1000 + i}
			checkForeign(t, f, openssl(t, plain, enc("-e", name, passFile, f.Iterations)...), plain)
		}
	}
}

// checkForeign reads a message as a stream, a stream in odd pieces, and at offsets of every class.
func checkForeign(t *testing.T, f Foreign, sealed, plain []byte) {
	t.Helper()
	for _, src := range []io.Reader{bytes.NewReader(sealed), iotest.HalfReader(bytes.NewReader(sealed)), iotest.DataErrReader(bytes.NewReader(sealed))} {
		r, err := f.NewReader(src)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s stream of %d: other bytes, %v", f.Cipher, len(plain), err)
		}
	}
	ra, err := f.NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)))
	if err != nil {
		t.Fatalf("%s of %d: %v", f.Cipher, len(plain), err)
	}
	if ra.Size() != int64(len(plain)) {
		t.Fatalf("%s size %d, want %d", f.Cipher, ra.Size(), len(plain))
	}
	for _, off := range offsets(len(plain)) {
		for _, n := range []int{0, 1, 15, 16, 17, 33, chunk - 1, chunk, chunk + 17} {
			p := make([]byte, n)
			got, err := ra.ReadAt(p, int64(off))
			want := 0
			if off < len(plain) {
				want = copy(make([]byte, n), plain[off:])
			}
			wantErr := error(nil)
			if want < n || off >= len(plain) {
				wantErr = io.EOF
			}
			if got != want || err != wantErr || want > 0 && !bytes.Equal(p[:got], plain[off:off+got]) {
				t.Fatalf("%s of %d: ReadAt(%d bytes, %d) = %d, %v; want %d, %v", f.Cipher, len(plain), n, off, got, err, want, wantErr)
			}
		}
	}
	if _, err := ra.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
		t.Error("read at a negative offset")
	}
}

// offsets within n bytes: both ends and around block and chunk borders.
func offsets(n int) []int {
	var all []int
	for _, o := range []int{0, 1, 15, 16, 17, 31, 32, chunk - 1, chunk, chunk + 1, n - 17, n - 16, n - 1, n, n + 1} {
		if o >= 0 && o <= n+1 {
			all = append(all, o)
		}
	}
	return all
}

func TestForeignRefuses(t *testing.T) {
	passFile := writeFile(t, filepath.Join(t.TempDir(), "p"), []byte("right\n"))
	plain := seeded(1, 100000)
	sealed := openssl(t, plain, enc("-e", CBC, passFile, 10000)...)
	read := func(f Foreign, sealed []byte) error {
		r, err := f.NewReader(bytes.NewReader(sealed))
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		_, errAt := f.NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)))
		if (err == nil) != (errAt == nil) {
			t.Errorf("stream says %v, random access %v", err, errAt)
		}
		return err
	}
	right := Foreign{Passphrase: []byte("right"), Cipher: CBC}
	if err := read(right, sealed); err != nil {
		t.Errorf("right passphrase: %v", err)
	}
	// One wrong passphrase in 256 makes a believable end; this one does not.
	if err := read(Foreign{Passphrase: []byte("wrong"), Cipher: CBC}, sealed); !errors.Is(err, ErrWrongKey) {
		t.Errorf("wrong passphrase: %v", err)
	}
	for name, cut := range map[string][]byte{"within a block": sealed[:len(sealed)-1], "no block": sealed[:HeaderSize]} {
		if err := read(right, cut); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{"empty": nil, "short": sealed[:15], "other magic": append([]byte("salted__"), sealed[8:]...)} {
		if err := read(right, b); !errors.Is(err, ErrNotSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := read(Foreign{Passphrase: []byte("right"), Cipher: "aes-128-ecb"}, sealed); err == nil {
		t.Error("unknown cipher accepted")
	}
	if err := read(Foreign{Passphrase: []byte("right"), Cipher: CBC, Iterations: -1}, sealed); err == nil {
		t.Error("negative iterations accepted")
	}
}

// A file that lost its end after it was opened gives an error, not zeros.
func TestForeignReaderOfShrunkFile(t *testing.T) {
	passFile := writeFile(t, filepath.Join(t.TempDir(), "p"), []byte("right\n"))
	for _, name := range []string{CTR, CBC} {
		path := writeFile(t, filepath.Join(t.TempDir(), "f"), openssl(t, seeded(1, 1000), enc("-e", name, passFile, 1000)...))
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		r, err := Foreign{Passphrase: []byte("right"), Cipher: name, Iterations: 1000}.NewReaderAt(file, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Truncate(500); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadAt(make([]byte, 1000), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
