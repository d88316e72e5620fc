package virtual

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// openedDrive is a drive that one of the LTFS programs has open. Closed by close.
type openedDrive struct {
	l      *Library
	device string
	kind   deviceKind
	n      int
	serial string
	lock   *flock.Flock
	node   *os.File // the sg node is held open, as the real programs hold it

	id    string // of the tape, set by load
	loads int64
	m     *meta
	f     faults
}

func (d *openedDrive) close() {
	d.node.Close()
	d.lock.Close()
}

// openPatience is how long a program tries to open a drive that another one has: mounting again right
// after umount works when the volume was clean.
const openPatience = 200 * time.Millisecond

// openDrive opens a drive exclusively; what is in the way is said and gives nil.
func (l *Library) openDrive(m *messages, device string) (*openedDrive, error) {
	d := &openedDrive{l: l, device: device}
	d.kind, d.n = l.device(device)
	why := openOK
	if l.speech.hpe {
		why = l.refusedByHPE(device, d.kind, d.n)
	}
	switch {
	case why != openOK:
	case d.kind != devNone && d.kind != devChanger && l.isSilent(d.n):
		why = openMissing
	case d.kind == devNone, d.kind == devChanger:
		why = openMissing
		for i, c := range l.Drives {
			if c.Serial == device {
				why, d.n = openBySerial, i
			}
		}
	default:
		var err error
		end := time.Now().Add(openPatience)
		d.lock, err = l.holdDrive(d.n)
		for errors.Is(err, errBusy) && time.Now().Before(end) {
			time.Sleep(readyPoll)
			d.lock, err = l.holdDrive(d.n)
		}
		if errors.Is(err, errBusy) {
			why = openInUse
		} else if err != nil {
			return nil, fmt.Errorf("open %s: %w", device, err)
		}
	}
	m.openDevice(l, device, d.kind, d.n, why)
	if why != openOK {
		return nil, nil
	}
	d.serial = l.Drives[d.n].Serial
	var err error
	if d.node, err = os.Open(l.Drives[d.n].Device); err != nil {
		d.lock.Close()
		return nil, fmt.Errorf("open %s: %w", device, err)
	}
	return d, nil
}

// refusedByHPE is why HPE's programs do not open a device: they take a name with /dev/sg in it as it is, and any other for a tape
// node, for which the kernels of today do not tell the sg node.
func (l *Library) refusedByHPE(device string, kind deviceKind, drive int) openFailure {
	switch {
	case !strings.Contains(device, "/dev/sg"):
		return openRemapped
	case kind == devDrive && !strings.HasPrefix(l.Drives[drive].kind.Vendor, "HP"):
		return openRefused
	}
	return openOK
}

// load threads the tape and waits for a drive that is becoming ready. own is the program's message
// when there is no tape; then it gives false.
func (d *openedDrive) load(m *messages, own string) (bool, error) {
	t, err := d.l.loaded(d.n)
	if err != nil {
		return false, err
	}
	switch {
	case t.m == nil:
		m.noMedium(d.device, own)
		return false, nil
	case t.m.Cleaning:
		m.cleaningTape(own)
		return false, nil
	}
	m.say("LTFS17160I Maximum device block size is %d.", m.speech.maxBlock)
	m.say("LTFS11330I Loading cartridge.")
	if t.becomingReady() {
		m.say("LTFS11331E Failed to load the cartridge (ltfs_load_tape).")
	}
	for t.m != nil && t.becomingReady() {
		time.Sleep(readyPoll)
		if t, err = d.l.loaded(d.n); err != nil {
			return false, err
		}
	}
	if t.m == nil {
		m.say("%s", own)
		return false, nil
	}
	if t.d.Ejected { // the load command threads it again
		err := d.l.change(func(st *state) error {
			st.Drives[d.n].Ejected = false
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	m.protection()
	m.say("LTFS11332I Load successful.")
	m.say("LTFS17157I Changing the drive setting to write-anywhere mode.")
	d.id, d.loads, d.m, d.f = t.d.Tape, t.d.Loads, t.m, t.f
	return true, nil
}

// Where LTFS puts things on a fresh volume: labels and file marks come first.
const (
	blockSize           = 512 << 10
	indexPartitionStart = 5 // block of the index on partition a, and of the first one on b
)

// tapePosition is the append point of the data partition. It is kept beside the index because data
// on tape stays where it is whether an index tells of it or not.
type tapePosition struct {
	block int64 // next block
	used  int64 // bytes
}

func (l *Library) openPosition(id string) (*os.File, error) {
	return os.OpenFile(filepath.Join(l.tapeDir(id), "position"), os.O_CREATE|os.O_RDWR, 0o644)
}

func readPosition(f *os.File) (tapePosition, error) {
	b := make([]byte, positionSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return tapePosition{}, fmt.Errorf("read append position: %w", err)
	}
	var p tapePosition
	if _, err := fmt.Sscanf(string(b), "%d %d", &p.block, &p.used); err != nil {
		return tapePosition{}, fmt.Errorf("read append position: %w", err)
	}
	return p, nil
}

const positionSize = 42 // two numbers of 20 digits, a blank and a newline

func writePosition(f *os.File, p tapePosition) error {
	_, err := f.WriteAt(fmt.Appendf(nil, "%020d %020d\n", p.block, p.used), 0)
	return err
}

// wipe takes everything off a tape.
func (l *Library) wipe(id string, m *meta) error {
	dir := l.tapeDir(id)
	m.Formatted, m.Full, m.RawBlocks = false, false, 0
	m.UUID, m.Serial, m.FormatTime = "", "", time.Time{}
	m.WritePerm, m.Unclean, m.Lost = false, false, nil
	if err := l.saveMeta(id, m); err != nil {
		return err
	}
	for _, f := range []string{"index.json", "position", "files"} {
		if err := os.RemoveAll(filepath.Join(dir, f)); err != nil {
			return err
		}
	}
	return os.Mkdir(filepath.Join(dir, "files"), 0o755)
}

// format makes an empty LTFS volume.
func (l *Library) format(id string, m *meta, serial, volumeName string) error {
	if err := l.wipe(id, m); err != nil {
		return err
	}
	now := time.Now().UTC()
	x := &index{Generation: 1, Time: now, Creator: l.speech.made("mkltfs", "Format"), VolumeName: volumeName,
		Self: position{"a", indexPartitionStart}, Back: position{"b", indexPartitionStart},
		LastOnB: indexPartitionStart, NextUID: 2,
		Root: &indexNode{UID: 1, Kind: "dir", Created: now, Modified: now, Changed: now, Accessed: now, Backup: now}}
	n, err := l.saveIndex(id, x)
	if err != nil {
		return err
	}
	f, err := l.openPosition(id)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := writePosition(f, tapePosition{block: indexPartitionStart + 2, used: n}); err != nil {
		return err
	}
	m.Formatted, m.UUID, m.Serial, m.FormatTime = true, newUUID(), serial, now
	if !l.speech.hpe {
		m.Memory = serial
	} else if m.Memory == "" { // HPE's keeps the barcode that the memory has
		m.Memory = cmp.Or(m.Barcode, serial)
	}
	return l.saveMeta(id, m)
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
