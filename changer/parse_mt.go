package changer

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/tapefs/tapefs/changer/lto"
)

// MTStatus is what mt status says of a drive. mt exits 0 whatever the state: only the bits count.
type MTStatus struct {
	Online, BOT, WriteProtected, DoorOpen, EOD bool
	Cleaning                                   bool   // the drive asks to be cleaned
	Density                                    string // "LTO-8"
	File, Block                                int64
}

// Bits of the general status, from linux/mtio.h.
const (
	gmtBOT    = 0x40000000
	gmtEOD    = 0x08000000
	gmtWRPROT = 0x04000000
	gmtONLINE = 0x01000000
	gmtDROPEN = 0x00040000
	gmtCLN    = 0x00008000
)

var (
	mtPosition = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`File number=(-?\d+), block number=(-?\d+), partition=(-?\d+)`)
	})
	mtDensity = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`Density code 0x([0-9a-fA-F]+) \((.*)\)\.`) })
	mtBits    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`General status bits on \(([0-9a-fA-F]+)\):`) })
	mtAtBlock = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^At block (\d+)\.\s*$`) })
)

// parseMT reads the standard output of mt status. Without the line of bits it is an error: nothing
// is concluded from silence.
func parseMT(text string) (MTStatus, error) {
	st := MTStatus{File: -1, Block: -1}
	m := mtBits().FindStringSubmatch(text)
	if m == nil {
		return st, errors.New("read mt status: no status bits")
	}
	bits, err := strconv.ParseUint(m[1], 16, 32)
	if err != nil {
		return st, errors.New("read mt status: status bits " + m[1] + " make no sense")
	}
	st.Online = bits&gmtONLINE != 0
	st.BOT = bits&gmtBOT != 0
	st.WriteProtected = bits&gmtWRPROT != 0
	st.DoorOpen = bits&gmtDROPEN != 0
	st.EOD = bits&gmtEOD != 0
	st.Cleaning = bits&gmtCLN != 0
	if m := mtPosition().FindStringSubmatch(text); m != nil {
		file, err1 := strconv.ParseInt(m[1], 10, 64)
		block, err2 := strconv.ParseInt(m[2], 10, 64)
		if err1 == nil && err2 == nil {
			st.File, st.Block = file, block
		}
	}
	if m := mtDensity().FindStringSubmatch(text); m != nil {
		code, err := strconv.ParseUint(m[1], 16, 32)
		if err == nil && code != 0 {
			st.Density = m[2]
			if f, ok := lto.ByDensity(code); ok { // mt programs do not know the newer ones
				st.Density = f.Name
			}
		}
	}
	return st, nil
}

// parseTell reads the standard output of mt tell: the block at which the tape stands.
func parseTell(text string) (int64, error) {
	for _, line := range strings.Split(text, "\n") {
		if m := mtAtBlock().FindStringSubmatch(line); m != nil {
			return strconv.ParseInt(m[1], 10, 64)
		}
	}
	return 0, errors.New("read mt tell: no position")
}
