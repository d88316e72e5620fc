package changer

import "strings"

// Barcode is a cartridge's label, trimmed: "ABC001L8".
type Barcode string

// Generation is the LTO generation that the media suffix names ("L8", "M8" for LTO-7 media formatted
// by LTO-8 drives, "LY" for WORM LTO-8), 0 when the label has none. A cleaning cartridge has none.
func (b Barcode) Generation() int {
	if b.Cleaning() || len(b) < 8 {
		return 0
	}
	switch b[len(b)-2:] {
	case "M8":
		return 8 // only LTO-8 drives read and write it
	case "LT":
		return 3 // WORM media count from T on
	case "LU":
		return 4
	case "LV":
		return 5
	case "LW":
		return 6
	case "LX":
		return 7
	case "LY":
		return 8
	case "LZ":
		return 9
	case "LA":
		return 10
	}
	if b[len(b)-2] == 'L' && b[len(b)-1] >= '1' && b[len(b)-1] <= '9' {
		return int(b[len(b)-1] - '0')
	}
	return 0
}

// Cleaning tells a cleaning cartridge: by convention its label begins with CLN.
func (b Barcode) Cleaning() bool { return strings.HasPrefix(string(b), "CLN") }

// Serial is the label without its media suffix, at most 6 characters: what mkltfs -s takes. mkltfs
// refuses anything but exactly 6.
func (b Barcode) Serial() string {
	if len(b) > 6 {
		return string(b[:6])
	}
	return string(b)
}

// worm tells write-once media, which LTFS cannot use.
func (b Barcode) worm() bool {
	return b.Generation() > 0 && b[len(b)-2] == 'L' && b[len(b)-1] >= 'A'
}

// readable tells whether a drive of an LTO generation reads a cartridge: up to LTO-7 two generations
// back, from LTO-8 on one. A generation that is not known (0) is allowed.
func readable(drive int, b Barcode) bool {
	back := 2
	if drive >= 8 {
		back = 1
	}
	return fits(drive, b, back)
}

// writable is the same for writing: one generation back.
func writable(drive int, b Barcode) bool { return fits(drive, b, 1) }

func fits(drive int, b Barcode, back int) bool {
	tape := b.Generation()
	switch {
	case drive == 0 || tape == 0:
		return true
	case strings.HasSuffix(string(b), "M8"):
		return drive == 8
	}
	return tape <= drive && tape >= drive-back
}

// formattable tells whether LTFS can use such a cartridge at all: not write-once media, and a label that
// begins with the 6 letters and digits that mkltfs wants.
func (b Barcode) formattable() bool {
	return !b.Cleaning() && !b.worm() && tapeSerial.MatchString(b.Serial()) && !strings.ContainsAny(string(b), " \t\n")
}
