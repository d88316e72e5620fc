package crypto

import (
	"bytes"
	"container/list"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const (
	// HeaderSize is what the container adds before the sealed stream: "Salted__" and 8 bytes of salt.
	// Plain offset p lies at sealed offset p + HeaderSize (aes-256-ctr).
	HeaderSize = 16
	// SaltSize is the length of a salt in bytes.
	SaltSize = 8

	CTR               = "aes-256-ctr"
	CBC               = "aes-256-cbc"
	DefaultIterations = 10000

	magic     = "Salted__" // what openssl enc writes first
	aesKeyLen = 32
	chunk     = 128 << 10 // bytes sealed at a time
)

// ErrNotSealed: the bytes do not begin with "Salted__" and a salt.
var ErrNotSealed = errors.New("not an openssl enc message")

// derive is openssl's -pbkdf2 -md sha256: 32 bytes of key and 16 of IV from password and salt.
func derive(password string, salt []byte, iterations int) (cipher.Block, [aes.BlockSize]byte, error) {
	var iv [aes.BlockSize]byte
	out, err := pbkdf2.Key(sha256.New, password, salt, iterations, aesKeyLen+aes.BlockSize)
	if err != nil {
		return nil, iv, fmt.Errorf("derive a key: %w", err)
	}
	block, err := aes.NewCipher(out[:aesKeyLen])
	if err != nil {
		return nil, iv, fmt.Errorf("derive a key: %w", err)
	}
	copy(iv[:], out[aesKeyLen:])
	return block, iv, nil
}

// ParseHeader returns the salt of a container's first HeaderSize bytes, or ErrNotSealed.
func ParseHeader(header []byte) ([]byte, error) {
	if len(header) < HeaderSize || !bytes.HasPrefix(header, []byte(magic)) {
		return nil, ErrNotSealed
	}
	return bytes.Clone(header[len(magic):HeaderSize]), nil
}

// readHeader takes a container's header from r.
func readHeader(r io.Reader) (salt []byte, err error) {
	var header [HeaderSize]byte
	if _, err := io.ReadFull(r, header[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("read header: %w", ErrNotSealed)
	} else if err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	return ParseHeader(header[:])
}

// Stream is one object's derived key. Safe for concurrent use.
type Stream struct {
	salt  [SaltSize]byte
	block cipher.Block
	iv    [aes.BlockSize]byte
}

// Stream returns the CTR key stream for one salt (SaltSize bytes), positioned at plain offset 0
// by At(0). Streams used lately are kept, so asking again is cheap.
func (k Key) Stream(salt []byte) (*Stream, error) {
	if len(salt) != SaltSize {
		return nil, fmt.Errorf("derive a key: the salt has %d bytes, not %d", len(salt), SaltSize)
	}
	secret := k.open()
	if secret == nil {
		return nil, fmt.Errorf("derive a key: %w", ErrNoKey)
	}
	id := [SaltSize]byte(salt)
	if s := secret.kept(id); s != nil {
		return s, nil
	}
	block, iv, err := derive(string(secret.text[:]), salt, DefaultIterations)
	if err != nil {
		return nil, err
	}
	return secret.keep(&Stream{salt: id, block: block, iv: iv}), nil
}

// kept returns a stream derived before, or nil.
func (s *secret) kept(id [SaltSize]byte) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.streams[id]
	if e == nil {
		return nil
	}
	s.recent.MoveToFront(e)
	return streamOf(e)
}

// keep remembers a stream, lets the one least used go, and returns the one to use: another
// goroutine may have derived it in the meantime.
func (s *secret) keep(st *Stream) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.streams[st.salt]; e != nil {
		s.recent.MoveToFront(e)
		return streamOf(e)
	}
	s.streams[st.salt] = s.recent.PushFront(st)
	if s.recent.Len() > streamsKept {
		last := s.recent.Back()
		delete(s.streams, streamOf(last).salt)
		s.recent.Remove(last)
	}
	return st
}

func streamOf(e *list.Element) *Stream { st, _ := e.Value.(*Stream); return st }

// Format prints the salt for every verb, never what was derived.
func (s *Stream) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "crypto.Stream(%x)", s.salt) }

// LogValue is what Format prints.
func (s *Stream) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// Header is "Salted__" and the salt.
func (s *Stream) Header() []byte { return append([]byte(magic), s.salt[:]...) }

// At returns a cipher.Stream whose first key byte is that of a plain offset ≥ 0. It is not safe
// for concurrent use; Stream is.
func (s *Stream) At(plain int64) cipher.Stream { return ctrAt(s.block, s.iv, plain) }

// ctrAt starts counter mode at a byte offset: the counter is the IV plus the number of whole
// 16-byte blocks before it, as one 128-bit big-endian number that wraps.
func ctrAt(block cipher.Block, iv [aes.BlockSize]byte, off int64) cipher.Stream {
	high, low := binary.BigEndian.Uint64(iv[:8]), binary.BigEndian.Uint64(iv[8:])
	sum := low + uint64(off)/aes.BlockSize
	if sum < low {
		high++
	}
	binary.BigEndian.PutUint64(iv[:8], high)
	binary.BigEndian.PutUint64(iv[8:], sum)
	ctr := cipher.NewCTR(block, iv[:])
	var skip [aes.BlockSize]byte
	n := uint64(off) % aes.BlockSize
	ctr.XORKeyStream(skip[:n], skip[:n])
	return ctr
}

// NewWriter writes the header to w at once, then seals what is written. No Close is needed: the
// sealed bytes are as many as the plain ones. After an error it takes nothing more.
func (s *Stream) NewWriter(w io.Writer) (io.Writer, error) {
	if _, err := w.Write(s.Header()); err != nil {
		return nil, fmt.Errorf("write header: %w", err)
	}
	return &writer{w: w, ctr: s.At(0)}, nil
}

type writer struct {
	w   io.Writer
	ctr cipher.Stream
	buf []byte
	err error
}

func (w *writer) Write(p []byte) (int, error) {
	if w.buf == nil {
		w.buf = make([]byte, chunk)
	}
	done := 0
	for done < len(p) && w.err == nil {
		n := min(len(p)-done, len(w.buf))
		w.ctr.XORKeyStream(w.buf[:n], p[done:done+n])
		var put int
		put, w.err = w.w.Write(w.buf[:n])
		if w.err == nil && put < n {
			w.err = io.ErrShortWrite
		}
		done += put
	}
	return done, w.err
}

// NewReader opens what NewWriter or openssl sealed with this key, from its start. A wrong key is
// not noticed here: counter mode turns it into noise.
func (k Key) NewReader(r io.Reader) (io.Reader, error) {
	salt, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	s, err := k.Stream(salt)
	if err != nil {
		return nil, err
	}
	return cipher.StreamReader{S: s.At(0), R: r}, nil
}
