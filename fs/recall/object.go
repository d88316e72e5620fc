package recall

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// keepObjects is how many objects without an open file keep their derived key and sums: a tree of
// small files opens the same bundle over and over, and deriving a key takes 5 ms.
const keepObjects = 32

// object is an open object: its geometry, key stream and sums. Shared by all files in it.
type object struct {
	id       int64
	oid      string
	key      *crypto.Key
	salt     []byte
	foreign  *crypto.Foreign // of an imported archive, instead of key and salt; else nil
	partSize int64
	plain    int64 // bytes
	sealed   int64 // bytes

	refs int // open files; protected by Queue.mu

	mu     sync.Mutex // protects all below
	places []catalog.Place
	stream *crypto.Stream
	opened *crypto.ForeignReader // its key derived; read from nowhere
	sums   map[int][]byte        // by part
}

// extentKey names one extent of an object.
type extentKey struct {
	object int64
	extent int64
}

// extent tells where extent n lies: in which part, where in it, and how long it is (bytes).
func (o *object) extent(n int64) (part int, offset, size int64) {
	start := n * catalog.ExtentSize
	return int(start / o.partSize), start % o.partSize, min(catalog.ExtentSize, o.sealed-start)
}

// openObject returns the shared object of a location; each call is undone by closeObject.
func (q *Queue) openObject(loc catalog.Location) (*object, error) {
	lo := loc.Object
	foreign := lo.Cipher == crypto.CBC
	if lo.ID == 0 || lo.State == catalog.ObjectPlanned || lo.Salt == nil && !foreign ||
		loc.Version.State != catalog.Present && loc.Version.State != catalog.Forgotten {
		return nil, ErrNoBytes
	}
	bad := func(why string) error { return fmt.Errorf("object %s: the catalog is inconsistent: %s", lo.OID, why) }
	switch {
	case !cache.ValidOID(lo.OID):
		return nil, bad("object id is not 32 hex digits")
	case lo.PartSize <= 0 || lo.PartSize%catalog.ExtentSize != 0:
		return nil, bad(fmt.Sprintf("part size %d", lo.PartSize))
	case !foreign && lo.SealedSize != lo.PlainSize+crypto.HeaderSize || foreign && (lo.SealedSize <= lo.PlainSize+crypto.HeaderSize || lo.SealedSize > lo.PartSize || loc.Data != 0):
		return nil, bad(fmt.Sprintf("%d plain and %d sealed bytes", lo.PlainSize, lo.SealedSize))
	case loc.Data < 0 || loc.Version.Size > lo.PlainSize-loc.Data:
		return nil, bad("version ends behind its object")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	o := q.objects[lo.ID]
	if o == nil {
		if q.keys == nil {
			return nil, fmt.Errorf("object %s: %w: no keys are loaded", lo.OID, ErrNoKey)
		}
		o = &object{id: lo.ID, oid: lo.OID, salt: lo.Salt, partSize: lo.PartSize, plain: lo.PlainSize, sealed: lo.SealedSize,
			sums: map[int][]byte{}}
		var err error
		if foreign {
			o.foreign = &crypto.Foreign{Cipher: lo.Cipher, Iterations: lo.Iterations}
			o.foreign.Passphrase, err = q.keys.Foreign(lo.Fingerprint)
		} else {
			o.key, err = q.keys.Key(lo.Fingerprint)
		}
		if err != nil {
			return nil, fmt.Errorf("object %s: %w: %w", lo.OID, ErrNoKey, err)
		}
		q.objects[o.id] = o
	}
	if o.refs == 0 {
		q.idle = slices.DeleteFunc(q.idle, func(x *object) bool { return x == o })
	}
	o.refs++
	o.mu.Lock()
	o.places = loc.Places
	o.mu.Unlock()
	return o, nil
}

func (q *Queue) closeObject(o *object) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if o.refs--; o.refs > 0 {
		return
	}
	q.idle = append(q.idle, o)
	if len(q.idle) > keepObjects {
		delete(q.objects, q.idle[0].id)
		q.idle = slices.Delete(q.idle, 0, 1)
	}
}

// unseal turns sealed bytes into plain ones in place; off is their offset in the plain stream.
func (o *object) unseal(p []byte, off int64) error {
	s, err := o.keyStream()
	if err != nil {
		return fmt.Errorf("derive key of object %s: %w", o.oid, err)
	}
	s.At(off).XORKeyStream(p, p)
	return nil
}

func (o *object) keyStream() (*crypto.Stream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stream == nil {
		s, err := o.key.Stream(o.salt)
		if err != nil {
			return nil, err
		}
		o.stream = s
	}
	return o.stream, nil
}

// sum returns the recorded SHA-256 of extent n.
func (o *object) sum(ctx context.Context, db store, n int64) ([sha256.Size]byte, error) {
	part, offset, _ := o.extent(n)
	o.mu.Lock()
	sums := o.sums[part]
	o.mu.Unlock()
	if sums == nil {
		var err error
		sums, err = db.PartSums(ctx, o.id, part)
		if o.foreign != nil && errors.Is(err, catalog.ErrNotFound) {
			return [sha256.Size]byte{}, fmt.Errorf("object %s: %w", o.oid, errUnsurveyed)
		}
		if err != nil {
			return [sha256.Size]byte{}, fmt.Errorf("sums of object %s part %d: %w", o.oid, part, err)
		}
		size := min(o.partSize, o.sealed-int64(part)*o.partSize)
		want := int((size + catalog.ExtentSize - 1) / catalog.ExtentSize * sha256.Size)
		if len(sums) != want {
			return [sha256.Size]byte{}, fmt.Errorf("sums of object %s part %d: the catalog is inconsistent: %d bytes of sums, not %d",
				o.oid, part, len(sums), want)
		}
		o.setSums(part, sums)
	}
	i := offset / catalog.ExtentSize * sha256.Size
	return [sha256.Size]byte(sums[i : i+sha256.Size]), nil
}

// dropSums forgets the sums of the part that extent n is in: of a whole archive they would be many.
func (o *object) dropSums(n int64) {
	part, _, _ := o.extent(n)
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sums, part)
}

// copies lists the files on tape that hold extent n.
func (o *object) copies(n int64) []catalog.CopyPart {
	part, offset, size := o.extent(n)
	if n == surveyExtent {
		part, offset, size = 0, 0, o.sealed
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var found, damaged []catalog.CopyPart
	for _, p := range o.places {
		for _, cp := range p.Parts {
			live := cp.State == catalog.PartDurable || cp.State == catalog.PartWritten
			if live && cp.Number == part && cp.Size >= offset+size {
				found = append(found, cp)
			}
			if cp.State == catalog.PartDamaged && cp.Number == part && cp.Size >= offset+size {
				damaged = append(damaged, cp)
			}
		}
	}
	if len(found) == 0 {
		return damaged // its other extents may be good, and each is checked
	}
	return found
}
