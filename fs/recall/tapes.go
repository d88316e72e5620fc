package recall

import (
	"context"
	"fmt"

	"github.com/tapefs/tapefs/changer"
)

// tapes is what recall asks of the tape library.
type tapes interface {
	Inventory(ctx context.Context) (*changer.Inventory, error)
	Lease(ctx context.Context, r changer.Request) (lease, error)
}

// lease is one drive that this process may use. Not safe for concurrent use.
type lease interface {
	Wanted() bool
	// Held is an error once others may believe that the drive is free; it is to be given back then.
	Held() error
	Load(ctx context.Context, b changer.Barcode) error
	// Mount returns the mount point of the volume with this UUID, mounted read-only; with none, of whatever is there.
	Mount(ctx context.Context, uuid string) (dir, found string, err error)
	// Release unmounts, awaits the ltfs process and gives the drive back.
	Release(ctx context.Context) error
}

// library makes a changer.Library answer as tapes.
type library struct{ lib *changer.Library }

func (l library) Inventory(ctx context.Context) (*changer.Inventory, error) {
	return l.lib.Inventory(ctx)
}

func (l library) Lease(ctx context.Context, r changer.Request) (lease, error) {
	le, err := l.lib.Lease(ctx, r)
	if err != nil {
		return nil, err
	}
	return drive{le}, nil
}

type drive struct{ *changer.Lease }

func (d drive) Mount(ctx context.Context, uuid string) (dir, found string, err error) {
	v, err := d.Lease.Mount(ctx, changer.MountRequest{UUID: uuid, ReadOnly: true})
	if err != nil {
		return "", "", err
	}
	return v.Dir, v.UUID, nil
}

// place says how near a tape is: the less the nearer.
type place int

const (
	inDrive place = iota
	inSlot
	outside
)

// inventory is a reading of the library, by barcode.
type inventory struct {
	places map[string]place
	drives int // configured ones
	// Without a changer nobody reads labels: what is in the drive may be any tape, whatever it was, and loading proves it.
	unlabelled bool
}

func newInventory(inv *changer.Inventory) (*inventory, error) {
	i := &inventory{places: map[string]place{}}
	for _, s := range inv.Slots {
		if s.Full && s.Barcode != "" {
			i.places[string(s.Barcode)] = inSlot
		}
	}
	for _, d := range inv.Drives {
		if d.Serial == "" {
			continue
		}
		i.drives++
		if d.Full && d.Barcode != "" {
			i.places[string(d.Barcode)] = inDrive
		}
		i.unlabelled = i.unlabelled || d.Full && len(inv.Slots) == 0
	}
	if i.drives == 0 {
		return nil, fmt.Errorf("%w: the library shows none of the configured drives", changer.ErrNoDrive)
	}
	return i, nil
}

func (i *inventory) place(barcode string) place {
	p, ok := i.places[barcode]
	switch {
	case ok:
		return p
	case i.unlabelled:
		return inSlot
	}
	return outside
}
