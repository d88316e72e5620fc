package virtual

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/tapefs/tapefs/changer/lto"
)

// Bits of the general status word of the Linux tape driver, in the order in which mt prints them.
var mtBits = []struct {
	bit  uint32
	name string
}{
	{0x40000000, "BOT"}, {0x08000000, "EOD"}, {0x04000000, "WR_PROT"}, {0x01000000, "ONLINE"},
	{0x00040000, "DR_OPEN"}, {0x00010000, "IM_REP_EN"}, {0x00008000, "CLN"},
}

const (
	bitBOT, bitEOD, bitWriteProtected = 0x40000000, 0x08000000, 0x04000000
	bitOnline, bitDoorOpen, bitReport = 0x01000000, 0x00040000, 0x00010000
	bitCleaning                       = 0x00008000
)

func runMt(l *Library, args []string, stdout, stderr io.Writer) int {
	device := os.Getenv("TAPE")
	if device == "" {
		device = "/dev/tape"
	}
	var words []string
	for i := 0; i < len(args); i++ {
		switch {
		case (args[i] == "-f" || args[i] == "-t") && i+1 < len(args):
			device = args[i+1]
			i++
		case args[i] == "--version" || args[i] == "-v":
			fmt.Fprint(stdout, "mt-st v. 1.7\ndefault tape device: /dev/tape\n")
			return 0
		default:
			words = append(words, args[i])
		}
	}
	if len(words) == 0 {
		fmt.Fprintln(stderr, "usage: mt [-v] [--version] [-h] [ -f device ] command [ count ]")
		return 1
	}
	kind, drive := l.device(device)
	if kind == devNone {
		why := "No such file or directory"
		if exists(device) {
			why = "Inappropriate ioctl for device"
		}
		fmt.Fprintf(stderr, "%s: %s\n", device, why)
		return 1
	}
	if (kind == devTape || kind == devDrive) && l.isSilent(drive) {
		fmt.Fprintf(stderr, "%s: No such device or address\n", device)
		return 1
	}
	if kind != devTape {
		fmt.Fprintf(stderr, "%s: Operation not permitted\n", device)
		return 2
	}
	var err error
	switch words[0] {
	case "status":
		err = l.mtStatus(drive, stdout)
	case "rewind", "offline", "eject", "rewoffl", "tell", "eod", "eom", "seod", "erase", "load":
		count := "1" // a long erase, for example
		if len(words) > 1 {
			count = words[1]
		}
		if _, bad := strconv.Atoi(count); bad != nil {
			fmt.Fprintf(stderr, "mt: bad count \"%s\"\n", count)
			return 1
		}
		err = l.mtOperation(words[0], count != "0", drive, stdout)
	default:
		fmt.Fprintf(stderr, "mt: unknown command \"%s\"\n", words[0])
		return 1
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", device, err)
		return 1
	}
	return 0
}

// loadedTape is what mt finds in a drive.
type loadedTape struct {
	d     driveState
	m     *meta // nil: no tape
	f     faults
	ready bool // a tape that can be read is threaded
}

func (l *Library) loaded(drive int) (*loadedTape, error) {
	st, err := l.view()
	if err != nil {
		return nil, err
	}
	t := &loadedTape{d: st.Drives[drive]}
	if t.f, err = l.loadFaults(); err != nil || t.d.Tape == "" {
		return t, err
	}
	if t.m, err = l.loadMeta(t.d.Tape); err != nil {
		return nil, err
	}
	t.ready = !t.m.Cleaning && !t.d.Ejected && !t.becomingReady()
	return t, nil
}

func (t *loadedTape) becomingReady() bool { return time.Now().Before(t.d.ReadyAt) }

// cleaned tells whether the drive is done with its cleaning cartridge.
func (t *loadedTape) cleaned() bool {
	return t.m.Cleaning && t.f.has("clean-time") && time.Now().After(t.d.ReadyAt.Add(t.f.duration("clean-time", 0)))
}

// writeProtected as the drive sees it: by the tab, or a tape too old to be written.
func (l *Library) writeProtected(drive int, m *meta, f faults) bool {
	return m.WriteProtected || f.names("write-protect", m.Barcode) || !m.format().Writes(l.Drives[drive].kind.Generation)
}

func (l *Library) mtStatus(drive int, stdout io.Writer) error {
	t, err := l.loaded(drive)
	if err != nil {
		return err
	}
	file, block, density := int64(-1), int64(-1), "0x0 (default)"
	bits := uint32(bitReport)
	switch {
	case t.ready:
		bits |= bitOnline
		file, block = t.d.File, t.d.Block
		density = densityOf(t.m.format())
		if file == 0 && block == 0 {
			bits |= bitBOT
		}
		if t.d.EOD {
			bits |= bitEOD
		}
		if l.writeProtected(drive, t.m, t.f) {
			bits |= bitWriteProtected
		}
	case t.m == nil || t.d.Ejected || t.cleaned():
		bits |= bitDoorOpen
	}
	if t.f.names("wants-cleaning", strconv.Itoa(drive)) {
		bits |= bitCleaning
	}
	fmt.Fprintf(stdout, "SCSI 2 tape drive:\nFile number=%d, block number=%d, partition=0.\n", file, block)
	fmt.Fprintf(stdout, "Tape block size 0 bytes. Density code %s.\nSoft error count since last status=0\n", density)
	fmt.Fprintf(stdout, "General status bits on (%x):\n", bits)
	for _, b := range mtBits {
		if bits&b.bit != 0 {
			fmt.Fprintf(stdout, " %s", b.name)
		}
	}
	fmt.Fprintln(stdout)
	return nil
}

// densityOf is the density code of a tape as mt-st prints it. It has no names for what came after LTO-9, nor for Type M.
func densityOf(f lto.Format) string {
	if f.Generation > 9 || f.Suffix == "M8" {
		return fmt.Sprintf("0x%x (no translation)", f.Density)
	}
	return fmt.Sprintf("0x%x (%s)", f.Density, f.Name)
}

// cError is an error in the words of the C library.
type cError string

func (e cError) Error() string { return string(e) }

var (
	errNoMedium     error = cError("No medium found")
	errReadOnlyTape error = cError("Read-only file system")
	errInUse        error = cError("Device or resource busy")
	errIO           error = cError("Input/output error")
)

// readyPoll is how often a program looks whether a drive has become ready.
const readyPoll = 20 * time.Millisecond

// mtOperation opens the tape node, which waits for a drive that is becoming ready.
func (l *Library) mtOperation(word string, long bool, drive int, stdout io.Writer) error {
	t, err := l.loaded(drive)
	for err == nil && t.m != nil && !t.d.Ejected && t.becomingReady() {
		time.Sleep(readyPoll)
		t, err = l.loaded(drive)
	}
	if err != nil {
		return err
	}
	if word == "load" && t.m != nil && t.d.Ejected {
		return l.change(func(st *state) error {
			d := &st.Drives[drive]
			d.Ejected, d.File, d.Block, d.At, d.EOD = false, 0, 0, 0, false
			return nil
		})
	}
	if !t.ready {
		time.Sleep(t.f.duration("blocking-open", 0)) // the kernel waits for a drive that is not ready
		return errNoMedium
	}
	switch word {
	case "tell":
		fmt.Fprintf(stdout, "At block %d.\n", t.d.At)
		return nil
	case "erase":
		return l.eraseTape(drive, t, long)
	case "eod", "eom", "seod":
		if t.f.has("eod-eio") {
			return errIO
		}
	}
	end, err := l.endOfData(t)
	if err != nil {
		return err
	}
	return l.change(func(st *state) error {
		d := &st.Drives[drive]
		switch word {
		case "rewind", "load":
			d.File, d.Block, d.At, d.EOD = 0, 0, 0, false
		case "eod", "eom", "seod":
			d.File, d.Block, d.At, d.EOD = 0, -1, end, true
			if end > 0 {
				d.File = 1
			}
		default: // offline, eject, rewoffl
			d.Ejected = true
			d.File, d.Block, d.At, d.EOD = -1, -1, 0, false
		}
		return nil
	})
}

// endOfData is the block address of the end of data on partition 0, the index partition of an LTFS volume.
func (l *Library) endOfData(t *loadedTape) (int64, error) {
	switch {
	case t.m.RawBlocks > 0:
		return t.m.RawBlocks + 1, nil // one file mark
	case t.m.Formatted:
		return indexPartitionStart + 2, nil
	}
	return 0, nil
}

// eraseTape makes a blank tape of the loaded one: at once, or writing over all of it. What mt erase leaves of a tape with
// partitions was never recorded; here it is all gone.
func (l *Library) eraseTape(drive int, t *loadedTape, long bool) error {
	if l.writeProtected(drive, t.m, t.f) {
		return errReadOnlyTape
	}
	hold, err := l.holdDrive(drive)
	if errors.Is(err, errBusy) {
		return errInUse
	}
	if err != nil {
		return err
	}
	defer hold.Close()
	if err := l.wipe(t.d.Tape, t.m); err != nil {
		return err
	}
	e := Event{Drive: drive, Kind: "erase", Barcode: t.m.Barcode, Seconds: stopSeconds}
	if long {
		e.Bytes = t.m.Capacity
		e.Seconds = float64(e.Bytes) / StreamRate
	}
	if err := l.record(e); err != nil {
		return err
	}
	return l.change(func(st *state) error {
		d := &st.Drives[drive]
		d.File, d.Block, d.At, d.EOD = 0, 0, 0, false
		return nil
	})
}
