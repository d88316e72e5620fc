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

// provingLock is held for the load of a drive that is not proved yet: two such loads at a time prove nothing, because exchanged
// drives would each have been empty before and be full afterwards.
func (l *Library) provingLock() string { return filepath.Join(l.cfg.RunDir, "proving.lock") }

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

// fillProving is fill for a drive that is not proved yet: alone among such loads, and watched until the node shows the tape.
func (le *Lease) fillProving(ctx context.Context, op string, b Barcode) (done bool, err error) {
	lock, err := tryLock(le.l.provingLock(), unix.LOCK_EX)
	if err == nil && lock == nil {
		le.l.log.Info("waiting for another drive's first load, which proves it", "drive", le.d.Serial)
		lock, err = waitLock(ctx, le.l.provingLock(), unix.LOCK_EX, NewNotices("another drive's first load, which proves it", false, le.l.cfg.Waits))
	}
	if err != nil {
		return false, fail(op, err, "")
	}
	defer lock.Close()
	before, err := le.l.Inventory(ctx)
	if err != nil {
		return false, fmt.Errorf("%s: %w", op, err)
	}
	if done, err = le.fill(ctx, op, b); err != nil || !done || !le.right {
		return done, err
	}
	return true, le.witness(ctx, op, before)
}

// witness waits until the node of the drive that was just filled holds a tape, and records the proof if no other drive was filled
// meanwhile. What proves nothing is no error; a tape that has turned up in another drive is ErrMixedDrives.
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
