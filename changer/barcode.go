package changer

import (
	"fmt"
	"strings"

	"github.com/tapefs/tapefs/changer/lto"
)

// Barcode is a cartridge's label, trimmed: "ABC001L8".
type Barcode string

// Format is the recording format that the label's media suffix names. ok is false when it names none, as that of a cleaning
// cartridge.
func (b Barcode) Format() (f lto.Format, ok bool) {
	f, _, ok = b.medium()
	return f, ok
}

func (b Barcode) medium() (f lto.Format, worm, ok bool) {
	if b.Cleaning() || len(b) < 8 {
		return lto.Format{}, false, false
	}
	return lto.BySuffix(string(b[len(b)-2:]))
}

// Generation is the LTO generation of the drives that the label's medium was made for, 0 when the label does not say: "L8" and "LY",
// its write-once kind, are 8, and so is "M8", LTO-7 media that only LTO-8 drives use.
func (b Barcode) Generation() int {
	f, _ := b.Format()
	return f.Generation
}

// Cleaning reports whether it is a cleaning cartridge: by convention its label begins with CLN or ends with CU.
func (b Barcode) Cleaning() bool {
	return strings.HasPrefix(string(b), "CLN") || len(b) == 8 && strings.HasSuffix(string(b), "CU")
}

// Serial is the label without its media suffix, at most 6 characters: what mkltfs -s takes. mkltfs
// refuses anything but exactly 6.
func (b Barcode) Serial() string {
	if len(b) > 6 {
		return string(b[:6])
	}
	return string(b)
}

// WriteOnce reports whether the label is that of write-once media (WORM), which LTFS cannot use: it writes its index again and again.
func (b Barcode) WriteOnce() bool {
	_, worm, _ := b.medium()
	return worm
}

// readable reports whether a drive of an LTO generation reads a cartridge. What is not known, a generation of 0 or a label without
// suffix, is allowed: the drive refuses what it cannot use.
func readable(drive int, b Barcode) bool {
	f, ok := b.Format()
	return drive == 0 || !ok || f.Reads(drive)
}

// writable is the same for writing.
func writable(drive int, b Barcode) bool {
	f, ok := b.Format()
	return drive == 0 || !ok || f.Writes(drive)
}

// cannot is the error of a drive that does not read, or with write does not write, this medium.
func (b Barcode) cannot(op string, drive int, write bool) error {
	f, _ := b.Format()
	verb := "read"
	if write {
		verb = "write"
	}
	return fail(op, fmt.Errorf("an LTO-%d drive cannot %s %s media: %w", drive, verb, f.Name, ErrIncompatible), b.needs(write))
}

// needs says which drives the medium needs, "" when the label does not tell.
func (b Barcode) needs(write bool) string {
	f, ok := b.Format()
	if !ok {
		return ""
	}
	verb := "is read by"
	if write {
		verb = "is written by"
	}
	return fmt.Sprintf("%s is %s media, which %s drives of %s", b, f.Name, verb, f.Readers(write))
}

// formattable reports whether LTFS can use such a cartridge at all: not write-once media, and a label that
// begins with the 6 letters and digits that mkltfs wants.
func (b Barcode) formattable() bool {
	return !b.Cleaning() && !b.WriteOnce() && tapeSerial().MatchString(b.Serial()) && !strings.ContainsAny(string(b), " \t\n")
}
