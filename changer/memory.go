package changer

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// A cartridge has a memory chip, the MAM, in which LTFS and other programs write the barcode: attribute 0806h, BARCODE, 32
// characters filled up with blanks (SPC-5, 7.4.2; LTFS format 2.4). OpenLTFS writes the six characters of mkltfs -s there, HPE's leaves
// what is in it. It tells which cartridge the drive holds whatever the changer and the configuration say.

// memoryBarcode is the line that sg_read_attr of sg3-utils prints for attribute 0806h.
var memoryBarcode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^\s*Barcode:[ \t]*(.*)$`) })

// parseMemory reads the barcode from what sg_read_attr -f 0x806 prints, "" when it has none.
func parseMemory(text string) Barcode {
	m := memoryBarcode().FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return Barcode(strings.Trim(m[1], " \t\r\x00"))
}

// memory asks the drive for the barcode in the memory of the loaded cartridge. "" when it holds none, when the drive does not tell,
// and when sg_read_attr is not there.
func (le *Lease) memory(ctx context.Context) Barcode {
	res, err := le.l.query(ctx, le.l.cfg.Programs.SgReadAttr, "-f", "0x806", le.d.Device)
	if err != nil {
		le.l.log.Debug("read the barcode in the cartridge's memory", "drive", le.d.Serial, "err", err)
		return ""
	}
	return parseMemory(res.stdout)
}

// remembers reports whether the barcode in a cartridge's memory may be that of a tape: the same one, with or without the media
// suffix, or its first six characters.
func (b Barcode) remembers(memory Barcode) bool {
	memory = Barcode(strings.ToUpper(string(memory)))
	b = Barcode(strings.ToUpper(string(b)))
	return memory == "" || b.Same(memory) || string(memory) == b.Serial()
}

// memoryAgrees refuses a cartridge whose memory names another tape than the one that is to be overwritten.
func (le *Lease) memoryAgrees(ctx context.Context, op string, want Barcode) error {
	memory := le.memory(ctx)
	if want.remembers(memory) {
		return nil
	}
	return fail(op, fmt.Errorf("%w: the memory of the cartridge in %s says %q", ErrOtherCartridge, nameOf(le.d), memory),
		fmt.Sprintf("nothing was written; look at the label of the cartridge. If it was given a new one: tapefs tape format %s --erase %s --unproved", want, want))
}
