package virtual

import (
	"fmt"
	"io"
	"strings"
)

// The families of LTFS programs that a library can have, under the names that tapefs gives them.
const (
	OpenLTFS = "openltfs"
	HPE      = "hpe"
)

// speech is how one family of LTFS programs answers. Tapes, drives and faults are the same for both: it holds what the programs say
// of themselves and of a volume, with which codes they exit, and what they do in their own way.
type speech struct {
	hpe bool // they do as HPE's did when they were recorded

	starts    string // in the first message of a run
	version   string // in attributes
	short     string // in the cartridge's memory, which has 8 characters for it
	creator   string // of labels and indexes
	vendor    string // of the programs
	product   string
	backend   string // as the plugin for drives is called
	scheduler string
	maxBlock  int64 // of a drive, as they see it

	dots bool // messages of one sentence end in a dot

	// Exit codes of ltfsck and mkltfs.
	consistent, noMedium, writeProtected int
}

var speeches = map[string]*speech{
	OpenLTFS: {
		starts: "LTFS version 2.4.8.4 (Prelim)", version: "2.4.8.4 (Prelim)", short: "2.4.8.4", creator: "IBM LTFS 2.4.8.4 (Prelim)",
		vendor: "IBM", product: "LTFS LE", backend: `"sg" tape backend`, scheduler: `"unified" iosched backend`, maxBlock: 1 << 20,
		dots: true, consistent: exitConsistent, noMedium: exitNoMedium, writeProtected: exitUsage,
	},
	HPE: {
		hpe:    true,
		starts: "HPE StoreOpen Software version 3.5.0", version: "3.5.0", short: "3.5.0", creator: "HPE LTFS 3.5.0",
		vendor: "HPE ", product: "StoreOpen Software", backend: `"ltotape" driver`, scheduler: `"unified" iosched`, maxBlock: 512 << 10,
		noMedium:       0,   // as if all were well
		writeProtected: 155, // a negative number, cut to 8 bits
	},
}

// speechOf finds the family by its name; none is OpenLTFS.
func speechOf(flavor string) (*speech, error) {
	if flavor == "" {
		flavor = OpenLTFS
	}
	s, ok := speeches[flavor]
	if !ok {
		return nil, fmt.Errorf("LTFS programs of flavor %q: %s or %s", flavor, OpenLTFS, HPE)
	}
	return s, nil
}

// tellVersion is what a program prints of itself; it exits with 0.
func (s *speech) tellVersion(w io.Writer, program string) int {
	line := program + " version " + s.version
	if s.hpe && program == "LTFS" {
		line = s.starts + " (build 12)"
	}
	fmt.Fprintf(w, "%s\nLTFS Format Specification version 2.4.0\n", line)
	return 0
}

// made is what a program writes into an index as its maker.
func (s *speech) made(program, why string) string {
	return fmt.Sprintf("%s - Linux - %s - %s", s.creator, program, why)
}

// openOnly are messages that HPE's programs do not have, beside all that begin with 30 and 39.
var openOnly = map[string]bool{"11031I": true, "11330I": true, "11331E": true, "11332I": true, "11333I": true, "11337I": true,
	"12016E": true, "12017E": true, "14074I": true, "14095I": true, "14123W": true, "15012E": true, "17188I": true, "17227I": true,
	"17228I": true, "17235I": true, "17236I": true, "17259I": true, "17265I": true, "17273E": true}

// says is a message as the family words it, "" when it does not have it.
func (s *speech) says(line string) string {
	code, is := strings.CutPrefix(line, "LTFS")
	if !is || len(code) < 6 {
		return line
	}
	code = code[:6]
	if s.hpe && (openOnly[code] || strings.HasPrefix(code, "30") || strings.HasPrefix(code, "39")) {
		return ""
	}
	if !s.dots && !strings.Contains(line, ". ") {
		line = strings.TrimSuffix(line, ".")
	}
	return line
}
