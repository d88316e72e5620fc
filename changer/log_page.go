package changer

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Log pages are what a drive counts and remembers (SPC: LOG SENSE). sg_logs of sg3-utils fetches them; with --raw it prints the page as
// the drive sent it, whose layout the standards fix, while the text that it prints otherwise differs between its versions.

// The pages that are read, by their numbers in SSC.
const (
	pageDeviceStatistics = 0x14
	pageVolumeStatistics = 0x17
	pageTapeAlert        = 0x2e
)

// logPage is a log page: its parameters by their code.
type logPage map[uint16][]byte

// parseLogPage reads a page: a header of page code, subpage and length, then parameters of code, control byte, length and value.
func parseLogPage(page byte, raw string) (logPage, error) {
	const header = 4
	b := []byte(raw)
	if len(b) < header || b[0]&0x3f != page {
		return nil, fmt.Errorf("read log page 0x%x: %d bytes that are not that page", page, len(b))
	}
	if b[0]&0x40 != 0 && b[1] != 0 {
		return nil, fmt.Errorf("read log page 0x%x: it is subpage 0x%x", page, b[1])
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if b = b[header:]; len(b) < n {
		return nil, fmt.Errorf("read log page 0x%x: %d bytes of %d", page, len(b), n)
	}
	p := logPage{}
	for b = b[:n]; len(b) > 0; {
		if len(b) < header || len(b) < header+int(b[3]) {
			return nil, errors.New("read log page: a parameter is cut off")
		}
		end := header + int(b[3])
		p[binary.BigEndian.Uint16(b)] = b[header:end]
		b = b[end:]
	}
	return p, nil
}

// number is a counter of the page, -1 where it is not there, longer than a counter, or has all bits set, which means unknown.
func (p logPage) number(code uint16) int64 {
	b, ok := p[code]
	if !ok || len(b) == 0 || len(b) > 8 {
		return -1
	}
	n, all := uint64(0), true
	for _, x := range b {
		n = n<<8 | uint64(x)
		all = all && x == 0xff
	}
	if all && len(b) > 1 || n > 1<<62 {
		return -1
	}
	return int64(n)
}
