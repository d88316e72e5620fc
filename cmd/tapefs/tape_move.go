package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type tapeLoadCmd struct {
	Tape  string `arg:"" name:"barcode|slot" help:"The tape: its barcode, or the slot it lies in."`
	Drive string `help:"Into this drive: its number in the library, or its serial." placeholder:"DRIVE"`
}

type tapeUnloadCmd struct {
	Tape string `arg:"" optional:"" name:"barcode|drive" help:"The tape's barcode, or the drive's number or serial; needed where there are several drives."`
}

type tapeMoveCmd struct {
	From string `arg:"" help:"The tape's barcode, or the slot it lies in."`
	To   string `arg:"" help:"A slot's number, mail for a free mail slot, or free for any other free slot."`
}

// movedJSON says where a cartridge is now.
type movedJSON struct {
	Barcode string `json:"barcode,omitempty"`
	Slot    int    `json:"slot,omitempty"`
	Mail    bool   `json:"mail,omitempty"`
	Drive   *int   `json:"drive,omitempty"`
	Serial  string `json:"serial,omitempty"`
	Moved   bool   `json:"moved"` // false: it was there already
}

// print says where the tape is, in one line or as JSON.
func (m movedJSON) print(a *app) error {
	if a.JSON {
		return ui.WriteJSON(a.stdout, m)
	}
	where := fmt.Sprintf("slot %d", m.Slot)
	switch {
	case m.Drive != nil:
		where = fmt.Sprintf("drive %d (%s)", *m.Drive, m.Serial)
	case m.Slot == 0:
		where = "out of the drive"
	case m.Mail:
		where = fmt.Sprintf("mail slot %d", m.Slot)
	}
	verb := "is in"
	if m.Slot == 0 && m.Drive == nil {
		verb = "is"
	}
	if !m.Moved {
		where += " already"
	}
	fmt.Fprintf(a.stdout, "%s %s %s\n", labelText(m.Barcode), verb, where)
	return nil
}

func labelText(barcode string) string {
	if barcode == "" {
		return "the tape without barcode"
	}
	return barcode
}

// hand is what the commands of a person at the machine work with.
type hand struct {
	*app
	conf *settings
	lib  *changer.Library
}

// atLibrary opens the configured library. Nothing is moved.
func (a *app) atLibrary() (*hand, error) {
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	lib, err := a.library(conf)
	if err != nil {
		return nil, err
	}
	return &hand{a, conf, lib}, nil
}

// lease waits for a drive and says for whom it waits.
func (h *hand) lease(ctx context.Context, r changer.Request) (*changer.Lease, error) {
	r.Wait = func(holder string) { fmt.Fprintf(h.stderr, "waiting for a drive; it is used by %s\n", holder) }
	r.Told = true
	return h.lib.Lease(ctx, r)
}

// patient makes Ctrl-C wait for a move of the robot that has begun, and say so.
func (a *app) patient(ctx context.Context) context.Context {
	return changer.Patient(ctx, func(doing string) {
		fmt.Fprintf(a.stderr, "interrupted: waiting for the robot, which has begun to %s\n", doing)
	})
}

// release gives a drive back, also after Ctrl-C, and joins its error to the command's.
func release(ctx context.Context, lease *changer.Lease, err *error) {
	*err = errors.Join(*err, lease.Release(context.WithoutCancel(ctx)))
}

// spot is where a cartridge is.
type spot struct {
	label changer.Barcode
	slot  changer.Slot
	drive *changer.DriveElement // nil: in the slot
}

// find reads a word as a barcode that is in the library, else as the number of a slot that is full.
func find(inv *changer.Inventory, word string) (spot, error) {
	op := "find tape " + word
	b := changer.Barcode(word)
	var found []spot
	for _, d := range inv.Drives {
		if d.Full && d.Barcode == b {
			found = append(found, spot{label: b, drive: &d})
		}
	}
	for _, s := range inv.Slots {
		if s.Full && s.Barcode == b {
			found = append(found, spot{label: b, slot: s})
		}
	}
	if other, ok := inv.Spelt(b); len(found) == 0 && ok {
		return find(inv, string(other))
	}
	switch {
	case len(found) > 1:
		return spot{}, withHint(fmt.Errorf("%s: %d cartridges carry this barcode", op, len(found)), "name the slot instead, and take one of them out of the library")
	case len(found) == 1:
		return found[0], nil
	}
	n, err := strconv.Atoi(word)
	if err != nil {
		return spot{}, withHint(fmt.Errorf("%s: %w", op, changer.ErrNotInLibrary), "put it into a mail slot and run: tapefs tape import")
	}
	s, ok := inv.SlotNumber(n)
	switch {
	case !ok:
		return spot{}, withHint(usagef("find slot %d: the library has no such slot", n), "tapefs library status shows them")
	case !s.Full:
		for _, d := range inv.Drives {
			if d.Full && d.FromSlot == n {
				return spot{label: d.Barcode, drive: &d}, nil
			}
		}
		return spot{}, withHint(fmt.Errorf("find slot %d: it is empty: %w", n, changer.ErrNotInLibrary), "tapefs library status shows where tapes are")
	}
	return spot{label: s.Barcode, slot: s}, nil
}

// driveNamed finds a configured drive by its serial or its number in the library; "" is the only one.
func (h *hand) driveNamed(word string) (changer.DriveConfig, error) {
	drives := h.lib.Configured()
	if word == "" && len(drives) == 1 {
		return drives[0], nil
	}
	for _, d := range drives {
		if d.Serial == word || strconv.Itoa(d.Element) == word {
			return d, nil
		}
	}
	if word == "" {
		return changer.DriveConfig{}, usagef("name one of the %d drives by number or serial", len(drives))
	}
	return changer.DriveConfig{}, withHint(usagef("no drive %s is configured", word), "tapefs drive status shows them")
}

func (c *tapeLoadCmd) Run(ctx context.Context, a *app) error {
	ctx = a.patient(ctx)
	h, err := a.atLibrary()
	if err != nil {
		return err
	}
	serial := ""
	if c.Drive != "" {
		d, err := h.driveNamed(c.Drive)
		if err != nil {
			return err
		}
		serial = d.Serial
	}
	if h.lib.Changer() == changer.None {
		return h.loadByHand(ctx, changer.Barcode(c.Tape))
	}
	inv, err := h.lib.Inventory(ctx)
	if err != nil {
		return err
	}
	at, err := find(inv, c.Tape)
	if err != nil {
		return err
	}
	if d := at.drive; d != nil && d.Serial != "" && (serial == "" || d.Serial == serial) {
		out, err := h.ejected(ctx, d.Serial)
		if err != nil {
			return err
		}
		if !out {
			return movedJSON{Barcode: string(at.label), Drive: &d.Number, Serial: d.Serial}.print(a)
		}
		serial = d.Serial // the robot takes it out, and pushes it in again
	}
	var d changer.DriveConfig
	if at.label == "" {
		d, err = h.loadSlot(ctx, at, serial)
	} else {
		d, err = h.loadBarcode(ctx, at.label, serial)
	}
	if err != nil {
		return err
	}
	return movedJSON{Barcode: string(at.label), Drive: &d.Element, Serial: d.Serial, Moved: true}.print(a)
}

// ejected tells whether a drive holds its tape in the mouth, not threaded.
func (h *hand) ejected(ctx context.Context, serial string) (bool, error) {
	drives, err := h.lib.Drives(ctx)
	return slices.ContainsFunc(drives, func(s changer.DriveState) bool {
		return s.Serial == serial && driveStateOf(s).State == "ejected"
	}), err
}

func (h *hand) loadBarcode(ctx context.Context, b changer.Barcode, serial string) (d changer.DriveConfig, err error) {
	lease, err := h.lease(ctx, changer.Request{Barcode: b, Drive: serial, Purpose: "load"})
	if err != nil {
		return d, err
	}
	defer release(ctx, lease, &err)
	return lease.Drive(), lease.Load(ctx, b)
}

// loadSlot loads a tape that has no barcode. What the drive holds goes home first.
func (h *hand) loadSlot(ctx context.Context, at spot, serial string) (d changer.DriveConfig, err error) {
	if at.drive != nil {
		return d, withHint(fmt.Errorf("load tape: it is in drive %d", at.drive.Number), "unload it first: tapefs tape unload %d", at.drive.Number)
	}
	lease, err := h.lease(ctx, changer.Request{Drive: serial, Purpose: "load"})
	if err != nil {
		return d, err
	}
	defer release(ctx, lease, &err)
	if err := lease.Unload(ctx); err != nil {
		return d, err
	}
	if err := lease.LoadSlot(ctx, at.slot.Number, at.label); err != nil {
		return d, err
	}
	return lease.Drive(), lease.Ready(ctx)
}

// loadByHand is load without a changer: the operator is the robot, and is told what is missing.
func (h *hand) loadByHand(ctx context.Context, b changer.Barcode) (err error) {
	lease, err := h.lease(ctx, changer.Request{Barcode: b, Purpose: "load"})
	if err != nil {
		return err
	}
	defer release(ctx, lease, &err)
	err = lease.Load(ctx, b)
	if errors.Is(err, changer.ErrNoMedium) || errors.Is(err, changer.ErrWrongVolume) {
		return fmt.Errorf("%w: %w", archiver.ErrNeedsOperator, err)
	}
	if err != nil {
		return err
	}
	d := lease.Drive()
	return movedJSON{Barcode: string(b), Drive: &d.Element, Serial: d.Serial}.print(h.app)
}

func (c *tapeUnloadCmd) Run(ctx context.Context, a *app) error {
	ctx = a.patient(ctx)
	h, err := a.atLibrary()
	if err != nil {
		return err
	}
	if h.lib.Changer() == changer.None {
		m, err := h.unload(ctx, changer.Request{Drive: h.lib.Configured()[0].Serial}, "", 0, nil)
		if err != nil {
			return err
		}
		return m.print(a)
	}
	inv, err := h.lib.Inventory(ctx)
	if err != nil {
		return err
	}
	var request changer.Request
	var want changer.Barcode
	at, err := find(inv, c.Tape)
	named := err == nil && changer.Barcode(c.Tape).Same(at.label) // not by its slot
	switch {
	case named && at.drive != nil:
		request.Barcode, want = at.label, at.label
	case named && c.Tape != "":
		return movedJSON{Barcode: string(at.label), Slot: at.slot.Number, Mail: at.slot.ImportExport}.print(a)
	default:
		d, derr := h.driveNamed(c.Tape)
		if derr != nil {
			return derr
		}
		e, ok := inv.Element(d.Element)
		if ok && !e.Full {
			return withHint(fmt.Errorf("unload drive %d: %w", d.Element, changer.ErrNoMedium), "tapefs library status shows where tapes are")
		}
		request.Drive, want = d.Serial, e.Barcode
	}
	m, err := h.unload(ctx, request, want, 0, nil)
	if err != nil {
		return err
	}
	return m.print(a)
}

// unload brings the tape of a drive to a slot; 0 is the one it came from, or a free one. want is the barcode that
// the person saw in the drive: another tape that came there while the drive was waited for stays. may (or nil)
// has the last word when the drive is ours.
func (h *hand) unload(ctx context.Context, r changer.Request, want changer.Barcode, slot int, may func() error) (m movedJSON, err error) {
	r.Purpose = "unload"
	lease, err := h.lease(ctx, r)
	if err != nil {
		return m, err
	}
	defer release(ctx, lease, &err)
	before, err := h.lib.Inventory(ctx)
	if err != nil {
		return m, err
	}
	e, _ := before.Element(lease.Drive().Element)
	if want != "" && e.Barcode != want {
		if s, ok := before.FindSlot(want); ok && slot == 0 {
			return movedJSON{Barcode: string(want), Slot: s.Number, Mail: s.ImportExport}, nil
		}
		return m, withHint(fmt.Errorf("unload tape %s: it is not in drive %d any more", want, lease.Drive().Element), "tapefs library status shows where it is")
	}
	if may != nil {
		if err := may(); err != nil {
			return m, err
		}
	}
	m.Barcode, m.Moved = string(e.Barcode), true
	if slot != 0 {
		err = lease.UnloadTo(ctx, slot)
	} else {
		err = lease.Unload(ctx)
	}
	if err != nil || h.lib.Changer() == changer.None {
		return m, err
	}
	after, err := h.lib.Inventory(ctx)
	if err != nil {
		return m, err
	}
	for _, s := range after.Slots {
		if was, _ := before.SlotNumber(s.Number); s.Full && !was.Full && s.Barcode == e.Barcode {
			m.Slot, m.Mail = s.Number, s.ImportExport
		}
	}
	return m, nil
}

func (c *tapeMoveCmd) Run(ctx context.Context, a *app) error {
	ctx = a.patient(ctx)
	h, err := a.atLibrary()
	if err != nil {
		return err
	}
	if h.lib.Changer() == changer.None {
		return usagef("move tape: there is no changer; the operator moves the tapes")
	}
	inv, err := h.lib.Inventory(ctx)
	if err != nil {
		return err
	}
	at, err := find(inv, c.From)
	if err != nil {
		return err
	}
	to, err := slotNamed(inv, c.To)
	if err != nil {
		return err
	}
	m, err := h.moveTo(ctx, at, to, nil)
	if err != nil {
		return err
	}
	return m.print(a)
}

// slotNamed reads a number, mail or free as a slot to move something to.
func slotNamed(inv *changer.Inventory, word string) (changer.Slot, error) {
	if word == "mail" || word == "free" {
		s, ok := inv.SlotNumber(inv.FreeSlot(word == "mail"))
		switch {
		case ok:
			return s, nil
		case word == "mail" && !hasMail(inv):
			return s, withHint(fmt.Errorf("find a mail slot: %w", changer.ErrLibraryFull), "this library has none: open its door and take the tape out by hand")
		case word == "mail":
			return s, withHint(fmt.Errorf("find a mail slot: %w", changer.ErrLibraryFull), "empty the mail slots first")
		}
		return s, withHint(fmt.Errorf("find a slot: %w", changer.ErrLibraryFull), "take a tape out: tapefs tape export")
	}
	n, err := strconv.Atoi(word)
	if err != nil {
		return changer.Slot{}, withHint(usagef("%q is neither a slot's number nor mail nor free", word), "to load a tape: tapefs tape load")
	}
	s, ok := inv.SlotNumber(n)
	if !ok {
		return s, withHint(usagef("the library has no slot %d", n), "tapefs library status shows them")
	}
	return s, nil
}

func hasMail(inv *changer.Inventory) bool {
	for _, s := range inv.Slots {
		if s.ImportExport {
			return true
		}
	}
	return false
}

// moveTo brings a cartridge to a slot, out of a drive once nobody uses that. may (or nil) has the last word.
func (h *hand) moveTo(ctx context.Context, at spot, to changer.Slot, may func() error) (movedJSON, error) {
	m := movedJSON{Barcode: string(at.label), Slot: to.Number, Mail: to.ImportExport, Moved: true}
	if at.drive == nil {
		if may != nil {
			if err := may(); err != nil {
				return m, err
			}
		}
		m.Moved = at.slot.Number != to.Number
		return m, h.lib.Transfer(ctx, at.slot.Number, to.Number, at.label)
	}
	if at.drive.Serial == "" {
		return m, withHint(fmt.Errorf("move tape %s: it is in drive element %d, which is not configured: %w", at.label, at.drive.Number, changer.ErrNoDrive),
			"add the drive to library.drives")
	}
	return h.unload(ctx, changer.Request{Barcode: at.label, Drive: at.drive.Serial}, at.label, to.Number, may)
}
