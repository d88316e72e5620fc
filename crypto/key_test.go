package crypto

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseKeyRefuses(t *testing.T) {
	digits := strings.TrimSuffix(testKey, "\n")
	for name, text := range map[string]string{
		"empty": "", "newline": "\n", "no newline": digits, "short": digits[1:] + "\n", "long": digits + "0\n",
		"upper case": strings.ToUpper(testKey), "two newlines": testKey + "\n", "CRLF": digits + "\r\n",
		"blank in front": " " + testKey, "blank": digits[:63] + " \n", "no hex": digits[:63] + "g\n", "NUL": digits[:63] + "\x00\n",
	} {
		k, err := ParseKey([]byte(text))
		if k != nil || !errors.Is(err, ErrKeyFile) {
			t.Errorf("%s: %v, %v", name, k, err)
		} else if strings.Contains(err.Error(), digits[2:20]) {
			t.Errorf("%s: the error quotes the key: %v", name, err)
		}
	}
}

// The shell line of FORMAT.md computes the fingerprint.
func TestFingerprintInAShell(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a key.key")
	if err := k.Save(path); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `{ echo 'tapefs key id v1'; cat "$1"; } | openssl dgst -sha256 -r | cut -c1-16`, "sh", path)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != k.Fingerprint() || len(got) != 16 {
		t.Errorf("shell says %q, we %q", got, k.Fingerprint())
	}
	if fixed := parse(t, testKey).Fingerprint(); fixed != "77f0f2c488f98633" {
		t.Errorf("fingerprint of the frozen key is now %s", fixed)
	}
}

// The program computes the same MAC: HKDF over the raw key, then HMAC.
func TestManifestMACByProgram(t *testing.T) {
	k := parse(t, testKey)
	header, sealed := []byte("tapefs-manifest 1\nseq=1\n"), seeded(5, 70000)
	h := k.ManifestMAC(header)
	h.Write(sealed)
	got := hex.EncodeToString(h.Sum(nil))

	macKey := strings.ReplaceAll(strings.TrimSpace(string(openssl(t, nil, "kdf", "-keylen", "32", "-kdfopt", "digest:SHA256",
		"-kdfopt", "hexkey:"+strings.TrimSpace(testKey), "-kdfopt", "info:tapefs manifest v1", "HKDF"))), ":", "")
	want := openssl(t, append(bytes.Clone(header), sealed...), "dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:"+macKey, "-r")
	if !strings.HasPrefix(string(want), got+" ") {
		t.Errorf("openssl says %s, we %s", want, got)
	}
}

func TestSaveAndLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k")
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Save(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 || info.Size() != 65 {
		t.Errorf("%v, %v", info, err)
	}
	back, err := LoadKey(path)
	if err != nil || back.Text() != k.Text() || back.Fingerprint() != k.Fingerprint() {
		t.Errorf("another key came back: %v, %v", back, err)
	}
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if other.Text() == k.Text() {
		t.Error("the same key twice")
	}
	if err := other.Save(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("saved over another file: %v", err)
	}
	if back, err := LoadKey(path); err != nil || back.Text() != k.Text() {
		t.Errorf("the refused save changed the file: %v", err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o610, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKey(path); !errors.Is(err, ErrKeyPublic) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if _, err := LoadKey(dir); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := LoadKey(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := LoadKey(writeFile(t, filepath.Join(dir, "bad"), []byte(testKey+testKey))); !errors.Is(err, ErrKeyFile) {
		t.Errorf("two keys in a file: %v", err)
	}
}

// However a key is printed, its secret is not.
func TestKeyIsNeverPrinted(t *testing.T) {
	k := parse(t, testKey)
	s, err := k.Stream([]byte("saltsalt"))
	if err != nil {
		t.Fatal(err)
	}
	ring := &Keyring{keys: map[string]*Key{k.Fingerprint(): k}, paths: map[string]string{}, current: k.Fingerprint()}
	digits := strings.TrimSuffix(testKey, "\n")
	type holder struct {
		K     *Key
		V     Key
		inner *Key
		value Key
	}
	h := holder{k, *k, k, *k}
	var out strings.Builder
	values := []any{k, *k, &k, h, &h, []*Key{k}, []Key{*k}, map[string]*Key{"k": k}, ring, s, fmt.Errorf("with %v", k),
		Foreign{Passphrase: []byte(digits), Cipher: CBC}, &Foreign{Passphrase: []byte(digits), Cipher: CBC}}
	for _, v := range values {
		for _, verb := range "vsdqxXobcUpteEfFgGT" {
			if _, plain := v.(Foreign); plain && verb == 'p' {
				continue // goes past every method: vet refuses it for what is no pointer
			}
			for _, flags := range []string{"", "+", "#", " ", "-", "0", "200", ".100", "#+"} {
				fmt.Fprintf(&out, "%"+flags+string(verb)+"\n", v)
			}
		}
		fmt.Fprintln(&out, v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).Info("key", "k", v, "group", slog.GroupValue(slog.Any("k", v)))
		}
	}
	text := strings.ToLower(out.String())
	raw, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]string{
		"digits":        digits[:16],
		"hex of digits": hex.EncodeToString([]byte(digits))[:24],
		"stream's IV":   strings.Trim(fmt.Sprint(s.iv[:8]), "[]"),
		"raw":           string(raw[1:9]),
		"list":          strings.Trim(fmt.Sprint(raw[:8]), "[]"),
		"list of text":  strings.Trim(fmt.Sprint([]byte(digits[:8])), "[]"),
		"octal list":    strings.Trim(fmt.Sprintf("%o", []byte(digits[:8])), "[]"),
		"binary list":   strings.Trim(fmt.Sprintf("%b", []byte(digits[:8])), "[]"),
	} {
		if strings.Contains(text, secret) {
			t.Errorf("%s of the key were printed", name)
		}
	}
	if fmt.Sprint(k) != k.Fingerprint() || fmt.Sprintf("%#v", k) != "crypto.Key("+k.Fingerprint()+")" {
		t.Errorf("a key prints as %v, %#v", k, k)
	}
	if b, err := json.Marshal(map[string]*Key{"k": k}); err != nil || string(b) != `{"k":"`+k.Fingerprint()+`"}` {
		t.Errorf("json %s, %v", b, err)
	}
	if strings.Contains(text, "panic") {
		t.Error("a Format method panicked")
	}
}

func TestKeyring(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := LoadKeyring(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	var r Keyring
	a, b := parse(t, testKey), parse(t, strings.Repeat("ab", 32)+"\n")
	pathA, err := r.Add(dir, a)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, a.Fingerprint()+".key"); pathA != want || r.Path(a.Fingerprint()) != want {
		t.Errorf("saved as %s", pathA)
	}
	if _, err := r.Add(dir, b); err != nil {
		t.Fatal(err)
	}
	check := func(r *Keyring, current *Key) {
		t.Helper()
		if k, err := r.Current(); err != nil || k.Text() != current.Text() {
			t.Errorf("current is %v, %v; want %v", k, err, current)
		}
		if len(r.Fingerprints()) != 2 {
			t.Errorf("keys: %v", r.Fingerprints())
		}
		for _, want := range []*Key{a, b} {
			if k, err := r.Key(want.Fingerprint()); err != nil || k.Text() != want.Text() {
				t.Errorf("key %v: %v, %v", want, k, err)
			}
		}
	}
	check(&r, b)
	load := func() *Keyring {
		t.Helper()
		r, err := LoadKeyring(dir)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	check(load(), b)
	if p, err := r.Add(dir, a); err != nil || p != pathA { // again: only becomes current
		t.Errorf("%s, %v", p, err)
	}
	check(load(), a)
	if _, err := r.Key("0000000000000000"); !errors.Is(err, ErrNoKey) {
		t.Errorf("unknown key: %v", err)
	}

	current := filepath.Join(dir, "current")
	writeFile(t, current, []byte("0123456789abcdef\n"))
	if _, err := load().Current(); !errors.Is(err, ErrNoKey) {
		t.Errorf("current names a key that is not there: %v", err)
	}
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	if _, err := load().Current(); !errors.Is(err, ErrNoKey) {
		t.Errorf("two keys and no word on which: %v", err)
	}
	if err := os.Remove(pathA); err != nil {
		t.Fatal(err)
	}
	if k, err := load().Current(); err != nil || k.Text() != b.Text() {
		t.Errorf("the only key: %v, %v", k, err)
	}
	writeFile(t, filepath.Join(dir, "notes.txt"), []byte("not a key"))
	load()
	bad := writeFile(t, filepath.Join(dir, "bad.key"), []byte("x"))
	if _, err := LoadKeyring(dir); !errors.Is(err, ErrKeyFile) || !strings.Contains(err.Error(), bad) {
		t.Errorf("bad key file: %v", err)
	}
	if _, err := new(Keyring).Current(); !errors.Is(err, ErrNoKey) {
		t.Errorf("empty ring: %v", err)
	}
	if _, err := new(Keyring).Add(dir, &Key{}); !errors.Is(err, ErrNoKey) {
		t.Errorf("no key added: %v", err)
	}
}
