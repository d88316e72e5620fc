package changer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A drive is one thing under three names: an element of the changer, a tape node for mt, an sg node for ltfs. Nothing
// but the configuration says that they belong together, and a configuration gets old: sg numbers change between boots,
// cables are put back the other way round. What destroys a tape therefore wants proof that the node in our hands is the
// drive that the robot filled. It wants two: of the drive, once, while no other drive was filled (Proof), and of the tape, each
// time: the node was empty before the move that brought it and holds a tape after it.

// emptyWait is how long a drive that the changer calls empty may still say that it holds a tape.
const emptyWait = 5 * time.Second

// rightHint is what a person does about drives that are mixed up.
const rightHint = "nothing was written; the robot finds out which drive is which, and library.drives is corrected, with: tapefs doctor --fix-config --prove"

// nodeEmpty looks at the drive's node before the robot brings a tape: it has to say that the drive is empty. A node that holds
// a tape is that of another drive, ErrMixedDrives. One that says neither proves nothing.
func (le *Lease) nodeEmpty(ctx context.Context, op string) (bool, error) {
	begin := time.Now()
	for p := newPoll(); ; {
		st, err := le.l.mtStatus(ctx, le.d)
		switch {
		case err != nil:
			return false, fmt.Errorf("%s: %w", op, err)
		case st.DoorOpen:
			return true, nil
		case time.Since(begin) > emptyWait && !st.Online:
			return false, nil
		case time.Since(begin) > emptyWait:
			return false, fail(op, fmt.Errorf("%w: %s holds a tape, and the changer calls %s empty%s",
				ErrMixedDrives, le.d.Tape, nameOf(le.d), le.l.otherSide(ctx, le.d, false)), rightHint)
		}
		if err := p.wait(ctx); err != nil {
			return false, fmt.Errorf("%s: %w", op, err)
		}
	}
}

// misplaced is ErrMixedDrives when the tape that the robot brought to our drive has turned up in another one: that drive's node
// holds a tape while the changer calls it empty.
func (le *Lease) misplaced(ctx context.Context) error {
	text := le.l.otherSide(ctx, le.d, true)
	if text == "" {
		return nil
	}
	return fmt.Errorf("%w: the changer calls %s full, and %s holds no tape%s", ErrMixedDrives, nameOf(le.d), le.d.Tape, text)
}

// otherSide names the drive of which changer and node disagree the other way round than of ours: with holds its node has a tape and
// the changer calls it empty. "" when there is none, or nobody can tell.
func (l *Library) otherSide(ctx context.Context, ours DriveConfig, holds bool) string {
	before, err := l.Inventory(ctx)
	if err != nil {
		return ""
	}
	odd := map[string]bool{}
	for _, d := range l.drives() {
		if d.Serial == ours.Serial || l.awayError(d) != nil {
			continue
		}
		if st, err := l.mtStatus(ctx, d); err == nil {
			odd[d.Serial] = holds && st.Online || !holds && st.DoorOpen
		}
	}
	// Others may be moving tapes: only what the changer says before and after counts.
	after, err := l.Inventory(ctx)
	if err != nil {
		return ""
	}
	for _, d := range l.drives() {
		was, ok1 := before.element(d.Element)
		is, ok2 := after.element(d.Element)
		if !odd[d.Serial] || !ok1 || !ok2 || was.Full == holds || is.Full == holds {
			continue
		}
		if holds {
			return fmt.Sprintf("; %s holds one, and the changer calls %s empty: the two may be exchanged", d.Tape, nameOf(d))
		}
		return fmt.Sprintf("; it calls %s full, and %s holds no tape: the two may be exchanged", nameOf(d), d.Tape)
	}
	return ""
}

// proveHint is what a person does about a drive that nothing proves.
const proveHint = "nothing was written; prove the drives with a tape that is not written to: tapefs doctor --fix-config --prove"

func nameOf(d DriveConfig) string { return fmt.Sprintf("drive %d (%s)", d.Element, d.Serial) }

// proveRight proves, before anything is destroyed, that the node of this drive is the drive that the changer fills for us. A tape that
// was there when we came is unloaded and loaded again for it, unless it is the only one in any drive.
func (le *Lease) proveRight(ctx context.Context, op string) (err error) {
	defer func() { le.deny(err) }()
	told, err := le.l.NamesAgree(ctx, le.d)
	if err != nil {
		return fail(op, err, rightHint)
	}
	if le.l.none() {
		return nil
	}
	_, proved := le.l.Proof(le.d)
	if proved && le.right {
		return nil
	}
	inv, err := le.l.Inventory(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	st, err := le.l.mtStatus(ctx, le.d)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	full := 0
	for _, e := range inv.Drives {
		if e.Full {
			full++
		}
	}
	if e, ok := inv.element(le.d.Element); ok && e.Full && st.Online && full == 1 && (proved || told) {
		after, err := le.l.Inventory(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if le.right = filledAlone(inv, after, le.d.Element); le.right {
			le.l.noteProof(le.d, false)
			return nil
		}
	}
	if err := le.reload(ctx, op); err != nil {
		return err
	}
	if _, proved := le.l.Proof(le.d); !proved {
		return fail(op, fmt.Errorf("%w: %s is not proved", ErrUnproved, nameOf(le.d)), proveHint)
	}
	return nil
}

// reload brings the loaded tape to its slot and back, which proves the drive, and waits until it is ready.
func (le *Lease) reload(ctx context.Context, op string) error {
	b, full, err := le.Loaded(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !full {
		return fail(op, ErrNoMedium, "load the tape first")
	}
	le.l.log.Info("the tape is unloaded and loaded again, which proves that it is in this drive", "drive", le.d.Serial, "tape", string(b))
	slot, err := le.unload(ctx)
	if err != nil {
		return fmt.Errorf("%s: prove the drive: %w", op, err)
	}
	if err := le.LoadSlot(ctx, slot, b); err != nil {
		return fmt.Errorf("%s: prove the drive: %w", op, err)
	}
	if err := le.ready(ctx, false); err != nil {
		return fmt.Errorf("%s: prove the drive: %w", op, err)
	}
	if !le.right {
		return fail(op, fmt.Errorf("%w: %s did not say that it was empty when the changer had emptied it", ErrMixedDrives, le.d.Tape), rightHint)
	}
	return nil
}

var (
	tapeNodeName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^n?(st\d+)[alm]?$`) })
	sgNodeName   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^sg\d+$`) })
)

// serialProved compares a drive's tape node with the link that udev made for its serial. false without an error: there is none.
func (l *Library) serialProved(d DriveConfig) (bool, error) {
	node, err := filepath.EvalSymlinks(d.Tape)
	if err != nil {
		return false, fail("find drive "+d.Serial, err, "is it switched on? see: lsscsi -g")
	}
	other, err := filepath.EvalSymlinks(filepath.Join(filepath.Dir(node), "tape", "by-id", "scsi-"+d.Serial+"-nst"))
	if err != nil {
		return false, nil
	}
	same := func(name string) string { return strings.TrimPrefix(filepath.Base(name), "n") } // nst0 and st0 are one drive
	if filepath.Dir(other) == filepath.Dir(node) && same(other) == same(node) {
		return true, nil
	}
	text := fmt.Sprintf("serial %s is %s, and the configuration says %s", d.Serial, other, d.Tape)
	for _, c := range l.drives() {
		if c.Serial != d.Serial && canonical(c.Tape) == other {
			text += ", which it gives to " + nameOf(c)
		}
	}
	return false, fail("find drive "+d.Serial, fmt.Errorf("%w: %s", ErrMixedDrives, text), "set tape: (and device:) to the nodes of this drive, or leave both out")
}

// NamesAgree compares the names of a drive with what the kernel tells of them: serial, tape node and sg node. What it does
// not tell is no contradiction; proved reports whether it told the serial.
func (l *Library) NamesAgree(ctx context.Context, d DriveConfig) (proved bool, err error) {
	if proved, err = l.serialProved(d); err != nil {
		return false, err
	}
	generic := l.genericOf(ctx, d)
	device := canonical(d.Device)
	if generic == "" || !sgNodeName().MatchString(filepath.Base(device)) || canonical(generic) == device {
		return proved, nil
	}
	text := fmt.Sprintf("device %s and tape %s of drive %s are two drives: the sg node of that tape node is %s", d.Device, d.Tape, d.Serial, generic)
	for _, c := range l.drives() {
		if c.Serial != d.Serial && canonical(c.Device) == canonical(generic) {
			text += ", which the configuration gives to " + nameOf(c)
		}
	}
	return false, fail("find drive "+d.Serial, fmt.Errorf("%w: %s", ErrMixedDrives, text), "set device: to the sg node that lsscsi -g shows beside the tape node, or leave both out")
}

// genericOf asks the kernel, or lsscsi, for the sg node of the drive that has this tape node; "" when neither tells.
func (l *Library) genericOf(ctx context.Context, d DriveConfig) string {
	node := canonical(d.Tape)
	m := tapeNodeName().FindStringSubmatch(filepath.Base(node))
	if m == nil {
		return ""
	}
	if filepath.Dir(node) == canonical(l.roots.dev) {
		entries, err := os.ReadDir(filepath.Join(l.roots.sys, "class", "scsi_tape", m[1], "device", "scsi_generic"))
		if err == nil && len(entries) == 1 {
			return filepath.Join(l.roots.dev, entries[0].Name())
		}
	}
	res, err := l.query(ctx, l.cfg.Programs.Lsscsi, "-g")
	if err != nil {
		l.log.Debug("ask for the sg node of a tape node", "drive", d.Serial, "err", err)
		return ""
	}
	for _, n := range parseLsscsi(res.stdout) {
		if n.Type == "tape" && canonical(n.Primary) == filepath.Join(filepath.Dir(node), m[1]) && strings.HasPrefix(filepath.Base(n.Generic), "sg") {
			return n.Generic
		}
	}
	return ""
}

// wrongTape is called when another volume than expected was mounted: if this drive is not proved, the likelier cause is that
// the volume lies in another drive. It gives the error of mixed drives then, else the one that it was given.
func (le *Lease) wrongTape(ctx context.Context, op string, why error) error {
	if le.right || le.l.none() || le.pending != nil || !errors.Is(why, ErrWrongVolume) {
		return why
	}
	if err := le.proveRight(ctx, op); errors.Is(err, ErrMixedDrives) {
		return err
	} else if err != nil {
		le.l.log.Warn("the drive could not be proved after another volume than expected was found", "drive", le.d.Serial, "err", err)
	}
	return why
}
