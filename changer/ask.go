package changer

import (
	"context"
	"fmt"
	"strings"
)

// Inquire asks a device, the changer's or a drive's sg node, what it is. While LTFS has a drive mounted its
// sg node cannot be opened, and this is an error.
func (l *Library) Inquire(ctx context.Context, device string) (Inquiry, error) {
	op := "inquiry of " + device
	res, err := l.query(ctx, l.cfg.Programs.Mtx, "-f", device, "inquiry")
	if err != nil {
		return Inquiry{}, mtxFail(op, err, res.stderr)
	}
	q, err := parseInquiry(res.stdout)
	if err != nil {
		return q, fail(op, err, "")
	}
	return q, nil
}

// Configured lists the drives as configured, with the nodes that were found for them.
func (l *Library) Configured() []DriveConfig { return l.drives() }

// Changer is the changer's device, or None.
func (l *Library) Changer() string { return l.cfg.Changer }

// Home tells to which slot the tape of a drive element would be unloaded, 0 when there is none.
func (inv *Inventory) Home(e DriveElement) int {
	slot, ok := inv.home(e)
	if !ok {
		return 0
	}
	return slot
}

// FreeSlot is an empty slot of the wanted kind, 0 when there is none. One that no loaded tape came from is
// preferred, so that tapes find their slots again.
func (inv *Inventory) FreeSlot(mail bool) int {
	taken := map[int]bool{}
	for _, d := range inv.Drives {
		if d.Full {
			taken[d.FromSlot] = true
		}
	}
	spare := 0
	for _, s := range inv.Slots {
		if s.Full || s.ImportExport != mail {
			continue
		}
		if !taken[s.Number] {
			return s.Number
		}
		if spare == 0 {
			spare = s.Number
		}
	}
	return spare
}

// SlotNumber gives the slot of a number.
func (inv *Inventory) SlotNumber(n int) (Slot, bool) { return inv.slot(n) }

// Element gives the drive element of a number.
func (inv *Inventory) Element(n int) (DriveElement, bool) { return inv.element(n) }

// Node is one line of lsscsi -g: a SCSI device and its nodes.
type Node struct {
	Address string // [H:C:T:L] without brackets
	Type    string // "tape", "mediumx", "disk", …
	Name    string // vendor, product and revision as printed
	Primary string // /dev/st0, /dev/sch0; "-" for none
	Generic string // /dev/sg4; "-" for none
}

// ListNodes runs lsscsi -g and reads what it prints. program may be "".
func ListNodes(ctx context.Context, program string) ([]Node, error) {
	const op = "list SCSI devices"
	if program == "" {
		program = "lsscsi"
	}
	out, err := output(ctx, program, "-g")
	if err != nil {
		return nil, fail(op, err, notFound(err))
	}
	return parseLsscsi(out), nil
}

// parseLsscsi reads the standard output of lsscsi -g: address and type come first, the nodes last.
func parseLsscsi(text string) []Node {
	var out []Node
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "[") || !strings.HasSuffix(f[0], "]") {
			continue
		}
		out = append(out, Node{Address: strings.Trim(f[0], "[]"), Type: f[1], Name: strings.Join(f[2:len(f)-2], " "),
			Primary: f[len(f)-2], Generic: f[len(f)-1]})
	}
	return out
}

// ReadStatus runs mtx status on a device that is in no configuration. program may be "".
func ReadStatus(ctx context.Context, program, device string) (*Inventory, error) {
	op := "read inventory of " + device
	if program == "" {
		program = "mtx"
	}
	out, err := output(ctx, program, "-f", device, "status")
	if err != nil {
		return nil, fail(op, err, notFound(err))
	}
	inv, err := parseStatus(out)
	if err != nil {
		return nil, fail(op, err, "")
	}
	return inv, nil
}

// ReadDrive runs mt status on a tape node that is in no configuration. program may be "".
func ReadDrive(ctx context.Context, program, node string) (MTStatus, error) {
	op := "read status of " + node
	if program == "" {
		program = "mt"
	}
	out, err := output(ctx, program, "-f", node, "status")
	if err != nil {
		return MTStatus{}, fail(op, err, notFound(err))
	}
	st, err := parseMT(out)
	if err != nil {
		return st, fmt.Errorf("%s: %w", op, err)
	}
	return st, nil
}
