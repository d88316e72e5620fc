package changer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// Proof is the record that a drive is the one that the changer fills at an element: its node was empty before the robot's move, held
// a tape after it, and no other drive was filled in between. The zero value is no proof.
type Proof struct {
	Serial  string    `json:"serial"`
	Element int       `json:"element"` // data transfer element of the changer
	Node    string    `json:"node"`    // tape node of that day, without links
	At      time.Time `json:"at"`

	Denied bool `json:"denied,omitempty"` // the opposite was seen: changer and node disagreed
}

// proofFile holds what was seen of a drive last. It lies in the run directory: lost, the next load proves the drive anew.
func (l *Library) proofFile(serial string) string {
	return filepath.Join(l.cfg.RunDir, "proved."+serial)
}

// fillingLock is held from the look at an empty node until it shows the tape that the robot brought. Two drives that are filled at a
// time prove nothing, not even where they were proved once: if they are exchanged, each was empty before and is full afterwards.
func (l *Library) fillingLock() string { return filepath.Join(l.cfg.RunDir, "filling.lock") }

// Proof gives the newest proof of a drive that still holds: the same serial number and element, and the same tape node unless
// the kernel tells the serial number of the node.
func (l *Library) Proof(d DriveConfig) (Proof, bool) {
	best := d.Proved
	if noted, err := l.notedProof(d.Serial); err != nil {
		l.log.Warn("read when a drive was proved", "drive", d.Serial, "err", err)
	} else if noted.At.After(best.At) {
		best = noted
	}
	if best.At.IsZero() || best.Denied || best.Serial != d.Serial || best.Element != d.Element {
		return Proof{}, false
	}
	told, err := l.serialProved(d)
	if err != nil || !told && best.Node != canonical(d.Tape) {
		return Proof{}, false
	}
	return best, true
}

// notedProof reads the record in the run directory; the zero value when there is none.
func (l *Library) notedProof(serial string) (p Proof, err error) {
	text, err := os.ReadFile(l.proofFile(serial))
	if errors.Is(err, fs.ErrNotExist) {
		return Proof{}, nil
	}
	if err != nil {
		return Proof{}, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return Proof{}, fmt.Errorf("read %s: %w", l.proofFile(serial), err)
	}
	return p, nil
}

// noteProof records what was seen of a drive just now: that it is proved, or that it is not the one that the changer fills.
func (l *Library) noteProof(d DriveConfig, denied bool) {
	if err := l.writeProof(Proof{Serial: d.Serial, Element: d.Element, Node: canonical(d.Tape), At: time.Now().UTC().Truncate(time.Second), Denied: denied}); err != nil {
		l.log.Warn("record whether a drive is proved", "drive", d.Serial, "err", err)
	}
}

func (l *Library) writeProof(p Proof) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return renameio.WriteFile(l.proofFile(p.Serial), append(text, '\n'), 0o600)
}

// seenWithin is how long a drive that the robot has filled may go on saying that it is empty before its load proves nothing.
const seenWithin = 30 * time.Second

// filling has the robot fill our drive, alone among all drives, and watches until the node shows the tape. fill sets le.right where the
// node was empty before.
func (le *Lease) filling(ctx context.Context, op string, fill func() error) error {
	lock, err := tryLock(le.l.fillingLock(), unix.LOCK_EX)
	if err == nil && lock == nil {
		lock, err = waitLock(ctx, le.l.fillingLock(), unix.LOCK_EX, NewNotices("the robot, which fills another drive", false, le.l.cfg.Waits))
	}
	if err != nil {
		return fail(op, err, "")
	}
	defer lock.Close()
	before, err := le.l.Inventory(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	le.right = false
	if err := fill(); err != nil || !le.right {
		return err
	}
	return le.witness(ctx, op, before)
}

// witness waits until the node of the drive that was just filled holds a tape. If no other drive was filled meanwhile the load proves
// the drive, which is recorded; else it does not even prove that the tape is in it. Neither is an error; a tape that has turned up in
// another drive is ErrMixedDrives.
func (le *Lease) witness(ctx context.Context, op string, before *Inventory) error {
	begin, asked := time.Now(), time.Now()
	for p := newPoll(); ; {
		st, err := le.l.mtStatus(ctx, le.d)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if !st.DoorOpen {
			break
		}
		if time.Since(asked) > ejectedAfter {
			if err := le.misplaced(ctx); err != nil {
				return fail(op, err, rightHint)
			}
			asked = time.Now()
		}
		if time.Since(begin) > seenWithin {
			le.right = false
			return nil // Load goes on waiting
		}
		if err := p.wait(ctx); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	after, err := le.l.Inventory(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !filledAlone(before, after, le.d.Element) {
		le.l.log.Info("another drive was filled at the same time: the load does not prove the drive", "drive", le.d.Serial)
		le.right = false
		return nil
	}
	if _, proved := le.l.Proof(le.d); proved {
		return nil
	}
	le.l.noteProof(le.d, false)
	le.l.log.Info("the drive is proved: empty before the robot's move, and a tape in it afterwards", "drive", le.d.Serial, "element", le.d.Element)
	return nil
}

// filledAlone reports whether a drive element is full and no other one was filled, or got another tape, between two inventories.
func filledAlone(before, after *Inventory, element int) bool {
	for _, is := range after.Drives {
		was, ok := before.element(is.Number)
		switch {
		case is.Number == element && !is.Full:
			return false
		case is.Number != element && is.Full && (!ok || !was.Full || was.Barcode != is.Barcode):
			return false
		}
	}
	return true
}

// deny records that changer and node disagreed about this drive.
func (le *Lease) deny(err error) {
	if errors.Is(err, ErrMixedDrives) {
		le.l.noteProof(le.d, true)
	}
}
