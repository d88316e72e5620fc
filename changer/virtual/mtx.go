package virtual

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// mtx is one run of the program mtx.
type mtx struct {
	l              *Library
	device         string
	kind           deviceKind
	drive          int
	nobarcode      bool
	altres         bool
	stdout, stderr io.Writer
}

// errExit ends a program whose message is already written.
var errExit = errors.New("exit 1")

// Element addresses of the recorded library.
const (
	addressDrive = 257
	addressMail  = 768
	addressSlot  = 1024
)

func runMtx(l *Library, args []string, stdout, stderr io.Writer) int {
	m := &mtx{l: l, stdout: stdout, stderr: stderr, device: os.Getenv("CHANGER")}
	if m.device == "" {
		m.device = "/dev/changer"
	}
	if err := m.run(args); err != nil {
		if !errors.Is(err, errExit) {
			fmt.Fprintln(stderr, err)
		}
		return 1
	}
	return 0
}

func (m *mtx) fatal(format string, a ...any) error {
	fmt.Fprintf(m.stderr, format+"\n", a...)
	return errExit
}

func (m *mtx) run(args []string) error {
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch word {
		case "-f":
			if len(args) == 0 {
				return m.fatal("No device specified")
			}
			m.device, args = args[0], args[1:]
			continue
		case "nobarcode":
			m.nobarcode = true
			continue
		case "noattach", "invert":
			continue
		case "altres":
			m.altres = true
			continue
		case "--version":
			fmt.Fprintln(m.stdout, "mtx version 1.3.12")
			continue
		}
		n := 0
		for n < len(args) && isNumber(args[n]) {
			n++
		}
		if err := m.open(); err != nil {
			return err
		}
		if err := m.command(word, args[:n]); err != nil {
			return err
		}
		args = args[n:]
	}
	return nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return err == nil
}

// open looks at the device, as opening it would.
func (m *mtx) open() error {
	m.kind, m.drive = m.l.device(m.device)
	why := ""
	switch m.kind {
	case devNone:
		_, err := os.Stat(m.device)
		why = "No such device"
		if errors.Is(err, os.ErrNotExist) {
			why = "No such file or directory"
		}
	case devDrive:
		if m.l.isSilent(m.drive) {
			why = "No such device or address"
		}
	case devTape:
		st, err := m.l.view()
		if err != nil {
			return err
		}
		if d := st.Drives[m.drive]; d.Tape == "" || d.Ejected {
			why = "No medium found"
		}
	}
	if why != "" {
		return m.fatal("cannot open SCSI device '%s' - %s", m.device, why)
	}
	return nil
}

func (m *mtx) command(word string, args []string) error {
	switch word {
	case "inquiry":
		return m.inquiry()
	case "eject":
		m.sense("Illegal Request", "21", "01", "")
		fmt.Fprint(m.stderr, "Eject (0x1B) failed\nmtx:eject failed\n")
		return nil
	case "eepos":
		return nil
	}
	f, err := m.l.loadFaults()
	if err != nil {
		return err
	}
	if err := m.readElements(f); err != nil {
		return err
	}
	if f.has("noise") {
		m.sense("Unit Attention", "28", "00", "")
		fmt.Fprintln(m.stderr, "Mode sense (0x1A) for Page 0x1D failed")
	}
	switch word {
	case "status":
		return m.status(f)
	case "inventory":
		return nil
	case "load", "unload", "transfer", "first", "last", "next", "previous":
		robot, err := m.l.lockRobot()
		if err != nil {
			return err
		}
		defer robot.Close()
		return m.move(word, args, f)
	case "exchange":
		a, b, err := m.exchangeArgs(args)
		if err != nil {
			return err
		}
		m.sense("Illegal Request", "20", "00", "00")
		return m.fatal("EXCHANGE MEDIUM from Element Address %d to %d Failed", a, b)
	}
	return m.fatal("mtx: unknown command '%s'", word)
}

// readElements fails as READ ELEMENT STATUS would.
func (m *mtx) readElements(f faults) error {
	switch {
	case m.kind != devChanger:
		m.sense("Illegal Request", "20", "00", "00")
	case m.altres:
		m.sense("Illegal Request", "24", "00", "04")
	case f.has("unit-attention"): // reported once
		if err := m.l.Fault("clear=unit-attention"); err != nil {
			return err
		}
		m.sense("Unit Attention", "28", "00", "")
	case f.has("offline"):
		m.sense("Not Ready", "04", "12", "")
		fmt.Fprintln(m.stderr, "Mode sense (0x1A) for Page 0x1D failed")
		m.sense("Not Ready", "04", "12", "")
	default:
		return nil
	}
	return m.fatal("READ ELEMENT STATUS Command Failed")
}

// sense prints request sense data as mtx does; field is "" when no field of the command is blamed.
func (m *mtx) sense(key, asc, ascq, field string) {
	p := func(format string, a ...any) { fmt.Fprintf(m.stderr, "mtx: Request Sense: "+format+"\n", a...) }
	p("Long Report=yes")
	p("Valid Residual=yes")
	p("Error Code=70 (Current)")
	p("Sense Key=%s", key)
	p("FileMark=no")
	p("EOM=no")
	p("ILI=no")
	p("Residual = 00 00 00 00")
	p("Additional Sense Code = %s", asc)
	p("Additional Sense Qualifier = %s", ascq)
	if field != "" {
		p("Field in Error = %s", field)
	}
	p("BPV=no")
	if field == "" {
		p("Error in CDB=no")
		p("SKSV=no")
		return
	}
	p("Error in CDB=yes")
	p("SKSV=yes")
	p("Field Pointer = 00 00")
}

func (m *mtx) inquiry() error {
	kind, maker, product, revision := "Medium Changer", vendor, changerProduct, changerRevision
	if m.kind != devChanger {
		k := m.l.Drives[m.drive].kind
		kind, maker, product, revision = "Tape Drive", k.Vendor, k.Product, k.Revision
	}
	fmt.Fprintf(m.stdout, "Product Type: %s\nVendor ID: '%-8s'\nProduct ID: '%-16s'\nRevision: '%s'\nAttached Changer API: No\n",
		kind, maker, product, revision)
	return nil
}

// Identity of the devices, as recorded.
const (
	vendor          = "IBM"
	changerProduct  = "03584L32"
	changerRevision = "0108"
	driveRevision   = "2160"
)

func driveProduct(generation int) string { return fmt.Sprintf("ULT3580-TD%d", generation) }

func (m *mtx) status(f faults) error {
	st, err := m.l.view()
	if err != nil {
		return err
	}
	fmt.Fprintf(m.stdout, "  Storage Changer %s:%d Drives, %d Slots ( %d Import/Export )\n",
		m.device, len(st.Drives), len(st.Slots), st.MailSlots)
	for i := range st.Drives {
		d := st.Drives[f.exchanged("exchanged-elements", i)]
		if d.Tape == "" {
			fmt.Fprintf(m.stdout, "Data Transfer Element %d:Empty\n", i)
			continue
		}
		tag, err := m.tag(d.Tape, d.From, f)
		if err != nil {
			return err
		}
		from := "(Unknown Storage Element Loaded)"
		if d.From != 0 && !f.names("unknown-source", strconv.Itoa(i)) {
			from = fmt.Sprintf("(Storage Element %d Loaded)", d.From)
		}
		if tag != "" {
			tag = fmt.Sprintf(":VolumeTag = %-36s", tag)
		}
		fmt.Fprintf(m.stdout, "Data Transfer Element %d:Full %s%s\n", i, from, tag)
	}
	for i, id := range st.Slots {
		kind := ""
		if i >= len(st.Slots)-st.MailSlots {
			kind = " IMPORT/EXPORT"
		}
		if id == "" {
			fmt.Fprintf(m.stdout, "      Storage Element %d%s:Empty\n", i+1, kind)
			continue
		}
		tag, err := m.tag(id, i+1, f)
		if err != nil {
			return err
		}
		if tag != "" {
			tag = fmt.Sprintf(":VolumeTag=%-36s", tag)
		}
		fmt.Fprintf(m.stdout, "      Storage Element %d%s:Full %s\n", i+1, kind, tag)
	}
	return nil
}

func (m *mtx) tag(id string, slot int, f faults) (string, error) {
	if m.nobarcode {
		return "", nil
	}
	mt, err := m.l.loadMeta(id)
	if err != nil {
		return "", err
	}
	tag := f.tag(slot, mt.Barcode)
	if _, ok := formatOf(tag); ok && f.has("no-suffix") {
		tag = tag[:6]
	}
	return tag, nil
}

// stuckPoll is how often a stuck robot looks whether it was freed.
const stuckPoll = 50 * time.Millisecond

// waitStuck does not return while the robot is stuck.
func (l *Library) waitStuck() error {
	for begin := time.Now(); ; {
		f, err := l.loadFaults()
		if err != nil {
			return err
		}
		if !f.has("stuck-robot") && time.Since(begin) >= f.duration("slow-robot", 0) {
			return nil
		}
		time.Sleep(stuckPoll)
	}
}
