package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// KeptState says in one word how well the bytes of a file or symlink are kept, as the catalog alone can tell. Whether the source still
// has the same file is for package safe to find out.
type KeptState string

// The words are part of the output of find and of catalog export.
const (
	KeptDurable KeptState = "durable" // in as many pools as its source asks for, on tapes that can be counted on
	KeptPending KeptState = "pending" // in fewer, since copies are not made yet, or no manifest on tape names them yet
	KeptSuspect KeptState = "suspect" // in fewer, since tapes with copies are suspect or retired
	KeptDamaged KeptState = "damaged" // a copy is damaged, and no other has taken its place in its pool
	KeptLost    KeptState = "lost"    // no copy of its bytes can be read
	KeptVoid    KeptState = "void"    // its bytes changed while they were packed: the next run takes the file again
)

// KeptStates lists them all.
var KeptStates = []KeptState{KeptDurable, KeptPending, KeptSuspect, KeptDamaged, KeptLost, KeptVoid}

// KeptObject is an object with its copies.
type KeptObject struct {
	ID          int64
	OID         string
	Fingerprint string // of the key that opens it
	PartSize    int64  // sealed bytes of each part but the last one
	State       ObjectState
	Places      []Place // copies that were not dropped, by id, with the parts that may be read
	Held        []int64 // pools with a copy that can be counted on
}

// KeptIn is an object that has a version's bytes, and where in its plain stream they begin.
type KeptIn struct {
	*KeptObject
	At int64
}

// Kept says where a version's bytes lie, and how well they are kept.
type Kept struct {
	Objects []KeptIn // that are planned, in use, or superseded; the oldest first

	unreadable KeptState
	damaged    bool
	held       map[int64]bool // pools with a copy that can be counted on
	durable    map[int64]bool // pools with a durable copy, wherever it lies
}

// Held is in how many pools a copy can be counted on.
func (k *Kept) Held() int { return len(k.held) }

// State is the word for it where asked copies in different pools are wanted.
func (k *Kept) State(asked int) KeptState {
	switch {
	case k.unreadable != "":
		return k.unreadable
	case k.damaged:
		return KeptDamaged
	case len(k.held) >= asked:
		return KeptDurable
	case len(k.durable) >= asked:
		return KeptSuspect
	}
	return KeptPending
}

// Keeper tells of many versions how they are kept. What it reads of an object it keeps for the next files of it, up to a bound, so an
// object that changes meanwhile may be told as it was. Not safe for concurrent use.
type Keeper struct {
	db      *DB
	objects map[int64]*KeptObject
}

// maxKept bounds the objects a Keeper remembers.
const maxKept = 4096

// Keeper returns a new one. There is nothing to close.
func (db *DB) Keeper() *Keeper { return &Keeper{db: db, objects: map[int64]*KeptObject{}} }

// Of tells of one file or symlink how it is kept. It must not be asked while rows of the catalog are read.
func (k *Keeper) Of(ctx context.Context, v *Version) (Kept, error) {
	kept := Kept{held: map[int64]bool{}, durable: map[int64]bool{}}
	if v.State == Void {
		kept.unreadable = KeptVoid
	}
	var err error
	if kept.Objects, err = k.members(ctx, v.Data); err != nil {
		return kept, err
	}
	var named map[int64]bool // pools whose tapes tell of the path; nil: each that has the object
	if v.Data != v.ID {
		own, err := k.members(ctx, v.ID)
		if err != nil {
			return kept, err
		}
		if !slices.ContainsFunc(own, func(o KeptIn) bool { return o.inUse() }) {
			if named, err = k.db.LinkNamed(ctx, v.ID); err != nil {
				return kept, err
			}
		}
	}
	anyDamage := false
	for _, o := range kept.Objects {
		count := func(pools map[int64]bool, pool int64) {
			if _, is := named[pool]; named == nil || is {
				pools[pool] = true
			}
		}
		for _, pool := range o.Held {
			count(kept.held, pool)
		}
		for _, p := range o.Places {
			if p.State == Durable && o.inUse() {
				count(kept.durable, p.Pool)
			}
			anyDamage = anyDamage || p.State == CopyDamaged
		}
		kept.damaged = kept.damaged || o.lacksCopy()
	}
	if anyDamage && kept.unreadable == "" {
		kept.unreadable, err = k.lost(ctx, v)
	}
	return kept, err
}

// inUse reports whether the object's bytes are packed and may be read.
func (o *KeptObject) inUse() bool { return o.State == ObjectPacked || o.State == ObjectSuperseded }

// lacksCopy reports whether a copy is damaged and its pool has no other one, made or to be made.
func (o *KeptObject) lacksCopy() bool {
	return o.State < ObjectSuperseded && slices.ContainsFunc(o.Places, func(p Place) bool {
		return p.State == CopyDamaged && !slices.ContainsFunc(o.Places, func(other Place) bool { return other.Pool == p.Pool && other.State < CopyDamaged })
	})
}

// lost is KeptLost for a version that nobody can read or that is known as lost.
func (k *Keeper) lost(ctx context.Context, v *Version) (KeptState, error) {
	why, err := k.db.Unreadable(ctx, v)
	if err != nil || why != "" {
		return KeptState(why), err
	}
	if known, err := k.db.IsLost(ctx, v.ID); err != nil || !known {
		return "", err
	}
	return KeptLost, nil
}

const textKeptMembers = `SELECT m.object, ` + memberAt + ` FROM member m JOIN object o ON o.id = m.object
	WHERE m.version = ? AND o.state < ` + sqlObjectDropped + ` ORDER BY m.object`

// members are the objects whose stream holds a version's own bytes or entry.
func (k *Keeper) members(ctx context.Context, id ID) ([]KeptIn, error) {
	type place struct{ object, at int64 }
	places, err := query(ctx, preparing{k.db}, "objects of a version", func(rows *sql.Rows) (p place, err error) {
		return p, rows.Scan(&p.object, &p.at)
	}, textKeptMembers, id)
	if err != nil {
		return nil, err
	}
	list := make([]KeptIn, 0, len(places))
	for _, p := range places {
		o := k.objects[p.object]
		if o == nil {
			if o, err = k.db.keptObject(ctx, p.object); err != nil {
				return nil, fmt.Errorf("read object %d: %w", p.object, err)
			}
			if len(k.objects) >= maxKept {
				clear(k.objects)
			}
			k.objects[p.object] = o
		}
		list = append(list, KeptIn{o, p.at})
	}
	return list, nil
}

func (db *DB) keptObject(ctx context.Context, id int64) (*KeptObject, error) {
	o := &KeptObject{ID: id}
	found, err := query(ctx, preparing{db}, "object", func(rows *sql.Rows) (struct{}, error) {
		return struct{}{}, rows.Scan(&o.OID, &o.Fingerprint, &o.PartSize, &o.State)
	}, `SELECT o.oid, k.fingerprint, o.part_size, o.state FROM object o JOIN seal_key k ON k.id = o.key WHERE o.id = ?`, id)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	copies, err := query(ctx, preparing{db}, "copies", scanCopy, `SELECT c.id, c.object, c.pool, c.state, c.verified FROM copy c
		WHERE c.object = ? AND c.state < `+sqlCopyDropped+` ORDER BY c.id`, id)
	if err != nil {
		return nil, err
	}
	if o.Places, err = db.places(ctx, copies); err != nil {
		return nil, err
	}
	held, err := db.HeldCopies(ctx, id)
	for _, h := range held {
		o.Held = append(o.Held, h.Pool)
	}
	return o, err
}
