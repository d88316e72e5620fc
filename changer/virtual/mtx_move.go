package virtual

import (
	"fmt"
	"strconv"
	"time"
)

// address of an element: slots, mail slots and drives are numbered apart.
func slotAddress(st *state, slot int) int {
	if ordinary := len(st.Slots) - st.MailSlots; slot > ordinary {
		return addressMail + slot - ordinary - 1
	}
	return addressSlot + slot - 1
}

// slotArg checks a slot number of a command.
func (m *mtx) slotArg(st *state, arg, command string) (int, error) {
	n, err := strconv.Atoi(arg)
	if err != nil || n > len(st.Slots) {
		return 0, m.fatal("Invalid <storage-element-number> argument '%s' to '%s' command", arg, command)
	}
	return n, nil
}

// driveArg gives the drive that has the element of a command.
func (m *mtx) driveArg(st *state, arg, command string, f faults) (int, error) {
	n, err := strconv.Atoi(arg)
	if err != nil || n >= len(st.Drives) {
		return 0, m.fatal("illegal <drive-number> argument '%s' to '%s' command", arg, command)
	}
	return f.exchanged("exchanged-elements", n), nil
}

func (m *mtx) exchangeArgs(args []string) (int, int, error) {
	st, err := m.l.view()
	if err != nil {
		return 0, 0, err
	}
	if len(args) < 2 {
		return 0, 0, m.fatal("No source specified")
	}
	a, err := m.slotArg(st, args[0], "exchange")
	if err != nil {
		return 0, 0, err
	}
	b, err := m.slotArg(st, args[1], "exchange")
	if err != nil {
		return 0, 0, err
	}
	return slotAddress(st, a), slotAddress(st, b), nil
}

// move runs a command that moves tapes. The robot is locked.
func (m *mtx) move(command string, args []string, f faults) error {
	st, err := m.l.view()
	if err != nil {
		return err
	}
	switch command {
	case "transfer":
		if len(args) < 2 {
			return m.fatal("No destination specified")
		}
		from, err := m.slotArg(st, args[0], command)
		if err != nil {
			return err
		}
		to, err := m.slotArg(st, args[1], command)
		if err != nil {
			return err
		}
		if from == 0 || to == 0 {
			return m.fatal("No source specified")
		}
		return m.transfer(st, from, to, f)
	case "load", "unload":
		slot, drive, arg := 0, 0, "0"
		if len(args) > 0 {
			if slot, err = m.slotArg(st, args[0], command); err != nil {
				return err
			}
		}
		if len(args) > 1 {
			arg = args[1]
		}
		if drive, err = m.driveArg(st, arg, command, f); err != nil {
			return err
		}
		if command == "load" {
			return m.load(st, slot, drive, f)
		}
		return m.unload(st, slot, drive, f)
	}
	return m.step(st, command, args, f)
}

// step does first, last, next and previous: the tape in the drive goes home, another one comes.
func (m *mtx) step(st *state, command string, args []string, f faults) error {
	arg := "0"
	if len(args) > 0 {
		arg = args[0]
	}
	drive, err := m.driveArg(st, arg, command, f)
	if err != nil {
		return err
	}
	now := 0
	if st.Drives[drive].Tape != "" {
		now = st.Drives[drive].From
		if err := m.unload(st, 0, drive, f); err != nil {
			return err
		}
		if st, err = m.l.view(); err != nil {
			return err
		}
	}
	ordinary := len(st.Slots) - st.MailSlots
	at, by := 1, 1
	switch command {
	case "last":
		at, by = ordinary, -1
	case "next":
		at = now + 1
	case "previous":
		at, by = now-1, -1
	}
	for ; at >= 1 && at <= ordinary; at += by {
		if st.Slots[at-1] != "" {
			return m.load(st, at, drive, f)
		}
	}
	return m.fatal("No More Media")
}

func (m *mtx) transfer(st *state, from, to int, f faults) error {
	a, b := slotAddress(st, from), slotAddress(st, to)
	if st.Slots[from-1] == "" {
		return m.fatal("Source Element Address %d is Empty", a)
	}
	if st.Slots[to-1] != "" {
		return m.fatal("Destination Element Address %d is Already Full", b)
	}
	if f.has("door-open") && (m.isMail(st, from) || m.isMail(st, to)) {
		m.sense("Not Ready", "3A", "02", "")
		return m.fatal("MOVE MEDIUM from Element Address %d to %d Failed", a, b)
	}
	if err := m.l.waitStuck(); err != nil {
		return err
	}
	var id string
	err := m.l.change(func(st *state) error {
		id = st.Slots[from-1]
		st.Slots[to-1], st.Slots[from-1] = id, ""
		return nil
	})
	if err != nil {
		return err
	}
	return m.record(Event{Drive: -1, Kind: "move"}, id)
}

func (m *mtx) isMail(st *state, slot int) bool { return slot > len(st.Slots)-st.MailSlots }

func (m *mtx) load(st *state, slot, drive int, f faults) error {
	if slot == 0 {
		return m.fatal("No source specified")
	}
	if d := st.Drives[drive]; d.Tape != "" {
		return m.fatal("Drive %d Full (Storage Element %d loaded)", drive, d.From)
	}
	fmt.Fprintf(m.stdout, "Loading media from Storage Element %d into drive %d...", slot, drive)
	a := slotAddress(st, slot)
	id := st.Slots[slot-1]
	if id == "" {
		return m.fatal("Source Element Address %d is Empty", a)
	}
	mt, err := m.l.loadMeta(id)
	if err != nil {
		return err
	}
	if err := m.l.waitStuck(); err != nil {
		return err
	}
	refuse := ""
	switch {
	case f.has("door-open") && m.isMail(st, slot):
		m.sense("Not Ready", "3A", "02", "")
		refuse = "door"
	case !mt.Cleaning && !mt.format().Reads(m.l.Drives[drive].kind.Generation):
		m.sense("Hardware Error", "04", "03", "")
		refuse = "media"
	}
	if refuse != "" {
		return m.fatal("MOVE MEDIUM from Element Address %d to %d Failed", a, addressDrive+drive)
	}
	err = m.l.change(func(st *state) error {
		d := &st.Drives[drive]
		*d = d.empty()
		d.Loads, d.Tape, d.From, d.ReadyAt = d.Loads+1, id, slot, time.Now().Add(loadTime(mt, f))
		st.Slots[slot-1] = ""
		mt.Loads++
		return m.l.saveMeta(id, mt)
	})
	if err != nil {
		return err
	}
	if mt.Cleaning && f.names("wants-cleaning", strconv.Itoa(drive)) {
		if err := m.l.endFault("wants-cleaning", strconv.Itoa(drive)); err != nil {
			return err
		}
	}
	fmt.Fprintln(m.stdout, "done")
	return m.record(Event{Drive: drive, Kind: "load", Seconds: LoadSeconds}, id)
}

// loadTime is how long a drive takes until it is ready. The first load of an LTO-9 cartridge in its life is media optimization.
func loadTime(m *meta, f faults) time.Duration {
	if m.Loads == 0 && m.format().FirstLoad > 0 && f.has("first-load") {
		return f.duration("first-load", 0)
	}
	return f.duration("slow-load", 0)
}

func (m *mtx) unload(st *state, slot, drive int, f faults) error {
	d := st.Drives[drive]
	if d.Tape == "" {
		return m.fatal("Data Transfer Element %d is Empty", drive)
	}
	if slot == 0 {
		slot = d.From
	}
	for s := 1; slot == 0 && s <= len(st.Slots)-st.MailSlots; s++ {
		if st.Slots[s-1] == "" {
			slot = s
		}
	}
	if slot == 0 {
		return m.fatal("No Source for tape in drive %d!", drive)
	}
	if st.Slots[slot-1] != "" {
		return m.fatal("Storage Element %d is Already Full", slot)
	}
	fmt.Fprintf(m.stdout, "Unloading drive %d into Storage Element %d...", drive, slot)
	if err := m.l.waitStuck(); err != nil {
		return err
	}
	if f.has("eject-first") && !d.Ejected { // the drive holds the cartridge
		m.sense("Illegal Request", "53", "02", "")
		return m.fatal("MOVE MEDIUM from Element Address %d to %d Failed", addressDrive+drive, slotAddress(st, slot))
	}
	if f.has("door-open") && m.isMail(st, slot) {
		m.sense("Not Ready", "3A", "02", "")
		return m.fatal("MOVE MEDIUM from Element Address %d to %d Failed", addressDrive+drive, slotAddress(st, slot))
	}
	err := m.l.change(func(st *state) error {
		d := &st.Drives[drive]
		st.Slots[slot-1] = d.Tape
		*d = d.empty()
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(m.stdout, "done")
	return m.record(Event{Drive: drive, Kind: "unload", Seconds: UnloadSeconds}, d.Tape)
}

// record logs a move of a tape.
func (m *mtx) record(e Event, id string) error {
	mt, err := m.l.loadMeta(id)
	if err != nil {
		return err
	}
	e.Barcode = mt.Barcode
	return m.l.record(e)
}
