package crypto

import (
	"crypto/cipher"
	"errors"
	"hash"
	"io"
)

// HeaderSize is what the container adds before the sealed stream: "Salted__" and 8 bytes of salt.
// Plain offset p lies at sealed offset p + HeaderSize (aes-256-ctr).
const HeaderSize = 16

const (
	CTR               = "aes-256-ctr"
	CBC               = "aes-256-cbc"
	DefaultIterations = 10000
)

var (
	ErrWrongKey  = errors.New("wrong key")
	ErrNoKey     = errors.New("no key with this fingerprint")
	ErrKeyFile   = errors.New("not a tapefs key file")
	ErrKeyPublic = errors.New("key file can be read by others")
)

// Key is 256 random bits. It prints as its fingerprint, never as the secret.
type Key struct{}

func NewKey() (*Key, error)              { panic("unwritten") }
func ParseKey(text []byte) (*Key, error) { panic("unwritten") }
func LoadKey(path string) (*Key, error)  { panic("unwritten") }
func (k *Key) Save(path string) error    { panic("unwritten") } // 0600, never over another file
func (k *Key) Fingerprint() string       { panic("unwritten") } // 16 hex digits
func (k *Key) Text() string              { panic("unwritten") } // the secret: 64 hex digits, for the safe
func (k *Key) String() string            { panic("unwritten") }

// Stream returns the CTR key stream for one salt, positioned at plain offset 0 by At(0).
func (k *Key) Stream(salt []byte) (*Stream, error) { panic("unwritten") }

// Stream is one object's derived key. Safe for concurrent use.
type Stream struct{}

// Header is "Salted__" and the salt.
func (s *Stream) Header() []byte { panic("unwritten") }

// At returns a cipher.Stream whose first key byte is that of a plain offset ≥ 0. Not safe for concurrent use.
func (s *Stream) At(plain int64) cipher.Stream { panic("unwritten") }

// NewWriter writes the header to w at once, then seals what is written. No Close needed.
func (s *Stream) NewWriter(w io.Writer) (io.Writer, error) { panic("unwritten") }

// ManifestMAC is HMAC-SHA256 under HKDF(key, "tapefs manifest v1"), begun over header (the text of
// the .mac file before its last line); write the sealed bytes to it.
func (k *Key) ManifestMAC(header []byte) hash.Hash { panic("unwritten") }

// Keyring holds keys by fingerprint; the current one seals.
type Keyring struct{}

// LoadKeyring reads all *.key files of a directory. The current key is the one named in the file
// "current" there, else the only one.
func LoadKeyring(dir string) (*Keyring, error)                     { panic("unwritten") }
func (r *Keyring) Current() (*Key, error)                          { panic("unwritten") }
func (r *Keyring) Key(fingerprint string) (*Key, error)            { panic("unwritten") }
func (r *Keyring) Keys() []*Key                                    { panic("unwritten") }
func (r *Keyring) Add(dir string, k *Key) (path string, err error) { panic("unwritten") } // becomes current
func (r *Keyring) Path(fingerprint string) string                  { panic("unwritten") }

// Foreign opens what openssl enc sealed with a passphrase and other parameters (older archives).
type Foreign struct {
	Passphrase []byte
	Cipher     string // CTR or CBC
	Iterations int
}

// NewReader opens a sealed stream from its start.
func (f Foreign) NewReader(r io.Reader) (io.Reader, error) { panic("unwritten") }

// NewReaderAt opens a sealed file of a size at any offset; Size is that of the plain bytes.
func (f Foreign) NewReaderAt(r io.ReaderAt, size int64) (*ForeignReader, error) { panic("unwritten") }

type ForeignReader struct{}

func (r *ForeignReader) ReadAt(p []byte, off int64) (int, error) { panic("unwritten") }
func (r *ForeignReader) Size() int64                             { panic("unwritten") }
