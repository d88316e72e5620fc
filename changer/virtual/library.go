package virtual

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tapefs/tapefs/changer/lto"
)

// Options shape a new library. Zero values: 8 slots, 2 drives, no mail slots, LTO-8, 1 GiB tapes.
type Options struct {
	Slots, Drives, MailSlots int
	Generation               int         // LTO generation of drives and tapes
	TapeSize                 int64       // bytes of the data partition
	Tapes                    int         // cartridges in the first slots; 0: all but the last slot; below 0: none
	Prefix                   string      // of barcodes: "VT" gives VT0001L8
	Flavor                   string      // of the LTFS programs: OpenLTFS, the default, or HPE
	Kinds                    []DriveKind // of the drives, one by one; their number is that of the drives
	Program                  []string    // argv that the scripts in bin/ start, "mtx" and so on appended; e.g. tapefs virtual
}

// DriveKind is what a drive says that it is. Fields that are empty are those of the recorded drives.
type DriveKind struct {
	Generation int    `json:"generation,omitempty"` // LTO generation; 0 the library's
	Vendor     string `json:"vendor,omitempty"`
	Product    string `json:"product,omitempty"`
	Revision   string `json:"revision,omitempty"`
}

func (k DriveKind) filled(generation int, s *speech) DriveKind {
	if k.Generation == 0 {
		k.Generation = generation
	}
	maker, product, revision := vendor, driveProduct(k.Generation), driveRevision
	if s.hpe { // its programs take no other drives
		maker, product, revision = "HP", fmt.Sprintf("Ultrium %d-SCSI", k.Generation), "Z51U"
	}
	k.Vendor, k.Product, k.Revision = cmp.Or(k.Vendor, maker), cmp.Or(k.Product, product), cmp.Or(k.Revision, revision)
	return k
}

// Drive is what a configuration needs of a drive.
type Drive struct {
	Serial, Device, Tape string
	Element              int

	kind DriveKind
}

// Library is a created or opened virtual library. Safe for concurrent use, also by several processes.
type Library struct {
	Dir     string
	Changer string // device to give to mtx
	Drives  []Drive
	Bin     string // folder with mtx, mt, mkltfs, ltfs, ltfsck, lsscsi, sg_read_attr, sg_logs

	generation int
	program    []string
	speech     *speech
}

// programs are the names under which scripts are made in bin/.
var programs = []string{"mtx", "mt", "mkltfs", "ltfs", "ltfsck", "lsscsi", "sg_read_attr", "sg_logs"}

// ltfsGeneration reports whether LTFS knows drives of a generation.
func ltfsGeneration(g int) bool { return g >= lto.FirstLTFS && g <= lto.Latest }

func (o Options) withDefaults() (Options, error) {
	if o.Slots == 0 {
		o.Slots = 8
	}
	if len(o.Kinds) > 0 {
		o.Drives = len(o.Kinds)
	}
	for _, k := range o.Kinds {
		if k.Generation != 0 && !ltfsGeneration(k.Generation) {
			return o, fmt.Errorf("a drive of LTO generation %d: LTFS needs %d to %d", k.Generation, lto.FirstLTFS, lto.Latest)
		}
		if o.Generation == 0 {
			o.Generation = k.Generation
		}
	}
	if o.Drives == 0 {
		o.Drives = 2
	}
	if o.Generation == 0 {
		o.Generation = 8
	}
	if o.TapeSize == 0 {
		o.TapeSize = 1 << 30
	}
	if o.Tapes == 0 {
		o.Tapes = o.Slots - 1
	}
	if o.Tapes < 0 {
		o.Tapes = 0
	}
	if o.Prefix == "" {
		o.Prefix = "VT"
	}
	if _, err := speechOf(o.Flavor); err != nil {
		return o, err
	}
	switch {
	case o.Slots < 1 || o.Slots > 1000:
		return o, fmt.Errorf("%d slots: 1 to 1000 are possible", o.Slots)
	case o.Drives < 1 || o.Drives > 64:
		return o, fmt.Errorf("%d drives: 1 to 64 are possible", o.Drives)
	case o.MailSlots < 0 || o.MailSlots > 255:
		return o, fmt.Errorf("%d mail slots: 0 to 255 are possible", o.MailSlots)
	case !ltfsGeneration(o.Generation):
		return o, fmt.Errorf("LTO generation %d: LTFS needs %d to %d", o.Generation, lto.FirstLTFS, lto.Latest)
	case o.TapeSize < minTapeSize:
		return o, fmt.Errorf("tapes of %d bytes: at least %d are needed", o.TapeSize, int64(minTapeSize))
	case o.Tapes > o.Slots:
		return o, fmt.Errorf("%d tapes do not fit into %d slots", o.Tapes, o.Slots)
	case len(o.Prefix) > 5 || strings.Trim(o.Prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "":
		return o, fmt.Errorf("barcode prefix %q: up to 5 capital letters and digits", o.Prefix)
	}
	return o, nil
}

// Create makes a library in an empty or missing directory.
func Create(dir string, o Options) (*Library, error) {
	l, err := create(dir, o)
	if err != nil {
		return nil, fmt.Errorf("create virtual library %s: %w", dir, err)
	}
	return l, nil
}

func create(dir string, o Options) (*Library, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(o.Program) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		o.Program = []string{self, "virtual"}
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, errors.New("directory is not empty")
	}
	for _, d := range []string{"bin", "dev/tape/by-id", "tapes", "drives"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	st := &state{Version: 1, Program: o.Program, Flavor: o.Flavor, Generation: o.Generation, TapeSize: o.TapeSize,
		MailSlots: o.MailSlots, Slots: make([]string, o.Slots+o.MailSlots)}
	for i := range o.Drives {
		d := driveState{Serial: fmt.Sprintf("VTLDRV%04d", i+1)}
		if i < len(o.Kinds) {
			d.Kind = o.Kinds[i]
		}
		st.Drives = append(st.Drives, d.empty())
	}
	if err := makeDevices(dir, st); err != nil {
		return nil, err
	}
	if err := makeScripts(dir, o.Program); err != nil {
		return nil, err
	}
	if err := st.save(dir); err != nil {
		return nil, err
	}
	l, err := open(dir)
	if err != nil {
		return nil, err
	}
	kind, _ := lto.ByGeneration(o.Generation)
	for i := range o.Tapes {
		digits := 6 - len(o.Prefix)
		c := Cartridge{Barcode: fmt.Sprintf("%s%0*d%s", o.Prefix, digits, i+1, kind.Suffix)}
		if err := l.Add(i+1, c); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// makeDevices places the files that stand for device nodes: sg0 and sch0 are the changer.
func makeDevices(dir string, st *state) error {
	names := []string{"sg0", "sch0"}
	links := map[string]string{"scsi-VTLCHANGER1": "sg0"}
	for i, d := range st.Drives {
		names = append(names, fmt.Sprintf("sg%d", i+1), fmt.Sprintf("st%d", i), fmt.Sprintf("nst%d", i))
		links["scsi-"+d.Serial] = fmt.Sprintf("st%d", i)
		links["scsi-"+d.Serial+"-nst"] = fmt.Sprintf("nst%d", i)
	}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, "dev", n), nil, 0o600); err != nil {
			return err
		}
	}
	for link, to := range links {
		if err := os.Symlink("../../"+to, filepath.Join(dir, "dev/tape/by-id", link)); err != nil {
			return err
		}
	}
	return nil
}

// makeScripts writes the programs: each replaces itself by argv of Options.Program.
func makeScripts(dir string, program []string) error {
	for _, name := range programs {
		var b strings.Builder
		b.WriteString("#!/bin/sh\nexec")
		for _, a := range append(append([]string{}, program...), name, "--library", dir) {
			b.WriteString(" '" + strings.ReplaceAll(a, "'", `'\''`) + "'")
		}
		b.WriteString(" \"$@\"\n")
		if err := os.WriteFile(filepath.Join(dir, "bin", name), []byte(b.String()), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Open finds the library in a directory that Create made.
func Open(dir string) (*Library, error) {
	l, err := open(dir)
	if err != nil {
		return nil, fmt.Errorf("open virtual library %s: %w", dir, err)
	}
	return l, nil
}

func open(dir string) (*Library, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	st, err := loadState(dir)
	if err != nil {
		return nil, err
	}
	l := &Library{Dir: dir, Changer: filepath.Join(dir, "dev", "sg0"), Bin: filepath.Join(dir, "bin"),
		generation: st.Generation, program: st.Program}
	if l.speech, err = speechOf(st.Flavor); err != nil {
		return nil, err
	}
	f, err := l.loadFaults()
	if err != nil {
		return nil, err
	}
	for i, d := range st.Drives {
		at := f.exchanged("exchanged-nodes", i)
		l.Drives = append(l.Drives, Drive{Serial: d.Serial, Element: f.exchanged("exchanged-elements", i), kind: d.Kind.filled(st.Generation, l.speech),
			Device: filepath.Join(dir, "dev", fmt.Sprintf("sg%d", at+1)),
			Tape:   filepath.Join(dir, "dev", fmt.Sprintf("nst%d", at))})
	}
	return l, nil
}

// kind of device node.
type deviceKind int

const (
	devNone    deviceKind = iota // no such node
	devChanger                   // sg0, sch0
	devDrive                     // sg1..
	devTape                      // nst0.., st0..
)

// device tells which of the library's nodes a path means, by itself or through symbolic links,
// and the drive's number.
func (l *Library) device(path string) (deviceKind, int) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return devNone, 0
	}
	want, err := os.Stat(filepath.Join(l.Dir, "dev"))
	if err != nil {
		return devNone, 0
	}
	have, err := os.Stat(filepath.Dir(real))
	if err != nil || !os.SameFile(want, have) {
		return devNone, 0
	}
	name := filepath.Base(real)
	if name == "sg0" || name == "sch0" {
		return devChanger, 0
	}
	for i, d := range l.Drives {
		switch nst := filepath.Base(d.Tape); name {
		case filepath.Base(d.Device):
			return devDrive, i
		case nst, strings.TrimPrefix(nst, "n"):
			return devTape, i
		}
	}
	return devNone, 0
}
