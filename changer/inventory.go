package changer

import (
	"context"
	"fmt"
	"slices"
)

// Inventory is one reading of mtx status.
type Inventory struct {
	Drives []DriveElement
	Slots  []Slot

	ReadAs  map[Barcode]Barcode   // known tapes whose label the changer reads with or without a media suffix: as what
	Unclear map[Barcode][]Barcode // labels that may be those of several known tapes
}

// DriveElement is a data transfer element of the changer.
type DriveElement struct {
	Number   int
	Serial   string // of the configured drive, "" when none is configured for it
	Full     bool
	Barcode  Barcode
	FromSlot int // 0 unknown
}

// Slot is a storage element; numbers begin at 1.
type Slot struct {
	Number       int
	ImportExport bool
	Full         bool
	Barcode      Barcode
}

// FindSlot gives the slot that holds the tape.
func (inv *Inventory) FindSlot(b Barcode) (Slot, bool) {
	for _, s := range inv.Slots {
		if b != "" && s.Full && s.Barcode == b {
			return s, true
		}
	}
	return Slot{}, false
}

// FindDrive gives the drive that holds the tape.
func (inv *Inventory) FindDrive(b Barcode) (DriveElement, bool) {
	for _, d := range inv.Drives {
		if b != "" && d.Full && d.Barcode == b {
			return d, true
		}
	}
	return DriveElement{}, false
}

// Barcodes lists every cartridge, cleaning ones and those with an unclear label left out.
func (inv *Inventory) Barcodes() []Barcode {
	var out []Barcode
	add := func(b Barcode) {
		if b != "" && !b.Cleaning() && inv.Unclear[b] == nil && !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	for _, d := range inv.Drives {
		add(d.Barcode)
	}
	for _, s := range inv.Slots {
		add(s.Barcode)
	}
	slices.Sort(out)
	return out
}

// count tells how many cartridges carry this barcode.
func (inv *Inventory) count(b Barcode) int {
	n := 0
	for _, d := range inv.Drives {
		if d.Full && d.Barcode == b {
			n++
		}
	}
	for _, s := range inv.Slots {
		if s.Full && s.Barcode == b {
			n++
		}
	}
	return n
}

func (inv *Inventory) slot(number int) (Slot, bool) {
	for _, s := range inv.Slots {
		if s.Number == number {
			return s, true
		}
	}
	return Slot{}, false
}

func (inv *Inventory) element(number int) (DriveElement, bool) {
	for _, d := range inv.Drives {
		if d.Number == number {
			return d, true
		}
	}
	return DriveElement{}, false
}

// home finds where the tape of a drive goes: the slot it came from, or a free one that is neither a
// mail slot nor the home of another loaded tape, or any free one that is no mail slot.
func (inv *Inventory) home(e DriveElement) (int, bool) {
	if s, ok := inv.slot(e.FromSlot); ok && !s.Full {
		return s.Number, true
	}
	taken := map[int]bool{}
	for _, d := range inv.Drives {
		if d.Full && d.Number != e.Number {
			taken[d.FromSlot] = true
		}
	}
	spare := 0
	for _, s := range inv.Slots {
		if s.Full || s.ImportExport {
			continue
		}
		if !taken[s.Number] {
			return s.Number, true
		}
		if spare == 0 {
			spare = s.Number
		}
	}
	return spare, spare != 0
}

// attentions is how often a changer may answer that something happened, as after its door was open, before it is believed
// to be out of order. Each such answer is given once to each program that asks.
const attentions = 3

// Inventory reads what the changer holds. Without a changer it is the one drive, and no barcode.
func (l *Library) Inventory(ctx context.Context) (*Inventory, error) {
	if l.none() {
		return l.noneInventory(ctx)
	}
	res, err := l.query(ctx, l.cfg.Programs.Mtx, "-f", l.cfg.Changer, "status")
	for range attentions {
		if err == nil || !unitAttention(res.stderr) {
			break
		}
		res, err = l.query(ctx, l.cfg.Programs.Mtx, "-f", l.cfg.Changer, "status")
	}
	if err != nil {
		return nil, mtxFail("read inventory", err, res.stderr)
	}
	inv, err := parseStatus(res.stdout)
	if err != nil {
		return nil, fail("read inventory", fmt.Errorf("%s: %w", l.cfg.Changer, err), "is library.changer the changer's device? see: lsscsi -g")
	}
	for i := range inv.Drives {
		for _, d := range l.drives() {
			if d.Element == inv.Drives[i].Number {
				inv.Drives[i].Serial = d.Serial
			}
		}
	}
	inv.useNames(l.known(ctx))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readAs = inv.ReadAs
	return inv, nil
}
