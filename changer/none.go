package changer

import (
	"context"
	"errors"
	"fmt"
)

// Without a changer the operator is the robot: there is one drive, nobody reads barcodes, and only a
// mount tells which tape it is.

func (l *Library) noneInventory(ctx context.Context) (*Inventory, error) {
	d := l.cfg.Drives[0]
	st, err := l.mtStatus(ctx, d)
	if err != nil {
		return nil, err
	}
	return &Inventory{Drives: []DriveElement{{Number: d.Element, Serial: d.Serial, Full: !st.DoorOpen}}}, nil
}

// noneLoad checks that the tape in the drive can be the wanted one: its volume has the name that format
// gave it, or there is no volume yet. Otherwise the error's hint says which tape to insert.
func (le *Lease) noneLoad(ctx context.Context, b Barcode) error {
	op := "load tape " + string(b)
	st, err := le.l.mtStatus(ctx, le.d)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if st.DoorOpen {
		le.proved = ""
		return fail(op, ErrNoMedium, fmt.Sprintf("insert tape %s into drive %s", b, le.d.Serial))
	}
	if err := le.ready(ctx, false); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if le.proved == b {
		return nil
	}
	v, err := le.Mount(ctx, MountRequest{ReadOnly: true})
	if errors.Is(err, ErrNotFormatted) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	name, serial := v.Name, v.Attrs("mamBarcode")["mamBarcode"]
	if err := v.Unmount(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if name != string(b) && (serial == "" || serial != b.Serial()) {
		return fail(op, fmt.Errorf("%w: %q", ErrWrongVolume, name), fmt.Sprintf("take it out and insert tape %s into drive %s", b, le.d.Serial))
	}
	le.proved = b
	return nil
}
