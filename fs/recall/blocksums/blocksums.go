// Package blocksums keeps sums of the blocks of files that wait in the spool, so that whoever reads a few bytes of a large file can
// hold them against what was fetched without reading all of it. The sums of a file are made in the same pass as its SHA-256, which
// the catalog records, and name it: sums of other bytes are never taken for those of this file.
//
// A file of sums is a header and pages, all numbers in little-endian order:
//
//	header  magic, 16 bytes; size of the file, 8 bytes; its SHA-256, 32 bytes; XXH3-64 of these 56 bytes
//	page    XXH3-64 of up to 511 blocks of 64 KiB, 8 bytes each; XXH3-64 of those, seeded with the number of the page
//
// Sums that are damaged themselves are noticed (ErrUnusable), and made anew from the file and its SHA-256.
package blocksums

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/zeebo/xxh3"
)

const (
	// Block is how many bytes of a file one sum stands for.
	Block = 64 << 10
	// Least is the size of a file, bytes, from which on it has block sums: of a smaller one the SHA-256 takes less time than
	// to open a second file.
	Least = 2*Block + 1

	magic      = "tapefs block sum"
	sumSize    = 8
	headerSize = len(magic) + 8 + 32 + sumSize
	pageBlocks = 511
	pageSize   = (pageBlocks + 1) * sumSize
)

var (
	// ErrUnusable: there are no sums of this file, or they are damaged. Nothing is said of the file.
	ErrUnusable = errors.New("block sums cannot be used")
	// ErrOther: a block is not what it was when the sums were made.
	ErrOther = errors.New("the bytes are not those that were fetched")
)

// Dir is where the sums of a batch's files lie; side is the folder for what a batch needs beside its files.
func Dir(side string) string { return filepath.Join(side, "sums") }

// Name is the file of sums of a version.
func Name(side string, version int64) string {
	return filepath.Join(Dir(side), strconv.FormatInt(version, 10))
}

// zero is the sum of a whole block of zeros.
var zero = xxh3.Hash(make([]byte, Block))

// Writer sums a file that is written to it from its beginning to its end. It holds one page of sums in memory. End it with Commit
// or Drop.
type Writer struct {
	name   string
	temp   *os.File
	page   []byte
	number uint64 // of the page
	block  []byte // what has come of the block
	size   int64
	zeros  int64
	err    error // the first one of writing
}

// Create begins a file of sums. What stands under its name stays until Commit.
func Create(name string) (*Writer, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("make block sums: %w", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(name), ".sums-")
	if err != nil {
		return nil, fmt.Errorf("make block sums: %w", err)
	}
	w := &Writer{name: name, temp: temp, page: make([]byte, 0, pageSize), block: make([]byte, 0, Block)}
	_, w.err = temp.Write(make([]byte, headerSize))
	return w, nil
}

// Write never fails: an error of writing the sums is no reason to stop reading the file, and is told by Commit.
func (w *Writer) Write(p []byte) (int, error) {
	n := len(p)
	w.size += int64(n)
	for len(p) > 0 {
		if len(w.block) == 0 && len(p) >= Block {
			w.add(p[:Block])
			p = p[Block:]
			continue
		}
		k := min(Block-len(w.block), len(p))
		w.block = append(w.block, p[:k]...)
		p = p[k:]
		if len(w.block) == Block {
			w.add(w.block)
			w.block = w.block[:0]
		}
	}
	return n, nil
}

func (w *Writer) add(block []byte) {
	sum := xxh3.Hash(block)
	if sum == zero {
		w.zeros += Block
	}
	w.page = binary.LittleEndian.AppendUint64(w.page, sum)
	if len(w.page) == pageBlocks*sumSize {
		w.flush()
	}
}

// Zeros is how many bytes lie in whole blocks of zeros.
func (w *Writer) Zeros() int64 { return w.zeros }

func (w *Writer) flush() {
	w.page = binary.LittleEndian.AppendUint64(w.page, xxh3.HashSeed(w.page, w.number))
	if w.err == nil {
		_, w.err = w.temp.Write(w.page)
	}
	w.page = w.page[:0]
	w.number++
}

// Commit puts the sums in their place; sha256 is that of all that was written.
func (w *Writer) Commit(sha256 []byte) error {
	if len(w.block) > 0 {
		w.add(w.block)
		w.block = nil
	}
	if len(w.page) > 0 {
		w.flush()
	}
	if w.err == nil {
		_, w.err = w.temp.WriteAt(header(w.size, sha256), 0)
	}
	if err := w.temp.Close(); w.err == nil {
		w.err = err
	}
	if w.err == nil {
		w.err = os.Rename(w.temp.Name(), w.name)
	}
	if w.err != nil {
		os.Remove(w.temp.Name())
		return fmt.Errorf("make block sums: %w", w.err)
	}
	return nil
}

// Drop gives the sums up.
func (w *Writer) Drop() {
	w.temp.Close()
	os.Remove(w.temp.Name())
}

func header(size int64, sha256 []byte) []byte {
	h := make([]byte, 0, headerSize)
	h = append(h, magic...)
	h = binary.LittleEndian.AppendUint64(h, uint64(size))
	h = append(h, sha256...)
	return binary.LittleEndian.AppendUint64(h, xxh3.Hash(h))
}

// Check reports whether name holds sums of a file of that size and SHA-256. The error is nil, ErrUnusable or one of this machine.
// Pages are looked at when they are used.
func Check(name string, size int64, sha256 []byte) error {
	f, err := open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return checkHeader(f, size, sha256)
}

func open(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // what is no file of ours is found unusable
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open block sums: %w", err)
	}
	return f, nil
}

func checkHeader(f *os.File, size int64, sha256 []byte) error {
	h := make([]byte, headerSize)
	if err := readAt(f, h, 0); err != nil {
		return err
	}
	if !bytes.Equal(h, header(size, sha256)) {
		return fmt.Errorf("%w: %s does not belong to the file", ErrUnusable, f.Name())
	}
	return nil
}

// readAt reads sums. That the disk cannot read them, or that the file ends early, makes them unusable.
func readAt(f *os.File, p []byte, off int64) error {
	_, err := f.ReadAt(p, off)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	return nil
}

// Page is the sums of the blocks around a place in a file: 511 blocks, 32 MiB. The zero value is none.
type Page struct {
	first int64 // number of its first block
	sums  []byte
}

// Has reports whether the page has the sum of a block.
func (p Page) Has(block int64) bool {
	return block >= p.first && block < p.first+int64(len(p.sums)/sumSize)
}

// Sum is the sum of a block that the page has.
func (p Page) sum(block int64) uint64 {
	return binary.LittleEndian.Uint64(p.sums[(block-p.first)*sumSize:])
}

// Zeros reports whether a block that the page has is one of 64 KiB of zeros.
func (p Page) Zeros(block int64) bool { return p.sum(block) == zero }

// Check holds the bytes of a block that the page has against its sum.
func (p Page) Check(block int64, data []byte) error {
	if xxh3.Hash(data) != p.sum(block) {
		return fmt.Errorf("block at %d: %w", block*Block, ErrOther)
	}
	return nil
}

// ReadPage reads the page with a block's sum. The error is ErrUnusable or one of this machine.
func ReadPage(name string, size int64, sha256 []byte, block int64) (Page, error) {
	f, err := open(name)
	if err != nil {
		return Page{}, err
	}
	defer f.Close()
	if err := checkHeader(f, size, sha256); err != nil {
		return Page{}, err
	}
	if block < 0 || block*Block >= size {
		return Page{}, fmt.Errorf("block %d is beyond the file's %d bytes", block, size)
	}
	number := block / pageBlocks
	blocks := min(pageBlocks, (size+Block-1)/Block-number*pageBlocks)
	b := make([]byte, (blocks+1)*sumSize)
	if err := readAt(f, b, int64(headerSize)+number*pageSize); err != nil {
		return Page{}, err
	}
	sums := b[:blocks*sumSize]
	if xxh3.HashSeed(sums, uint64(number)) != binary.LittleEndian.Uint64(b[len(sums):]) {
		return Page{}, fmt.Errorf("%w: %s is damaged", ErrUnusable, name)
	}
	return Page{first: number * pageBlocks, sums: sums}, nil
}

var _ io.Writer = (*Writer)(nil)
