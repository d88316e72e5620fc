package changer

import "context"

// TakenOut reports whether a tape that was loaded into this drive is there no more: the drive says that it is empty, or the changer
// has nothing or another tape in it. What nobody can tell is no.
func (le *Lease) TakenOut(ctx context.Context, b Barcode) bool {
	if st, err := le.l.mtStatus(ctx, le.d); err == nil && st.DoorOpen {
		return true
	}
	if le.l.none() {
		return false
	}
	inv, err := le.l.Inventory(ctx)
	if err != nil {
		return false
	}
	e, ok := inv.element(le.d.Element)
	return ok && (!e.Full || e.Barcode != b)
}
