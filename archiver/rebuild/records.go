package rebuild

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/catalog"
)

// manifestTaker turns a manifest's records into rows.
type manifestTaker struct {
	b             *rebuilder
	barcode, name string
	planned       string          // the object at hand when it was not packed yet: its members have no place
	skip          map[string]bool // objects that were refused

	refused int // records

	object *manifest.ObjectRecord // at hand, until its sums are complete
	sums   []catalog.Part
	dirs   []*manifest.DirRecord // until all are there that follow each other: those above come first then
}

// record takes one record over. What contradicts what is known is refused alone.
func (t *manifestTaker) record(ctx context.Context, record any) error {
	if dir, ok := record.(*manifest.DirRecord); ok {
		t.dirs = append(t.dirs, dir)
		return nil
	}
	if err := t.endDirs(ctx); err != nil {
		return err
	}
	if sum, ok := record.(*manifest.SumRecord); !ok || t.object == nil || sum.Object != t.object.Object {
		if err := t.end(ctx); err != nil {
			return err
		}
	}
	return t.believed(t.take(ctx, record))
}

// endDirs takes over directories, each after the one that it lies in.
func (t *manifestTaker) endDirs(ctx context.Context) error {
	dirs := t.dirs
	t.dirs = nil
	at := make(map[catalog.ID]int, len(dirs))
	for i, d := range dirs {
		at[d.ID] = i
	}
	var chain []int
	for i := range dirs {
		chain = chain[:0]
		for j, ok := i, true; ok && dirs[j] != nil; j, ok = at[dirs[j].Parent] {
			if slices.Contains(chain, j) {
				break // each lies in the other: whoever wrote that
			}
			chain = append(chain, j)
		}
		for _, j := range slices.Backward(chain) {
			if err := t.believed(t.node(ctx, &dirs[j].Node)); err != nil {
				return err
			}
			dirs[j] = nil
		}
	}
	return nil
}

// end takes over what is at hand and complete.
func (t *manifestTaker) end(ctx context.Context) error {
	if err := t.endDirs(ctx); err != nil {
		return err
	}
	if t.object == nil {
		return nil
	}
	r, sums := t.object, t.sums
	t.object, t.sums = nil, nil
	err := t.sealing(ctx, r, sums)
	if delete(t.skip, r.Object); err != nil {
		t.skip[r.Object] = true
	}
	return t.believed(err)
}

// believed refuses a record that the catalog cannot take, and passes all other errors on: what one manifest says never keeps
// the rest from being read.
func (t *manifestTaker) believed(err error) error {
	if err == nil || !catalog.Refusable(err) {
		return err
	}
	if t.refused++; t.refused <= refusalsMax {
		t.b.refuse(t.barcode, t.name, err)
	}
	return nil
}

func (t *manifestTaker) take(ctx context.Context, record any) error {
	rows := t.b.rows
	switch r := record.(type) {
	case *manifest.SourceRecord:
		return rows.Source(ctx, catalog.Source{Name: r.Name, URL: string(r.URL), Root: r.Root, Listed: r.Listed})
	case *manifest.KeyRecord:
		return rows.Key(ctx, catalog.SealKey{Fingerprint: r.Key, Cipher: r.Cipher, Iterations: r.Iterations, Added: r.Added, CopySeen: r.CopySeen})
	case *manifest.PoolRecord:
		_, err := rows.Pool(ctx, r.Name)
		return err
	case *manifest.TapeRecord:
		return rows.Tape(ctx, r.Tape())
	case *manifest.ObjectRecord:
		t.object = r
		return nil
	case *manifest.SumRecord:
		if t.object == nil {
			return nil // of an object that was refused, or that the manifest does not tell of
		}
		sum, err := hex.DecodeString(r.SHA256)
		if err != nil {
			return fmt.Errorf("sum of part %d of object %s: %w", r.Number, r.Object, err)
		}
		t.sums = append(t.sums, catalog.Part{Number: r.Number, Size: r.Size, SHA256: sum, Sums: r.Sums})
		return nil
	case *manifest.MemberRecord:
		if t.skip[r.Object] || t.planned == r.Object {
			return nil
		}
		v, err := r.Node.Version()
		if err != nil {
			return fmt.Errorf("member %d of object %s: %w", r.ID, r.Object, err)
		}
		return rows.Member(ctx, r.Object, catalog.Member{Version: r.ID, Header: r.Header, Data: r.Data}, &v)
	case *manifest.PartRecord:
		if t.skip[r.Object] {
			return nil
		}
		state, err := manifest.PartStates.Number(r.State)
		if err != nil {
			return fmt.Errorf("part %s: %w", r.Name, err)
		}
		return rows.CopyPart(ctx, catalog.RebuiltPart{OID: r.Object, Pool: r.Pool, Number: r.Number, Volume: r.Volume, Barcode: r.Barcode, Name: r.Name,
			Size: r.Size, StartBlock: r.StartBlock, State: catalog.PartState(state)})
	case *manifest.ChangeRecord:
		var now *catalog.Version
		if r.Now != nil {
			v, err := r.Now.Version()
			if err != nil {
				return fmt.Errorf("change %d: %w", r.ID, err)
			}
			now = &v
		}
		return rows.Change(ctx, catalog.Change{ID: r.ID, At: r.At, Kind: r.Kind, Version: r.Version, Detail: string(r.Detail)}, now)
	}
	return nil
}

func (t *manifestTaker) node(ctx context.Context, n *manifest.Node) error {
	v, err := n.Version()
	if err != nil {
		return fmt.Errorf("directory %d: %w", n.ID, err)
	}
	return t.b.rows.Node(ctx, &v)
}

func (t *manifestTaker) sealing(ctx context.Context, r *manifest.ObjectRecord, sums []catalog.Part) error {
	state, err := manifest.ObjectStates.Number(r.State)
	if err != nil {
		return fmt.Errorf("object %s: %w", r.Object, err)
	}
	salt, err := hex.DecodeString(r.Salt)
	if err != nil {
		return fmt.Errorf("object %s: salt: %w", r.Object, err)
	}
	t.planned = ""
	if state == int(catalog.ObjectPlanned) {
		t.planned = r.Object
	}
	return t.b.rows.Sealing(ctx, &catalog.Object{OID: r.Object, Fingerprint: r.Key, Salt: salt, PartSize: r.PartSize, PlainSize: r.PlainSize,
		SealedSize: r.SealedSize, State: catalog.ObjectState(state), Created: r.Created}, r.Source, sums)
}
