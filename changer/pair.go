package changer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// Pairing is what the robot showed of one drive: the element at which the changer fills it, and its nodes.
type Pairing struct {
	Drive   DriveConfig // as it is configured
	Element int
	Device  string // sg node
	Tape    string // nst node
}

// Changed reports whether the configuration says something else.
func (p Pairing) Changed() bool {
	return p.Element != p.Drive.Element || canonical(p.Device) != canonical(p.Drive.Device) || canonical(p.Tape) != canonical(p.Drive.Tape)
}

// pairPatience is how long the nodes are watched for a tape that the robot has brought to a drive.
const pairPatience = 2 * time.Minute

// pairTries is how many cartridges are brought to one element: a drive may not take those of another generation.
const pairTries = 3

// Pair finds out which of the configured nodes is the drive at which element, whatever the configuration says: with every drive leased
// and all of them empty, the robot brings a cartridge to each element in turn, and the one node that gets a tape is the drive there.
// Nothing is mounted or written. The proofs of all drives are recorded as they were found.
//
// Where a link of udev leads from a serial number to a node, the serial number belongs to that node. Where none does, a drive keeps
// its element, and gets the node that was found there: nodes change their numbers between boots, and elements do not.
func (l *Library) Pair(ctx context.Context) (pairs []Pairing, err error) {
	const op = "pair drives and elements"
	if l.none() {
		return nil, fail(op, errors.New("there is no changer"), "")
	}
	var leases []*Lease
	defer func() {
		for _, le := range leases {
			err = errors.Join(err, le.Release(ctx))
		}
	}()
	for _, d := range l.drives() {
		le, err := l.Lease(ctx, Request{Drive: d.Serial, Purpose: "prove"})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		leases = append(leases, le)
		if err := le.mayUnload(ctx, op); err != nil {
			return nil, err
		}
	}
	if err := l.emptyAll(ctx, op, leases); err != nil {
		return nil, err
	}
	at := map[int]DriveConfig{} // by element: the entry whose tape node has got the tape
	for _, le := range leases {
		d, err := l.whoIsAt(ctx, op, le)
		if err != nil {
			return nil, err
		}
		at[le.d.Element] = d
	}
	if pairs, err = l.pairings(ctx, op, at); err != nil {
		return nil, err
	}
	for _, p := range pairs {
		proof := Proof{Serial: p.Drive.Serial, Element: p.Element, Node: canonical(p.Tape), At: time.Now().UTC().Truncate(time.Second)}
		if err := l.writeProof(proof); err != nil {
			return nil, fail(op, err, "")
		}
	}
	return pairs, nil
}

// emptyAll brings the tapes of all drives to slots, and waits until no node holds one.
func (l *Library) emptyAll(ctx context.Context, op string, leases []*Lease) error {
	if l.cfg.EjectBeforeUnload {
		for _, le := range leases { // whichever element it is at
			if err := le.eject(ctx); err != nil {
				return fmt.Errorf("%s: %w", op, err)
			}
		}
	}
	for _, le := range leases {
		if err := le.emptyElement(ctx, op, 0); err != nil {
			return err
		}
	}
	begin := time.Now()
	for p := newPoll(); ; {
		full, err := l.nodesWithTape(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if len(full) == 0 {
			return nil
		}
		if time.Since(begin) > pairPatience {
			return fail(op, fmt.Errorf("%s holds a tape still, and the changer has emptied all drives that are configured", full[0].Tape),
				"is it the node of a drive in library.drives at all? tapefs doctor --fix-config shows what is connected")
		}
		if err := p.wait(ctx); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
}

// emptyElement has the robot bring what is at a lease's element to a slot; 0 is the one it came from, or a free one.
func (le *Lease) emptyElement(ctx context.Context, op string, slot int) error {
	return le.move(ctx, op, func(inv *Inventory) (step, error) {
		e, ok := inv.element(le.d.Element)
		switch {
		case !ok:
			return step{}, fail(op, fmt.Errorf("the changer has no drive element %d: %w", le.d.Element, ErrNoDrive), "see mtx status, and set the element of drive "+le.d.Serial)
		case !e.Full:
			return step{}, nil
		}
		to := slot
		if to == 0 {
			if to, ok = inv.home(e); !ok {
				return step{}, fail(op, ErrLibraryFull, "take a tape out: tapefs tape export")
			}
		}
		return step{
			args: []string{"unload", strconv.Itoa(to), strconv.Itoa(le.d.Element)},
			done: func(inv *Inventory) bool {
				e, ok := inv.element(le.d.Element)
				s, found := inv.slot(to)
				return ok && !e.Full && found && s.Full
			},
		}, nil
	})
}

// nodesWithTape are the configured drives whose tape node does not say that it is empty.
func (l *Library) nodesWithTape(ctx context.Context) (full []DriveConfig, err error) {
	for _, d := range l.drives() {
		st, err := l.mtStatus(ctx, d)
		if err != nil {
			return nil, err
		}
		if !st.DoorOpen {
			full = append(full, d)
		}
	}
	return full, nil
}

// whoIsAt has cartridges brought to the element of a lease until one node holds it, and brings it back.
func (l *Library) whoIsAt(ctx context.Context, op string, le *Lease) (DriveConfig, error) {
	inv, err := l.Inventory(ctx)
	if err != nil {
		return DriveConfig{}, fmt.Errorf("%s: %w", op, err)
	}
	tries := 0
	var silent []Barcode
	for _, s := range inv.Slots {
		if !s.Full || s.Barcode == "" || s.Barcode.Cleaning() || tries == pairTries {
			continue
		}
		tries++
		l.log.Info("a cartridge is brought to an element, to see which drive is there", "tape", string(s.Barcode), "element", le.d.Element)
		full, err := le.show(ctx, op, s)
		switch {
		case err != nil:
			return DriveConfig{}, err
		case len(full) > 1:
			return DriveConfig{}, fail(op, fmt.Errorf("%s and %s both hold a tape, and the robot has filled element %d alone", full[0].Tape, full[1].Tape, le.d.Element), "look at the library")
		case len(full) == 1:
			return full[0], nil
		}
		silent = append(silent, s.Barcode)
	}
	if tries == 0 {
		return DriveConfig{}, fail(op, fmt.Errorf("there is no cartridge that could be brought to element %d", le.d.Element), "put any cartridge that fits into a slot; nothing is written to it")
	}
	return DriveConfig{}, fail(op, fmt.Errorf("no configured drive said that it held %v, which the robot brought to element %d", silent, le.d.Element),
		"is the drive switched on, and does it take these cartridges? tapefs doctor --fix-config shows what is connected")
}

// show brings a cartridge to an element, tells which nodes hold a tape then, and brings it back.
func (le *Lease) show(ctx context.Context, op string, s Slot) (full []DriveConfig, err error) {
	err = le.move(ctx, op, func(inv *Inventory) (step, error) {
		now, _ := inv.slot(s.Number)
		if e, ok := inv.element(le.d.Element); !ok || e.Full || now.Barcode != s.Barcode {
			return step{}, fail(op, fmt.Errorf("%w: somebody else moves tapes", ErrBusy), "try again when nobody works at the library")
		}
		return step{
			args: []string{"load", strconv.Itoa(s.Number), strconv.Itoa(le.d.Element)},
			done: func(inv *Inventory) bool {
				e, _ := inv.element(le.d.Element)
				return e.Full && e.Barcode == s.Barcode
			},
		}, nil
	})
	if err != nil {
		return nil, err
	}
	full, err = le.watchNodes(ctx)
	if le.l.cfg.EjectBeforeUnload && len(full) == 1 {
		at := *le
		at.d = full[0]
		err = errors.Join(err, at.eject(ctx))
	}
	return full, errors.Join(err, le.emptyElement(ctx, op, s.Number))
}

// watchNodes waits for the first node that holds a tape, and gives all that do then.
func (le *Lease) watchNodes(ctx context.Context) (full []DriveConfig, err error) {
	begin := time.Now()
	for p := newPoll(); ; {
		if full, err = le.l.nodesWithTape(ctx); err != nil || len(full) > 0 || time.Since(begin) > pairPatience {
			return full, err
		}
		if err := p.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// pairings gives each serial number its node and element.
func (l *Library) pairings(ctx context.Context, op string, at map[int]DriveConfig) ([]Pairing, error) {
	element := map[string]int{} // by tape node
	for e, d := range at {
		node := canonical(d.Tape)
		if other, twice := element[node]; twice {
			return nil, fail(op, fmt.Errorf("%s got the tapes of elements %d and %d", d.Tape, min(e, other), max(e, other)), "set tape: of each drive to its own node")
		}
		element[node] = e
	}
	var pairs []Pairing
	taken := map[string]string{}
	for _, d := range l.drives() {
		p := Pairing{Drive: d, Element: d.Element, Tape: at[d.Element].Tape}
		if node := l.nodeOfSerial(d); node != "" {
			e, found := element[node]
			if !found {
				return nil, fail(op, fmt.Errorf("serial number %s is %s, which is the tape node of no drive in library.drives", d.Serial, node), "tapefs doctor --fix-config shows what is connected")
			}
			p.Element, p.Tape = e, at[e].Tape
		}
		if other := taken[p.Tape]; other != "" {
			return nil, fail(op, fmt.Errorf("%s would belong to both %s and %s", p.Tape, other, d.Serial), "tapefs doctor --fix-config shows what is connected")
		}
		taken[p.Tape] = d.Serial
		p.Device = at[p.Element].Device
		if generic := l.genericOf(ctx, DriveConfig{Tape: p.Tape}); generic != "" {
			p.Device = generic
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// nodeOfSerial is the tape node to which udev's link of a serial number leads; "" when there is none.
func (l *Library) nodeOfSerial(d DriveConfig) string {
	link := filepath.Join(filepath.Dir(canonical(d.Tape)), "tape", "by-id", "scsi-"+d.Serial+"-nst")
	node, err := filepath.EvalSymlinks(link)
	if err != nil {
		return ""
	}
	return node
}
