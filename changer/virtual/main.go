package virtual

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// Main is the command tapefs virtual: args[0] is create, mtx, mt, mkltfs, ltfs, ltfsck, lsscsi, sg_read_attr, sg_logs, fault or log.
// Returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(stderr, usage)
		return 2
	}
	var err error
	switch args[0] {
	case "--help", "-h", "help":
		fmt.Fprintf(stdout, "%s\n\n", usage)
		err = faultHelp(stdout)
	case "create":
		err = createCommand(args[1:], stdout)
	case "fault":
		err = faultCommand(args[1:], stdout)
	case "log":
		err = logCommand(args[1:], stdout)
	default:
		return runProgram(args, stdout, stderr)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "virtual %s: %v\n", args[0], err)
		return 2
	}
	fmt.Fprintf(stderr, "virtual %s: %v\n", args[0], err)
	return 1
}

const usage = "usage: virtual create|fault|log DIR …, or virtual mtx|mt|mkltfs|ltfs|ltfsck|lsscsi|sg_read_attr|sg_logs --library DIR …"

var errUsage = errors.New("usage")

// runProgram is one of the programs: NAME --library DIR ARGS...
func runProgram(args []string, stdout, stderr io.Writer) int {
	run := map[string]func(*Library, []string, io.Writer, io.Writer) int{
		"mtx": runMtx, "mt": runMt, "mkltfs": runMkltfs, "ltfs": runLtfs, "ltfsck": runLtfsck, "lsscsi": runLsscsi,
		"sg_read_attr": runSgReadAttr, "sg_logs": runSgLogs,
	}[args[0]]
	if run == nil {
		fmt.Fprintf(stderr, "virtual: unknown command %q\n", args[0])
		return 2
	}
	if len(args) < 3 || args[1] != "--library" {
		fmt.Fprintf(stderr, "virtual %s: --library DIR must come first\n", args[0])
		return 2
	}
	l, err := Open(args[2])
	if err != nil {
		fmt.Fprintf(stderr, "virtual %s: %v\n", args[0], err)
		return 1
	}
	return run(l, args[3:], stdout, stderr)
}

type createFlags struct {
	Dir        string   `arg:"" help:"Empty or missing directory."`
	Slots      int      `help:"Storage slots." default:"8"`
	Drives     int      `help:"Drives." default:"2"`
	Drive      []string `help:"One drive after the other, instead of --drives." placeholder:"GENERATION[:VENDOR:PRODUCT:REVISION]" sep:"none"`
	MailSlots  int      `help:"Import/export slots."`
	TapeSize   string   `help:"Capacity of a tape." default:"1GiB" placeholder:"SIZE"`
	Generation int      `help:"LTO generation of drives and tapes." default:"8"`
	Tapes      int      `help:"Cartridges in the first slots; -1 for none. Default: all but the last slot, less those given by --tape."`
	Flavor     string   `help:"Of the LTFS programs: openltfs or hpe." default:"openltfs" enum:"openltfs,hpe" env:"TAPEFS_VIRTUAL_FLAVOR"`
	Prefix     string   `help:"Of the barcodes." default:"VT"`
	Tape       []string `help:"A cartridge of your own; flags: blank, raw, wp, size=SIZE." placeholder:"SLOT=BARCODE[,FLAG]..." sep:"none"`
}

func createCommand(args []string, stdout io.Writer) error {
	var f createFlags
	exited := false
	parser, err := kong.New(&f, kong.Name("virtual create"), kong.Description("Make a tape library in a directory."),
		kong.Writers(stdout, stdout), kong.Exit(func(int) { exited = true }))
	if err != nil {
		return err
	}
	_, err = parser.Parse(args)
	if exited {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %v", errUsage, err)
	}
	size, err := parseSize(f.TapeSize)
	if err != nil {
		return fmt.Errorf("%w: %v", errUsage, err)
	}
	own := map[int]Cartridge{}
	for _, t := range f.Tape {
		slot, c, err := parseTape(t)
		if err != nil {
			return fmt.Errorf("%w: --tape %s: %v", errUsage, t, err)
		}
		own[slot] = c
	}
	o := Options{Slots: f.Slots, Drives: f.Drives, MailSlots: f.MailSlots, Generation: f.Generation, TapeSize: size,
		Tapes: f.Tapes, Prefix: f.Prefix, Flavor: f.Flavor}
	for _, d := range f.Drive {
		k, err := parseDrive(d)
		if err != nil {
			return fmt.Errorf("%w: --drive %s: %v", errUsage, d, err)
		}
		o.Kinds = append(o.Kinds, k)
	}
	l, err := Create(f.Dir, o)
	if err != nil {
		return err
	}
	for slot := 1; slot <= f.Slots+f.MailSlots; slot++ {
		c, ok := own[slot]
		if !ok {
			continue
		}
		st, err := l.view()
		if err != nil {
			return err
		}
		if st.Slots[slot-1] != "" {
			if err := l.Remove(slot); err != nil {
				return err
			}
		}
		if err := l.Add(slot, c); err != nil {
			return err
		}
		delete(own, slot)
	}
	for slot := range own {
		return fmt.Errorf("add tape to slot %d: there are slots 1 to %d", slot, f.Slots+f.MailSlots)
	}
	fmt.Fprintf(stdout, "changer %s\n", l.Changer)
	for _, d := range l.Drives {
		fmt.Fprintf(stdout, "drive %d %s %s %s\n", d.Element, d.Serial, d.Device, d.Tape)
	}
	fmt.Fprintf(stdout, "programs %s\n", l.Bin)
	return nil
}

// parseDrive reads GENERATION[:VENDOR:PRODUCT:REVISION], as in 5:HP:Ultrium 5-SCSI:Z51U.
func parseDrive(s string) (k DriveKind, err error) {
	f := strings.Split(s, ":")
	if k.Generation, err = strconv.Atoi(f[0]); err != nil || len(f) > 4 {
		return k, errors.New("wants GENERATION[:VENDOR:PRODUCT:REVISION]")
	}
	f = append(f, "", "", "")
	k.Vendor, k.Product, k.Revision = f[1], f[2], f[3]
	return k, nil
}

// parseTape reads SLOT=BARCODE[,blank|raw|wp|size=SIZE]...; an empty barcode is a tape without label.
func parseTape(s string) (int, Cartridge, error) {
	slot, rest, ok := strings.Cut(s, "=")
	n, err := strconv.Atoi(slot)
	if err != nil || !ok {
		return 0, Cartridge{}, errors.New("wants SLOT=BARCODE")
	}
	flags := strings.Split(rest, ",")
	c := Cartridge{Barcode: flags[0]}
	for _, flag := range flags[1:] {
		switch name, arg, _ := strings.Cut(flag, "="); name {
		case Blank, Raw:
			c.Content = name
		case "wp":
			c.WriteProtected = true
		case "size":
			if c.Size, err = parseSize(arg); err != nil {
				return 0, c, err
			}
		default:
			return 0, c, fmt.Errorf("unknown flag %q", flag)
		}
	}
	return n, c, nil
}

func faultCommand(args []string, stdout io.Writer) error {
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		return faultHelp(stdout)
	}
	if len(args) < 2 {
		return fmt.Errorf("%w: virtual fault DIR KIND[=ARG] ...; the library comes first, and --help lists the kinds", errUsage)
	}
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	return l.Fault(args[1:]...)
}

func logCommand(args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("%w: virtual log DIR", errUsage)
	}
	l, err := Open(args[0])
	if err != nil {
		return err
	}
	events, err := l.Log()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(stdout)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return nil
}
