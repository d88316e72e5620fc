package changer

import (
	"context"
	"errors"
	"fmt"
)

// Without a changer the operator is the robot: there is one drive, nobody reads barcodes, and only a
// mount tells which tape it is.

func (l *Library) noneInventory(ctx context.Context) (*Inventory, error) {
	d := l.drives()[0]
	st, err := l.mtStatus(ctx, d)
	if err != nil {
		return nil, err
	}
	e := DriveElement{Number: d.Element, Serial: d.Serial, Full: !st.DoorOpen}
	if e.Full {
		l.mu.Lock()
		e.Barcode = l.alone
		l.mu.Unlock()
	}
	return &Inventory{Drives: []DriveElement{e}}, nil
}

// Alone tells that there is no changer: what is in the drive is known when a mount has shown it, see Lease.Identify.
func (l *Library) Alone() bool { return l.none() }

func (l *Library) sawAlone(b Barcode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alone = b
}

// Identify looks which tape is in the drive of a library without a changer: by the name that format gave its volume.
// Until the drive is seen empty the inventory has it. "" for a tape without a volume, and for an empty drive.
func (le *Lease) Identify(ctx context.Context) (Barcode, error) {
	const op = "look which tape is in the drive"
	if !le.l.none() {
		return "", fail(op, errors.New("a changer reads the labels"), "")
	}
	st, err := le.l.mtStatus(ctx, le.d)
	if err != nil || st.DoorOpen {
		le.proved = ""
		return "", err
	}
	if err := le.ready(ctx, false); err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	b, _, err := le.look(ctx)
	if errors.Is(err, ErrNotFormatted) {
		return "", nil
	}
	if errors.Is(err, ErrNeedsCheck) {
		if b = le.sessionHere(ctx); b != "" {
			le.l.sawAlone(b)
			return b, nil // not proved: Load looks again
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	le.proved = b
	return b, nil
}

// look mounts what is in the drive and gives its volume's name, and the serial in the cartridge's memory.
func (le *Lease) look(ctx context.Context) (name Barcode, serial string, err error) {
	le.l.sawAlone("")
	v, err := le.Mount(ctx, MountRequest{ReadOnly: true})
	if err != nil {
		return "", "", err
	}
	name, serial = Barcode(v.Name), v.Attrs("mamBarcode")["mamBarcode"]
	if err := v.Unmount(ctx); err != nil {
		return "", "", err
	}
	le.l.sawAlone(name)
	return name, serial, nil
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
	name, serial, err := le.look(ctx)
	if errors.Is(err, ErrNotFormatted) {
		return nil
	}
	if errors.Is(err, ErrNeedsCheck) && le.sessionHere(ctx) == b {
		return nil // Mount proves it
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if name != b && (serial == "" || serial != b.Serial()) {
		return fail(op, fmt.Errorf("%w: %q", ErrWrongVolume, name), fmt.Sprintf("take it out and insert tape %s into drive %s", b, le.d.Serial))
	}
	le.proved = b
	le.l.sawAlone(b)
	return nil
}
