package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Foreign opens what openssl enc -pbkdf2 -md sha256 sealed with a passphrase and other parameters
// (older archives). Nothing is ever written this way.
type Foreign struct {
	Passphrase []byte `json:"-"` // without the newline of its file
	Cipher     string // CTR or CBC
	Iterations int    // 0: DefaultIterations
}

// Format prints cipher and iterations for every verb, never the passphrase.
func (f Foreign) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "crypto.Foreign(%s, %d iterations)", f.Cipher, f.Iterations)
}

// LogValue is what Format prints.
func (f Foreign) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(f)) }

func (f Foreign) derive(salt []byte) (cipher.Block, [aes.BlockSize]byte, error) {
	if f.Cipher != CTR && f.Cipher != CBC {
		return nil, [aes.BlockSize]byte{}, fmt.Errorf("cipher %q is not known: %s and %s are", f.Cipher, CTR, CBC)
	}
	n := f.Iterations
	if n == 0 {
		n = DefaultIterations
	}
	if n < 0 {
		return nil, [aes.BlockSize]byte{}, fmt.Errorf("%d iterations", n)
	}
	return derive(string(f.Passphrase), salt, n)
}

// NewReader opens a sealed stream from its start. With CBC the last Read fails with ErrWrongKey
// when the padding is wrong, and with io.ErrUnexpectedEOF when the stream was cut.
func (f Foreign) NewReader(r io.Reader) (io.Reader, error) {
	salt, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	block, iv, err := f.derive(salt)
	if err != nil {
		return nil, err
	}
	if f.Cipher == CTR {
		return cipher.StreamReader{S: cipher.NewCTR(block, iv[:]), R: r}, nil
	}
	return &cbcReader{r: r, mode: cipher.NewCBCDecrypter(block, iv[:])}, nil
}

// cbcReader opens whole blocks and holds the last one back until the end shows that it is padded.
type cbcReader struct {
	r     io.Reader
	mode  cipher.BlockMode
	buf   []byte
	plain []byte              // opened, not yet read; part of buf
	held  [aes.BlockSize]byte // the newest block, opened
	holds bool
	err   error
}

func (c *cbcReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.plain) == 0 && c.err == nil {
		c.fill()
	}
	if len(c.plain) == 0 {
		return 0, c.err
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

// fill opens the next blocks into plain, or sets err.
func (c *cbcReader) fill() {
	if c.buf == nil {
		c.buf = make([]byte, aes.BlockSize+chunk)
	}
	// The block held back goes in front of the new ones.
	n, err := io.ReadFull(c.r, c.buf[aes.BlockSize:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		c.err = fmt.Errorf("read sealed bytes: %w", err)
		return
	}
	end := err != nil
	if n%aes.BlockSize != 0 {
		c.err = fmt.Errorf("%s message ends within a block: %w", CBC, io.ErrUnexpectedEOF)
		return
	}
	fresh := c.buf[aes.BlockSize : aes.BlockSize+n]
	c.mode.CryptBlocks(fresh, fresh)
	all := fresh
	if c.holds {
		copy(c.buf, c.held[:])
		all = c.buf[:aes.BlockSize+n]
	}
	if end {
		c.plain, c.err = unpad(all)
		if c.err == nil {
			c.err = io.EOF
		}
		return
	}
	cut := len(all) - aes.BlockSize
	copy(c.held[:], all[cut:])
	c.holds = true
	c.plain = all[:cut]
}

// unpad takes PKCS#7 padding off. The blocks before the last are handed out even if it is wrong.
func unpad(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%s message without a block: %w", CBC, io.ErrUnexpectedEOF)
	}
	n := int(b[len(b)-1])
	ok := n >= 1 && n <= aes.BlockSize
	for i := 1; ok && i <= n; i++ {
		ok = int(b[len(b)-i]) == n
	}
	if !ok {
		return b[:len(b)-aes.BlockSize], fmt.Errorf("padding at the end: %w", ErrWrongKey)
	}
	return b[:len(b)-n], nil
}

// ForeignReader reads a sealed file at any offset. It is safe for concurrent use if the file is.
type ForeignReader struct {
	r     io.ReaderAt
	block cipher.Block
	iv    [aes.BlockSize]byte
	cbc   bool
	size  int64 // plain
}

// NewReaderAt opens a sealed file of a size (bytes, header included) at any offset. With CBC it
// reads the last two blocks: ErrWrongKey when the padding is wrong.
func (f Foreign) NewReaderAt(r io.ReaderAt, size int64) (*ForeignReader, error) {
	if size < HeaderSize {
		return nil, fmt.Errorf("read header: %w", ErrNotSealed)
	}
	salt, err := readHeader(io.NewSectionReader(r, 0, HeaderSize))
	if err != nil {
		return nil, err
	}
	block, iv, err := f.derive(salt)
	if err != nil {
		return nil, err
	}
	fr := &ForeignReader{r: r, block: block, iv: iv, cbc: f.Cipher == CBC, size: size - HeaderSize}
	if !fr.cbc {
		return fr, nil
	}
	if fr.size == 0 || fr.size%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%s message of %d bytes is cut: %w", CBC, fr.size, io.ErrUnexpectedEOF)
	}
	last := make([]byte, aes.BlockSize)
	if err := fr.openBlocks(last, fr.size-aes.BlockSize); err != nil {
		return nil, err
	}
	rest, err := unpad(last)
	if err != nil {
		return nil, err
	}
	fr.size -= int64(aes.BlockSize - len(rest))
	return fr, nil
}

// With is the same message read from elsewhere.
func (r *ForeignReader) With(at io.ReaderAt) *ForeignReader {
	other := *r
	other.r = at
	return &other
}

// Size is that of the plain bytes.
func (r *ForeignReader) Size() int64 { return r.size }

// ReadAt is that of io.ReaderAt, over the plain bytes.
func (r *ForeignReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read at a negative offset")
	}
	if off >= r.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > r.size-off {
		p, end = p[:r.size-off], io.EOF
	}
	if !r.cbc {
		n, err := r.readSealed(p, off)
		ctrAt(r.block, r.iv, off).XORKeyStream(p[:n], p[:n])
		if err == nil {
			err = end
		}
		return n, err
	}
	done := 0
	buf := make([]byte, min(chunk, len(p)+2*aes.BlockSize)/aes.BlockSize*aes.BlockSize)
	for done < len(p) {
		at := off + int64(done)
		skip := int(at % aes.BlockSize)
		want := min(len(buf), (skip+len(p)-done+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize)
		if err := r.openBlocks(buf[:want], at-int64(skip)); err != nil {
			return done, err
		}
		done += copy(p[done:], buf[skip:want])
	}
	return done, end
}

// openBlocks fills p with the plain blocks from off on; both are whole blocks.
func (r *ForeignReader) openBlocks(p []byte, off int64) error {
	iv := r.iv
	if off > 0 {
		if _, err := r.readSealed(iv[:], off-aes.BlockSize); err != nil {
			return err
		}
	}
	if _, err := r.readSealed(p, off); err != nil {
		return err
	}
	cipher.NewCBCDecrypter(r.block, iv[:]).CryptBlocks(p, p)
	return nil
}

// readSealed fills p with sealed bytes after the header. Fewer are an error: the size said they
// were there.
func (r *ForeignReader) readSealed(p []byte, off int64) (int, error) {
	n, err := r.r.ReadAt(p, HeaderSize+off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("read sealed bytes: %w", err)
}
