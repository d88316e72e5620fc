package virtual

import "io"

// Options shape a new library. Zero values: 8 slots, 2 drives, no mail slots, LTO-8, 1 GiB tapes.
type Options struct {
	Slots, Drives, MailSlots int
	Generation               int      // LTO generation of drives and tapes
	TapeSize                 int64    // bytes of the data partition
	Tapes                    int      // cartridges in the first slots; 0: all but the last slot
	Prefix                   string   // of barcodes: "VT" gives VT0001L8
	Program                  []string // argv that the scripts in bin/ start, "mtx" and so on appended; e.g. tapefs virtual
}

// Drive is what a configuration needs of a drive.
type Drive struct {
	Serial, Device, Tape string
	Element              int
}

// Library is a created or opened virtual library.
type Library struct {
	Dir     string
	Changer string // device to give to mtx
	Drives  []Drive
	Bin     string // folder with mtx, mt, mkltfs, ltfs, ltfsck, lsscsi
}

// Create makes a library in an empty or missing directory.
func Create(dir string, o Options) (*Library, error) { panic("unwritten") }
func Open(dir string) (*Library, error)              { panic("unwritten") }

// Main is the command tapefs virtual: args[0] is create, mtx, mt, mkltfs, ltfs, ltfsck, lsscsi, fault or log.
// Returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int { panic("unwritten") }

// Fault sets or clears faults: "slow-load=20s", "clear".
func (l *Library) Fault(kinds ...string) error { panic("unwritten") }

// Event is one line of the library's log: what a drive or the robot did.
type Event struct {
	Time    int64   `json:"time"`  // Unix ns
	Clock   float64 `json:"clock"` // virtual seconds this drive has been busy
	Drive   int     `json:"drive"` // -1 the robot
	Kind    string  `json:"kind"`  // load, unload, mount, unmount, sync, seek, read, write, format, stop
	Barcode string  `json:"barcode,omitempty"`
	File    string  `json:"file,omitempty"`
	Offset  int64   `json:"offset,omitempty"`
	Bytes   int64   `json:"bytes,omitempty"`
	Seconds float64 `json:"seconds,omitempty"` // of virtual time that it took
}

// Log reads the library's events from the beginning.
func (l *Library) Log() ([]Event, error) { panic("unwritten") }
