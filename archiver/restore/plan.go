package restore

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// tapeMemory is what the list of one tape may take before it spills to the run folder, bytes.
const tapeMemory = 2 << 20

// tapeList is what is read from one tape, in the order of the tape. The barcode "" stands for the spool.
type tapeList struct {
	barcode string
	near    int
	list    extsort.Sorter
	pieces  int64
	bytes   int64
}

// piece is a range of a file that lies in one part on one tape.
type piece struct {
	id         catalog.ID
	arg        int
	from, size int64 // bytes of the file
	of         int   // how many pieces the file has

	object, data int64 // where the file's bytes were when this was planned: the object, and the offset in its plain stream
}

const pieceSize = 8 + 4 + 8 + 8 + 4 + 8 + 8

func (p piece) encode() []byte {
	b := make([]byte, 0, pieceSize)
	b = binary.BigEndian.AppendUint64(b, uint64(p.id))
	b = binary.BigEndian.AppendUint32(b, uint32(p.arg))
	b = binary.BigEndian.AppendUint64(b, uint64(p.from))
	b = binary.BigEndian.AppendUint64(b, uint64(p.size))
	b = binary.BigEndian.AppendUint32(b, uint32(p.of))
	b = binary.BigEndian.AppendUint64(b, uint64(p.object))
	return binary.BigEndian.AppendUint64(b, uint64(p.data))
}

func decodePiece(b []byte) (piece, error) {
	if len(b) != pieceSize {
		return piece{}, fmt.Errorf("read the plan: a record has %d bytes", len(b))
	}
	number := func(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }
	return piece{id: catalog.ID(number(0)), arg: int(binary.BigEndian.Uint32(b[8:])), from: number(12), size: number(20),
		of: int(binary.BigEndian.Uint32(b[28:])), object: number(32), data: number(40)}, nil
}

// tapeKey orders by start block, then file on the tape, then offset in it. A block that is not known (-1)
// comes first.
func tapeKey(block, copyPart, offset int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(block+1))
	b = binary.BigEndian.AppendUint64(b, uint64(copyPart))
	return binary.BigEndian.AppendUint64(b, uint64(offset))
}

// placements remembers where the last objects lie: a bundle has thousands of files.
type placements struct {
	db    *catalog.DB
	known map[int64]placed
}

type placed struct {
	catalog.Location
	at time.Time
}

// believePlacement is how long a location is believed: another process may move objects to other tapes meanwhile.
const believePlacement = time.Minute

// maxPlacements bounds the memory: a location of a hundred parts takes some ten KiB.
const maxPlacements = 256

func newPlacements(db *catalog.DB) placements {
	return placements{db, map[int64]placed{}}
}

// of says where a version's bytes are; only Object, Data and Places count, and Batch for what is spooled.
func (p placements) of(ctx context.Context, v *catalog.Version) (catalog.Location, error) {
	if v.Batch != 0 {
		loc, err := p.db.Locate(ctx, v.ID)
		if err != nil || loc.Batch != nil {
			return loc, err
		}
	}
	object, data, err := p.db.BytesAt(ctx, v.Data)
	if err != nil || object == 0 {
		return catalog.Location{}, err
	}
	return p.in(ctx, v, object, data)
}

// in is of for a version whose bytes lie at data of an object, or did so a while ago.
func (p placements) in(ctx context.Context, v *catalog.Version, object, data int64) (loc catalog.Location, err error) {
	known, ok := p.known[object]
	loc = known.Location
	if !ok || time.Since(known.at) > believePlacement {
		if loc, err = p.db.Locate(ctx, v.ID); err != nil {
			return loc, err
		}
		if loc.Object.ID != object {
			return loc, nil // it was packed anew just now
		}
		if len(p.known) >= maxPlacements {
			clear(p.known)
		}
		loc.Batch = nil
		p.known[object] = placed{loc, time.Now()}
	}
	loc.Data = data
	return loc, nil
}

// How near a tape is; the recall queue prefers in the same order.
const (
	nearDrive = iota
	nearSlot
	nearNowhere
)

func (r *restoration) near(barcode string) int {
	if r.inv == nil {
		return nearNowhere
	}
	if _, ok := r.inv.FindDrive(changer.Barcode(barcode)); ok || len(r.inv.Slots) == 0 {
		return nearDrive // without a changer nobody knows labels: reading proves it
	}
	if _, ok := r.inv.FindSlot(changer.Barcode(barcode)); ok {
		return nearSlot
	}
	return nearNowhere
}

// planFile puts a file's pieces into the lists of their tapes, or notes which tape is missing.
func (r *restoration) planFile(ctx context.Context, arg int, dest string, v *catalog.Version) error {
	loc, err := r.where.of(ctx, v)
	if err != nil {
		return err
	}
	if loc.Batch != nil {
		return r.tape("", nearDrive).put(tapeKey(0, 0, int64(v.ID)), piece{id: v.ID, arg: arg, size: v.Size, of: 1})
	}
	if loc.Object.ID == 0 || loc.Object.PartSize <= 0 || loc.Data < 0 || len(loc.Places) == 0 {
		r.fail(dest, fmt.Errorf("no copy of version %d is left", v.ID))
		return nil
	}
	type at struct {
		part catalog.CopyPart
		p    piece
		off  int64
	}
	var found []at
	begin := loc.Data + crypto.HeaderSize
	for from := int64(0); from < v.Size; {
		sealed := begin + from
		number, in := sealed/loc.Object.PartSize, sealed%loc.Object.PartSize
		size := min(v.Size-from, loc.Object.PartSize-in)
		part, ok := r.nearest(&loc, int(number), in+size)
		if !ok {
			r.fail(dest, fmt.Errorf("part %d of object %s has no copy", number, loc.Object.OID))
			return nil
		}
		if r.near(part.Barcode) == nearNowhere {
			r.miss(part.Barcode, v)
			return nil
		}
		found = append(found, at{part, piece{id: v.ID, arg: arg, from: from, size: size, object: loc.Object.ID, data: loc.Data}, in})
		from += size
	}
	for _, f := range found {
		f.p.of = len(found)
		t := r.tape(f.part.Barcode, r.near(f.part.Barcode))
		if err := t.put(tapeKey(f.part.StartBlock, f.part.ID, f.off), f.p); err != nil {
			return err
		}
	}
	return nil
}

// nearest is the copy of a part that is the easiest to reach; it must hold the part up to end.
func (r *restoration) nearest(loc *catalog.Location, number int, end int64) (best catalog.CopyPart, ok bool) {
	for _, place := range loc.Places {
		for _, p := range place.Parts {
			if p.Number != number || p.Size < end {
				continue
			}
			if !ok || r.near(p.Barcode) < r.near(best.Barcode) {
				best, ok = p, true
			}
		}
	}
	return best, ok
}

func (r *restoration) tape(barcode string, near int) *tapeList {
	t := r.tapes[barcode]
	if t == nil {
		t = &tapeList{barcode: barcode, near: near, list: extsort.Sorter{Dir: r.env.Config.RunDir, Limit: tapeMemory}}
		r.tapes[barcode] = t
	}
	return t
}

func (t *tapeList) put(key []byte, p piece) error {
	t.pieces++
	t.bytes += p.size
	return t.list.Add(key, p.encode())
}
