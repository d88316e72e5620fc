package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// What Sealed makes is what the openssl program opens, and the other way round. Damage anywhere is
// told apart from a wrong passphrase.
func TestSealedKey(t *testing.T) {
	dir := t.TempDir()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	passphrase := []byte("correct horse, ünd \"so\" $on")
	passFile := filepath.Join(dir, "pass")
	if err := os.WriteFile(passFile, append(passphrase, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl := func(in []byte, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("openssl", append([]string{"enc", "-aes-256-cbc", "-pbkdf2", "-iter", fmt.Sprint(sealedIterations), "-md", "sha256", "-pass", "file:" + passFile}, args...)...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl: %v", err)
		}
		return out
	}
	text, err := k.Sealed(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) != sealedKeySize || !IsSealedKey(text) {
		t.Fatalf("%d bytes", len(text))
	}
	if got := string(openssl(text, "-d")); got != k.Text()+"\n" {
		t.Errorf("openssl opens it to %d bytes", len(got))
	}
	// The other ways round, with fewer iterations: they are slow by design.
	sealedIterations = 1000
	defer func() { sealedIterations = SealedIterations }()
	if text, err = k.Sealed(passphrase); err != nil {
		t.Fatal(err)
	}
	byHand := openssl([]byte(k.Text()+"\n"), "-salt")
	damaged := func(at int) []byte {
		b := bytes.Clone(text)
		b[at] ^= 0x10
		return b
	}
	handDamaged := bytes.Clone(byHand)
	handDamaged[9] ^= 1
	saltText := damaged(10)
	var wg sync.WaitGroup
	for name, c := range map[string]struct {
		text, passphrase []byte
		want             error
		says             string
	}{
		"right":               {text, passphrase, nil, ""},
		"made by openssl":     {byHand, passphrase, nil, ""},
		"wrong passphrase":    {text, []byte("another passphrase"), ErrPassphrase, "wrong passphrase"},
		"first block":         {damaged(20), passphrase, ErrKeyFile, "passphrase is right"},
		"last block":          {damaged(95), passphrase, ErrKeyFile, "passphrase is right"},
		"salt":                {saltText, passphrase, ErrPassphrase, "or the file is damaged"},
		"salt of openssl's":   {handDamaged, passphrase, ErrPassphrase, "or the file is damaged"},
		"cut":                 {text[:90], passphrase, ErrKeyFile, "damaged"},
		"longer":              {append(bytes.Clone(text), 0), passphrase, ErrKeyFile, "damaged"},
		"without its heading": {damaged(0), passphrase, ErrKeyFile, "damaged"},
	} {
		wg.Go(func() {
			got, err := OpenSealedKey(c.text, c.passphrase)
			switch {
			case c.want == nil && (err != nil || got.Fingerprint() != k.Fingerprint()):
				t.Errorf("%s: %v, %v", name, got, err)
			case c.want != nil && (!errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%s: %v", name, err)
			}
			if err != nil && (strings.Contains(err.Error(), string(c.passphrase)) || strings.Contains(err.Error(), k.Text())) {
				t.Errorf("%s: the error tells a secret", name)
			}
		})
	}
	wg.Wait()
	for _, bad := range []string{"", "short", "two\nlines of it", "with a \x00 in it", strings.Repeat("x", 501)} {
		if _, err := k.Sealed([]byte(bad)); err == nil {
			t.Errorf("passphrase %.10q was taken", bad)
		}
	}
}

// A ring asks only when a sealed key is needed, thrice at most, and tries what opened other keys first.
func TestKeyringSealed(t *testing.T) {
	sealedIterations = 1000
	defer func() { sealedIterations = SealedIterations }()
	dir := t.TempDir()
	r, err := LoadKeyring(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 2 {
		k, err := NewKey()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.AddSealed(dir, k, []byte("the passphrase")); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, k.Fingerprint())
	}
	load := func() *Keyring {
		t.Helper()
		r, err := LoadKeyring(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Fingerprints()) != 2 || !r.IsSealed(ids[0]) || r.CurrentID() != ids[1] {
			t.Fatalf("keys %v, current %s", r.Fingerprints(), r.CurrentID())
		}
		return r
	}
	r = load()
	if _, err := r.Key(ids[0]); !errors.Is(err, ErrSealedKey) {
		t.Errorf("nobody to ask: %v", err)
	}
	r = load()
	asked := 0
	r.OnSealed(func(id string, attempt int) ([]byte, error) {
		if asked++; attempt != asked {
			t.Errorf("attempt %d, asked %d times", attempt, asked)
		}
		if attempt == 1 {
			return []byte("a wrong one"), nil
		}
		return []byte("the passphrase"), nil
	})
	for range 2 {
		if k, err := r.Current(); err != nil || k.Fingerprint() != ids[1] {
			t.Errorf("%v, %v", k, err)
		}
	}
	if err := r.OpenAll(); err != nil || asked != 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", r, r, r, r); strings.Contains(text, "the passphrase") {
		t.Error("the ring prints its passphrase")
	}
	// A file named after another key is not believed.
	if err := os.Rename(filepath.Join(dir, ids[0]+".key"), filepath.Join(dir, "0123456789abcdef.key")); err != nil {
		t.Fatal(err)
	}
	if r, err = LoadKeyring(dir); err != nil {
		t.Fatal(err)
	}
	r.OnSealed(func(string, int) ([]byte, error) { return []byte("the passphrase"), nil })
	if _, err := r.Key("0123456789abcdef"); !errors.Is(err, ErrKeyFile) {
		t.Errorf("another key's name: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, "0123456789abcdef.key"), filepath.Join(dir, "old.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeyring(dir); !errors.Is(err, ErrKeyFile) || !strings.Contains(err.Error(), "named FINGERPRINT.key") {
		t.Errorf("a name without fingerprint: %v", err)
	}
}
