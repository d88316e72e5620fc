package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const vectorDir = "../testdata/crypto"

var remake = flag.Bool("remake-vectors", false, "let the openssl program write testdata/crypto anew")

// TestFrozenVectors opens what the openssl program wrote once, and seals the same plain bytes into
// the very same sealed ones. Vectors are never remade: they stand for tapes that exist.
//
// A line of vectors.txt is: cipher, iterations, password file, size and seed of the plain bytes,
// SHA-256 of them, and the sealed bytes: in hex, or for large ones the header in hex, "..." and the
// SHA-256 of all.
func TestFrozenVectors(t *testing.T) {
	if *remake {
		makeVectors(t)
	}
	text, err := os.ReadFile(filepath.Join(vectorDir, "vectors.txt"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var v vector
		if _, err := fmt.Sscan(line, &v.cipher, &v.iterations, &v.pass, &v.size, &v.seed, &v.plainSum, &v.sealed); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		seen++
		t.Run(fmt.Sprintf("%s/%s/%d", v.cipher, v.pass, v.size), v.check)
	}
	if seen < 20 {
		t.Errorf("only %d vectors", seen)
	}
}

type vector struct {
	cipher     string
	iterations int
	pass       string
	size       int
	seed       uint64
	plainSum   string
	sealed     string
}

func (v vector) check(t *testing.T) {
	plain := seeded(v.seed, v.size)
	if sum := sha256.Sum256(plain); hex.EncodeToString(sum[:]) != v.plainSum {
		t.Fatal("the seed gives other plain bytes")
	}
	password, err := os.ReadFile(filepath.Join(vectorDir, v.pass))
	if err != nil {
		t.Fatal(err)
	}
	head, sum, large := strings.Cut(v.sealed, "...")
	sealed, err := hex.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	if v.pass == "frozen.key" {
		k := parse(t, string(password))
		got := seal(t, k, sealed[len(magic):HeaderSize], plain)
		gotSum := sha256.Sum256(got)
		if large && hex.EncodeToString(gotSum[:]) != sum || !large && !bytes.Equal(got, sealed) {
			t.Fatal("sealed bytes differ from the program's")
		}
	}
	if large {
		return
	}
	line, _, _ := bytes.Cut(password, []byte("\n"))
	f := Foreign{Passphrase: line, Cipher: v.cipher, Iterations: v.iterations}
	r, err := f.NewReader(bytes.NewReader(sealed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("opened other bytes, %v", err)
	}
}

func makeVectors(t *testing.T) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Written once by %s: cipher iterations password-file size seed sha256(plain) sealed\n",
		bytes.TrimSpace(openssl(t, nil, "version")))
	for _, c := range []struct {
		cipher, pass string
		iterations   int
	}{{CTR, "frozen.key", DefaultIterations}, {CTR, "passphrase", 10000}, {CBC, "passphrase", 10000}, {CBC, "passphrase", 123456}} {
		for i, n := range sizes {
			if n > 100 && c.pass != "frozen.key" {
				continue
			}
			plain := seeded(uint64(i), n)
			plainSum := sha256.Sum256(plain)
			sealed := openssl(t, plain, enc("-e", c.cipher, filepath.Join(vectorDir, c.pass), c.iterations)...)
			shown := hex.EncodeToString(sealed)
			if n > 100 {
				sum := sha256.Sum256(sealed)
				shown = hex.EncodeToString(sealed[:HeaderSize]) + "..." + hex.EncodeToString(sum[:])
			}
			fmt.Fprintf(&out, "%s %d %s %d %d %x %s\n", c.cipher, c.iterations, c.pass, n, i, plainSum, shown)
		}
	}
	if err := os.WriteFile(filepath.Join(vectorDir, "vectors.txt"), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
