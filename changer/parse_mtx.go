package changer

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Lines of mtx status, as mtx 1.3.12 prints them. Tags are padded with blanks; blanks stand around
// '=' for drives only; a full element without a readable label has no tag.
var (
	mtxHeader = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\s*Storage Changer (.*):(\d+) Drives, (\d+) Slots \( (\d+) Import/Export \)\s*$`)
	})
	mtxDrive = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\s*Data Transfer Element (\d+):\s*(Empty|Full)\b\s*(.*)$`)
	})
	mtxSlot = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\s*Storage Element (\d+)( IMPORT/EXPORT)?:\s*(Empty|Full)\b\s*(.*)$`)
	})
	mtxLoaded = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\(Storage Element (\d+) Loaded\)`) })
	mtxTag    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:^|:)VolumeTag ?= ?(.*)$`) })
)

// parseStatus reads the standard output of mtx status. Lines it does not know are passed over:
// libraries leave things out and add some. No header or no element at all is an error.
func parseStatus(text string) (*Inventory, error) {
	inv := &Inventory{}
	header := false
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r")
		if mtxHeader().MatchString(line) {
			header = true
			continue
		}
		if m := mtxDrive().FindStringSubmatch(line); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return nil, fmt.Errorf("read mtx status: %w", err)
			}
			d := DriveElement{Number: n, Full: m[2] == "Full"}
			if d.Full {
				d.Barcode = tagOf(m[3])
				if l := mtxLoaded().FindStringSubmatch(m[3]); l != nil {
					if d.FromSlot, err = strconv.Atoi(l[1]); err != nil {
						return nil, fmt.Errorf("read mtx status: %w", err)
					}
				}
			}
			inv.Drives = append(inv.Drives, d)
			continue
		}
		if m := mtxSlot().FindStringSubmatch(line); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return nil, fmt.Errorf("read mtx status: %w", err)
			}
			s := Slot{Number: n, ImportExport: m[2] != "", Full: m[3] == "Full"}
			if s.Full {
				s.Barcode = tagOf(m[4])
			}
			inv.Slots = append(inv.Slots, s)
		}
	}
	if !header || len(inv.Drives)+len(inv.Slots) == 0 {
		return nil, errors.New("read mtx status: this is not the status of a changer")
	}
	return inv, nil
}

// tagOf takes the label out of what follows "Full"; an alternate tag behind it is cut off.
func tagOf(rest string) Barcode {
	m := mtxTag().FindStringSubmatch(rest)
	if m == nil {
		return ""
	}
	tag, _, _ := strings.Cut(m[1], ":AlternateVolumeTag")
	return Barcode(strings.TrimSpace(tag))
}

// Inquiry is what mtx inquiry says of a device.
type Inquiry struct {
	Type     string // "Tape Drive", "Medium Changer"
	Vendor   string
	Product  string
	Revision string
}

// parseInquiry reads the standard output of mtx inquiry.
func parseInquiry(text string) (Inquiry, error) {
	var q Inquiry
	for _, line := range strings.Split(text, "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if len(value) >= 2 && value[0] == '\'' && value[len(value)-1] == '\'' {
			value = strings.TrimSpace(value[1 : len(value)-1])
		}
		switch key {
		case "Product Type":
			q.Type = value
		case "Vendor ID":
			q.Vendor = value
		case "Product ID":
			q.Product = value
		case "Revision":
			q.Revision = value
		}
	}
	if q.Type == "" {
		return q, errors.New("read mtx inquiry: no product type")
	}
	return q, nil
}

// Names of LTO drives: IBM's "ULT3580-TD8" and "ULT3580-HH8", HP's and Quantum's "Ultrium 5-SCSI",
// "ULTRIUM-HH7", "LTO-6".
var driveGeneration = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:ULT3580-(?:TD|HH)|ULTRIUM[ -](?:HH|TD)?|LTO[ -]?)(\d{1,2})`)
})

// Generation is the LTO generation of a drive by its product name, 0 unknown.
func (q Inquiry) Generation() int {
	m := driveGeneration().FindStringSubmatch(q.Product)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n > 20 {
		return 0
	}
	return n
}

// sense is one request sense block that mtx printed on stderr.
type sense struct {
	Key       string // "Not Ready"
	Code      int    // additional sense code
	Qualifier int    // -1: not printed
}

func (s sense) String() string {
	return fmt.Sprintf("sense %s %02X/%02X", s.Key, s.Code, s.Qualifier)
}

// parseSense collects the request sense blocks of mtx's stderr, in order. mtx prints one also for
// things that do no harm, with exit code 0.
func parseSense(stderr string) []sense {
	var out []sense
	var cur *sense
	for _, line := range strings.Split(stderr, "\n") {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), "mtx: Request Sense: ")
		if !ok {
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			continue
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch key {
		case "Sense Key":
			out = append(out, sense{Key: value, Code: -1, Qualifier: -1})
			cur = &out[len(out)-1]
		case "Additional Sense Code":
			if n, err := strconv.ParseUint(value, 16, 8); err == nil && cur != nil {
				cur.Code = int(n)
			}
		case "Additional Sense Qualifier":
			if n, err := strconv.ParseUint(value, 16, 8); err == nil && cur != nil {
				cur.Qualifier = int(n)
			}
		}
	}
	return out
}

// unitAttention tells whether mtx failed because the changer first wanted to report that something had happened.
func unitAttention(stderr string) bool {
	all := parseSense(stderr)
	return len(all) > 0 && all[len(all)-1].Key == "Unit Attention"
}

// cause maps a sense to an error that callers know, with a hint; nil for the others.
// Codes: SPC-4 annex D; which one comes when was recorded from a real library.
func (s sense) cause() (hint string, err error) {
	switch {
	case s.Code == 0x04 && s.Qualifier == 0x12:
		return "bring the library online at its panel", ErrLibraryOffline
	case s.Code == 0x3A && s.Qualifier == 0x02:
		return "close the mail slot of the library", ErrDoorOpen
	case s.Code == 0x04 && s.Qualifier == 0x03:
		return "the drive refused the cartridge: look for its generation and for damage at the library's panel", ErrIncompatible
	case s.Code == 0x53 && s.Qualifier == 0x02:
		return "the drive holds the cartridge: set eject_before_unload, or see who uses the drive", ErrBusy
	}
	return "", nil
}

// mtxCause finds the known cause of a failed mtx, the last sense first.
func mtxCause(stderr string) (hint string, cause error) {
	all := parseSense(stderr)
	for i := len(all) - 1; i >= 0; i-- {
		if hint, err := all[i].cause(); err != nil {
			return hint, err
		}
	}
	return "", nil
}
