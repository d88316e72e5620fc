package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
)

// Buffers extents are on their way between the stages of a packing.
const Buffers = 6

var (
	// ErrReseal: bytes to be sealed again are not those that were sealed under this salt before.
	ErrReseal = errors.New("the bytes are not those that were sealed before")
	// ErrUnreadable: a file is not what was fetched, or listed where it is read in place. It is a *spoolError.
	ErrUnreadable = errors.New("a file could not be packed")
	// ErrOtherSum: the bytes of a file are not those that were summed when it was fetched.
	ErrOtherSum = errors.New("its bytes are not those that were fetched")
)

// FileError is what is wrong with one file in the spool, or in a source that is read in place.
type FileError struct {
	Path  string // within the source
	place bool   // read in place
	Err   error
}

func (e *FileError) Error() string {
	if e.place {
		return fmt.Sprintf("file %q could not be read: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("spooled file is damaged: %q: %v", e.Path, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// Is lets errors.Is find errUnreadable.
func (e *FileError) Is(target error) bool { return target == ErrUnreadable }

// WriteError is an error of the tape, not of what was read.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return e.Err.Error() }
func (e *WriteError) Unwrap() error { return e.Err }

// Packing seals one object under one salt, part by part and any part again. Not safe for
// concurrent use; writePart overlaps reading, summing, sealing and writing by itself.
type Packing struct {
	l        *Layout
	Plain    *plainStream
	Answered func(context.Context, func() error) error // calls a read of files in place and gives it up when it takes too long; nil: waits
	strict   bool                                      // a member that changes while it is read is an error, not void
	key      *crypto.Stream
	salt     []byte
	partSize int64
	known    map[int][]byte // by part: sums of the extents that were sealed already
	contents contentSums
	hangs    bool                    // a read did not come back
	Given    map[string]map[int]bool // by pool: parts that followers took whole
}

// New seals l under salt. recorded are the parts of an object that is packed already: every
// extent must have its recorded sum.
func New(l *Layout, open Opener, strict bool, key *crypto.Key, salt []byte, partSize int64, recorded []catalog.Part) (*Packing, error) {
	if partSize <= 0 || partSize%catalog.ExtentSize != 0 {
		return nil, fmt.Errorf("pack: part size %d is not a multiple of %d", partSize, catalog.ExtentSize)
	}
	s, err := key.Stream(salt)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	plain := newPlainStream(l, open)
	plain.place = !strict
	p := &Packing{l: l, Plain: plain, strict: strict, key: s, salt: salt, partSize: partSize,
		known: map[int][]byte{}, Given: map[string]map[int]bool{}, contents: contentSums{entry: -1, sums: map[int][]byte{}}}
	for _, r := range recorded {
		p.known[r.Number] = r.Sums
	}
	return p, nil
}

// Close closes the file that may be open, unless a read of it never came back.
func (p *Packing) Close() {
	if !p.hangs {
		p.Plain.closeFile()
	}
}

// SealedSize is the object's size, bytes.
func (p *Packing) SealedSize() int64 { return p.l.Size + crypto.HeaderSize }

// Parts is how many parts the object has.
func (p *Packing) Parts() int { return int((p.SealedSize() + p.partSize - 1) / p.partSize) }

// PartLen is the size of a part, bytes.
func (p *Packing) PartLen(n int) int64 {
	return min(p.partSize, p.SealedSize()-int64(n)*p.partSize)
}

// chunk is one extent on its way.
type chunk struct {
	buf   []byte // sealed bytes; before the sealing stage the first plain ones begin at head
	head  int    // bytes of the container's header at the front
	plain int64  // offset of the first plain byte
	index int    // of the extent within the part
	spans []span
}

// WritePart seals part n into w. Errors of w are *writeError; errReseal says that not one byte of
// the extent that differs was written.
func (p *Packing) WritePart(ctx context.Context, n int, w io.Writer) (catalog.Part, error) {
	size := p.PartLen(n)
	start := int64(n) * p.partSize // sealed offset
	free := make(chan *chunk, Buffers)
	for range Buffers {
		free <- &chunk{buf: make([]byte, catalog.ExtentSize)}
	}
	read, summed, sealed := make(chan *chunk, 1), make(chan *chunk, 1), make(chan *chunk, 1)
	hashed := make(chan *chunk, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { defer close(read); return p.readStage(ctx, start, size, free, read) })
	g.Go(func() error {
		defer close(summed)
		return pass(ctx, read, summed, func(c *chunk) error {
			if i := p.contents.add(p.l, c); i >= 0 && p.strict {
				return &FileError{Path: p.l.Entries[i].Path, Err: ErrOtherSum}
			}
			return nil
		})
	})
	g.Go(func() error {
		defer close(sealed)
		return pass(ctx, summed, sealed, func(c *chunk) error { return p.seal(n, c) })
	})
	whole := sha256.New()
	g.Go(func() error {
		defer close(hashed)
		return pass(ctx, sealed, hashed, func(c *chunk) error { whole.Write(c.buf); return nil })
	})
	var written int64
	g.Go(func() error {
		return pass(ctx, hashed, free, func(c *chunk) error {
			put, err := w.Write(c.buf)
			written += int64(put)
			if err != nil {
				return &WriteError{Err: err}
			}
			return nil
		})
	})
	if err := g.Wait(); err != nil {
		return catalog.Part{Number: n, Size: written}, err
	}
	if err := context.Cause(ctx); err != nil && written != size {
		return catalog.Part{Number: n, Size: written}, err
	}
	return catalog.Part{Number: n, Size: size, SHA256: whole.Sum(nil), Sums: bytes.Clone(p.known[n])}, nil
}

// pass hands chunks on after f.
func pass(ctx context.Context, in <-chan *chunk, out chan<- *chunk, f func(*chunk) error) error {
	for {
		select {
		case c, ok := <-in:
			if !ok {
				return nil
			}
			if err := f(c); err != nil {
				return err
			}
			select {
			case out <- c:
			case <-ctx.Done():
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readStage fills chunks with plain bytes.
func (p *Packing) readStage(ctx context.Context, start, size int64, free <-chan *chunk, out chan<- *chunk) error {
	for i, off := 0, start; off < start+size; i++ {
		var c *chunk
		select {
		case c = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		n := min(catalog.ExtentSize, start+size-off)
		c.buf, c.head, c.index = c.buf[:n], 0, i
		if off == 0 {
			c.head = copy(c.buf, p.key.Header())
		}
		c.plain = off + int64(c.head) - crypto.HeaderSize
		got, err := p.readChunk(ctx, c)
		if err != nil {
			return err
		}
		if got != len(c.buf)-c.head {
			return fmt.Errorf("lay out: the stream ends at %d", c.plain+int64(got))
		}
		if p.Plain.bad != nil {
			return p.Plain.bad
		}
		if p.strict {
			for i, err := range p.Plain.void {
				return &FileError{Path: p.l.Entries[i].Path, Err: err}
			}
		}
		off += n
		select {
		case out <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// readChunk fills a chunk from its plain offset on. After a read of a file in place that did not come back the packing is of no use.
func (p *Packing) readChunk(ctx context.Context, c *chunk) (got int, err error) {
	var n int
	read := func() error {
		p.Plain.seek(c.plain)
		n, c.spans = p.Plain.read(c.buf[c.head:], c.spans[:0])
		return nil
	}
	if p.Answered == nil {
		err = read()
		return n, err
	}
	if err := p.Answered(context.WithoutCancel(ctx), read); err != nil { // read may still set n
		p.hangs = true
		path := p.l.Entries[min(p.l.find(c.plain), len(p.l.Entries)-1)].Path
		return 0, &FileError{Path: path, place: true, Err: err}
	}
	return n, nil
}

// seal encrypts a chunk in place and compares or records its sum.
func (p *Packing) seal(part int, c *chunk) error {
	p.key.At(c.plain).XORKeyStream(c.buf[c.head:], c.buf[c.head:])
	sum := sha256.Sum256(c.buf)
	known := p.known[part]
	if at := c.index * sha256.Size; at+sha256.Size <= len(known) {
		if !bytes.Equal(known[at:at+sha256.Size], sum[:]) {
			return fmt.Errorf("part %d, extent %d: %w", part+1, c.index, ErrReseal)
		}
		return nil
	}
	p.known[part] = append(known, sum[:]...)
	return nil
}

// contentSums sums each file's content while the stream passes for the first time.
type contentSums struct {
	pos   int64 // plain offset up to which content was summed
	entry int   // being summed, -1 none
	h     hash.Hash
	sums  map[int][]byte
}

// add returns the index of an entry whose content ends in this chunk and is not what was fetched; -1: there is none.
func (s *contentSums) add(l *Layout, c *chunk) int {
	body, differs := c.buf[c.head:], -1
	for _, sp := range c.spans {
		e := &l.Entries[sp.entry]
		at, b := e.Data+sp.off, body[sp.from:sp.to]
		if at+int64(len(b)) <= s.pos {
			continue // a part that is written again
		}
		if at < s.pos {
			b, at = b[s.pos-at:], s.pos
		}
		if at == e.Data {
			s.entry, s.h = sp.entry, sha256.New()
		} else if s.entry != sp.entry {
			continue // its beginning never passed
		}
		s.h.Write(b)
		if s.pos = at + int64(len(b)); s.pos == e.Data+e.Size {
			s.sums[sp.entry] = s.h.Sum(nil)
			if len(e.SHA256) > 0 && !bytes.Equal(e.SHA256, s.sums[sp.entry]) && differs < 0 {
				differs = sp.entry
			}
		}
	}
	return differs
}

// Packed describes the object for the catalog once all parts passed.
func (p *Packing) Packed(object int64) *catalog.Packing {
	out := &catalog.Packing{Object: object, Salt: p.salt, PlainSize: p.l.Size, SealedSize: p.SealedSize()}
	empty := sha256.Sum256(nil)
	isVoid := func(i int) bool { return p.l.Entries[i].Void || p.Plain.void[i] != nil }
	for i := range p.l.Entries {
		e := &p.l.Entries[i]
		if e.Version == 0 {
			continue
		}
		m := catalog.PackedMember{Member: catalog.Member{Version: e.Version, Header: e.At, Data: e.Data}}
		switch {
		case e.First >= 0:
			m.Void = isVoid(e.First)
		case e.Data < 0:
		case isVoid(i):
			m.Void = true
		case e.Size == 0:
			m.SHA256 = empty[:]
		default:
			m.SHA256 = p.contents.sums[i]
		}
		if e.First < 0 {
			m.Grew = p.Plain.grew[i]
		} else {
			m.Grew = p.Plain.grew[e.First]
		}
		out.Members = append(out.Members, m)
	}
	return out
}

// Voided lists the members that could not be read as planned, with the reason.
func (p *Packing) Voided() map[string]error {
	out := map[string]error{}
	for i, err := range p.Plain.void {
		out[p.l.Entries[i].Path] = err
	}
	for i := range p.l.Entries { // further names of a file are as void as the first
		e := &p.l.Entries[i]
		if e.First >= 0 && p.Plain.void[e.First] != nil {
			out[e.Path] = p.Plain.void[e.First]
		}
	}
	return out
}

// Grown lists the members that were longer than planned.
func (p *Packing) Grown() []string {
	var out []string
	for i := range p.Plain.grew {
		out = append(out, p.l.Entries[i].Path)
	}
	return out
}

// PartName is where a part lies on a tape.
func PartName(fingerprint, oid string, number, parts int) string {
	name := "tapefs/" + fingerprint + "/" + oid + ".tar.enc"
	if parts > 1 {
		name += fmt.Sprintf(".%04d", number+1)
	}
	return name
}
