package crypto

import (
	"bytes"
	"container/list"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

var (
	// ErrWrongKey: the sealed bytes do not make sense under this key.
	ErrWrongKey = errors.New("wrong key")
	// ErrNoKey: the key ring lacks the key asked for.
	ErrNoKey = errors.New("no key with this fingerprint")
	// ErrKeyFile: the text is not 64 lower-case hex digits and a newline.
	ErrKeyFile = errors.New("not a tapefs key file")
	// ErrKeyPublic: somebody other than the owner could read the key file.
	ErrKeyPublic = errors.New("key file can be read by others")
)

const (
	keyDigits  = 64                 // hex digits of 256 bits
	keyIDLabel = "tapefs key id v1" // first line of what a fingerprint sums, see FORMAT.md
	macInfo    = "tapefs manifest v1"
	macKeySize = 32 // bytes, the output of SHA-256

	// Deriving a stream costs 5 ms; readers hop between a few objects, so a few hundred are kept.
	streamsKept = 512
)

// Key is 256 random bits. Whatever prints it prints its fingerprint, never the secret.
// It is safe for concurrent use.
type Key struct {
	// secret returns the same one always; nil in a zero Key. It is a function because fmt, asked for
	// a verb that does not fit, prints what a pointer deep inside an argument points to, but not what
	// a function returns.
	secret func() *secret
}

// open is the secret, or nil.
func (k Key) open() *secret {
	if k.secret == nil {
		return nil
	}
	return k.secret()
}

type secret struct {
	text        [keyDigits]byte // the password of openssl
	fingerprint string

	mu      sync.Mutex
	streams map[[SaltSize]byte]*list.Element
	recent  *list.List // of *Stream, most recently used first
}

// NewKey draws a key from the system's random numbers.
func NewKey() (*Key, error) {
	var raw [keyDigits / 2]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, fmt.Errorf("draw a key: %w", err)
	}
	return newKey([]byte(hex.EncodeToString(raw[:]))), nil
}

// ParseKey reads the text of a key file: exactly 64 lower-case hex digits and a newline.
// Errors wrap ErrKeyFile and never quote the text.
func ParseKey(text []byte) (*Key, error) {
	digits, newline := bytes.CutSuffix(text, []byte("\n"))
	if !newline || len(digits) != keyDigits {
		return nil, fmt.Errorf("%w: want %d hex digits and a newline, found %d bytes", ErrKeyFile, keyDigits, len(text))
	}
	for i, c := range digits {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return nil, fmt.Errorf("%w: byte %d is not a lower-case hex digit", ErrKeyFile, i+1)
		}
	}
	return newKey(digits), nil
}

func newKey(digits []byte) *Key {
	s := &secret{streams: map[[SaltSize]byte]*list.Element{}, recent: list.New()}
	copy(s.text[:], digits)
	sum := sha256.New()
	io.WriteString(sum, keyIDLabel+"\n")
	sum.Write(digits)
	io.WriteString(sum, "\n")
	s.fingerprint = hex.EncodeToString(sum.Sum(nil)[:8])
	return &Key{secret: func() *secret { return s }}
}

// LoadKey reads a key file. A file that its group or others may read is refused with
// ErrKeyPublic, one that is no key with ErrKeyFile, one that is sealed with ErrSealedKey.
func LoadKey(path string) (*Key, error) {
	text, err := ReadKeyFile(path)
	if err != nil {
		return nil, err
	}
	if IsSealedKey(text) {
		return nil, fmt.Errorf("key %s: %w", path, ErrSealedKey)
	}
	k, err := ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	return k, nil
}

// ReadKeyFile reads the text of a key file, plain or sealed, with the errors of LoadKey.
func ReadKeyFile(path string) ([]byte, error) { return readSecret(path, sealedKeySize+1) }

// readSecret reads up to limit bytes of a file that only its owner may read.
func readSecret(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key %s: %w: it is no regular file", path, ErrKeyFile)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key %s: %w (mode %04o): run chmod 600 on it, and think of who may have read it",
			path, ErrKeyPublic, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	return text, nil
}

// Save writes a key file that only its owner can read (0600) and makes it durable. It never
// writes over another file.
func (k Key) Save(path string) error {
	s := k.open()
	if s == nil {
		return fmt.Errorf("save key %s: %w", path, ErrNoKey)
	}
	return saveNew(path, append(s.text[:], '\n'))
}

func saveNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("save key: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("save key %s: %w", path, err)
	}
	return nil
}

// syncDir makes names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// Fingerprint is 16 hex digits of a SHA-256 over the key: the key's name on tapes and in the
// catalog. FORMAT.md says how a shell computes it.
func (k Key) Fingerprint() string {
	s := k.open()
	if s == nil {
		return ""
	}
	return s.fingerprint
}

// Text is the secret: 64 hex digits, for the safe.
func (k Key) Text() string {
	s := k.open()
	if s == nil {
		return ""
	}
	return string(s.text[:])
}

// String is the fingerprint.
func (k Key) String() string { return k.Fingerprint() }

// GoString is the fingerprint, marked as a key's.
func (k Key) GoString() string { return "crypto.Key(" + k.Fingerprint() + ")" }

// Format prints the fingerprint for every verb.
func (k Key) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		io.WriteString(f, k.GoString())
		return
	}
	io.WriteString(f, k.Fingerprint())
}

// LogValue is the fingerprint.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.Fingerprint()) }

// MarshalText is the fingerprint: a Key cannot be marshalled and read back.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.Fingerprint()), nil }

// ManifestMAC is HMAC-SHA256 under HKDF(key, "tapefs manifest v1"), begun over header (the text of
// the .mac file before its last line); write the sealed bytes to it. The HKDF's secret is the 32
// bytes that the key's digits spell, its salt is empty.
func (k Key) ManifestMAC(header []byte) hash.Hash {
	raw, err := hex.DecodeString(k.Text())
	if err != nil {
		panic("crypto: a key is not hex: " + k.Fingerprint()) // ParseKey let it through
	}
	macKey, err := hkdf.Key(sha256.New, raw, nil, macInfo, macKeySize)
	if err != nil {
		panic("crypto: HKDF refuses constants: " + err.Error())
	}
	h := hmac.New(sha256.New, macKey)
	h.Write(header)
	return h
}
