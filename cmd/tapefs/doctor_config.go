package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
)

// foundDrive is a drive as lsscsi and the links of udev show it.
type foundDrive struct {
	node   changer.Node
	nst    string // node for mt, without rewinding
	serial string // "" when no link tells it
	loaded bool   // mt status says that it has a tape
	silent error  // mt status failed

	element int
	proved  bool // by a tape that only this drive and this element have
}

// foundLibrary is what the machine shows.
type foundLibrary struct {
	changers []changer.Node
	device   string // of the first changer; "" for none
	inv      *changer.Inventory
	problem  error // mtx status failed
	drives   []foundDrive
}

// proposeLibrary prints a library: section made of what is connected.
func proposeLibrary(ctx context.Context, a *app) error {
	var programs config.Programs
	if conf, err := a.configuration(); err == nil {
		programs = conf.Library.Programs
	}
	found, err := findLibrary(ctx, programs)
	if err != nil {
		return err
	}
	return found.print(a.stdout, programs)
}

func findLibrary(ctx context.Context, programs config.Programs) (*foundLibrary, error) {
	nodes, err := changer.ListNodes(ctx, programs.Lsscsi)
	if err != nil {
		return nil, err
	}
	l := &foundLibrary{}
	for _, n := range nodes {
		switch n.Type {
		case "mediumx":
			l.changers = append(l.changers, n)
		case "tape":
			dir, name := filepath.Split(n.Primary)
			d := foundDrive{node: n, nst: dir + "n" + name, serial: linkSerial(dir, "n"+name, "-nst")}
			if st, err := changer.ReadDrive(ctx, programs.Mt, d.nst); err != nil {
				d.silent = err
			} else {
				d.loaded = st.Online
			}
			l.drives = append(l.drives, d)
		}
	}
	if len(l.drives) == 0 {
		return nil, withHint(errors.New("find a library: lsscsi shows no tape drive"),
			"is it switched on and cabled? modprobe -a sg st; tapefs init --virtual DIR tries things out without one")
	}
	if len(l.changers) == 0 {
		return l, nil
	}
	c := l.changers[0]
	l.device = c.Generic
	dir, name := filepath.Split(c.Generic)
	if s := linkSerial(dir, name, "-changer"); s != "" {
		l.device = filepath.Join(dir, "tape", "by-id", "scsi-"+s+"-changer")
	}
	if l.inv, l.problem = changer.ReadStatus(ctx, programs.Mtx, c.Generic); l.problem == nil {
		l.assign()
	}
	return l, nil
}

// wwn is how udev names a device by its world wide name: no serial that a person would know.
var wwn = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^3[0-9a-f]{16}$`) })

// linkSerial finds the serial in the link of /dev/tape/by-id that leads to a node: scsi-SERIAL-nst.
func linkSerial(dir, name, suffix string) string {
	links, err := filepath.Glob(filepath.Join(dir, "tape", "by-id", "scsi-*"+suffix))
	if err != nil {
		return ""
	}
	found := ""
	for _, link := range links {
		to, err := os.Readlink(link)
		if err != nil || filepath.Base(to) != name {
			continue
		}
		serial := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(link), "scsi-"), suffix)
		if found == "" || wwn().MatchString(found) {
			found = serial
		}
	}
	return found
}

// assign gives elements to drives. A tape that only one drive and one element have proves the pair, and
// so does being the only one without; the rest goes by the order of both.
func (l *foundLibrary) assign() {
	for _, full := range []bool{true, false} {
		var elements []int
		for _, e := range l.inv.Drives {
			if e.Full == full {
				elements = append(elements, e.Number)
			}
		}
		var drives []*foundDrive
		for i := range l.drives {
			if d := &l.drives[i]; d.silent == nil && d.loaded == full {
				drives = append(drives, d)
			}
		}
		if len(elements) != len(drives) {
			l.byOrder()
			return
		}
		for i, d := range drives {
			d.element, d.proved = elements[i], len(drives) == 1
		}
	}
}

// byOrder is the guess when changer and drives disagree on how many are loaded.
func (l *foundLibrary) byOrder() {
	for i := range l.drives {
		d := &l.drives[i]
		d.element, d.proved = i, false
		if i < len(l.inv.Drives) {
			d.element = l.inv.Drives[i].Number
		}
	}
}

func (l *foundLibrary) print(w io.Writer, programs config.Programs) error {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("library:")
	switch {
	case l.device == "" && len(l.drives) > 1:
		p("  # %d drives and no changer were found; without a changer there is exactly one drive", len(l.drives))
		p("  changer: none")
	case l.device == "":
		p("  changer: none   # no changer was found: the operator puts tapes into the drive")
	default:
		p("  changer: %s   # %s, now %s", strconv.Quote(l.device), l.changers[0].Name, l.changers[0].Generic)
	}
	for _, c := range l.changers[min(1, len(l.changers)):] {
		p("  # another changer: %s, %s", c.Generic, c.Name)
	}
	if l.problem != nil {
		p("  # its status could not be read: %s", oneLine(l.problem.Error()))
	} else if l.inv != nil && len(l.inv.Drives) != len(l.drives) {
		p("  # it has %d drives, and lsscsi shows %d", len(l.inv.Drives), len(l.drives))
	}
	p("  drives:")
	unproved := false
	for _, d := range l.drives {
		p("    # %s at [%s]: %s %s", d.node.Name, d.node.Address, d.node.Generic, d.nst)
		if d.silent != nil {
			p("    # it did not answer: %s", oneLine(d.silent.Error()))
		}
		if d.serial == "" {
			p("    # no link in %s tells its serial number; this name stands for it", filepath.Join(filepath.Dir(d.nst), "tape", "by-id"))
			p("    - serial: %s", strconv.Quote(filepath.Base(d.nst)))
		} else {
			p("    - serial: %s", strconv.Quote(d.serial))
		}
		switch {
		case l.device == "":
			p("      element: 0")
		case d.proved:
			p("      element: %d   # proved: changer and drive agree on where a tape is", d.element)
		default:
			unproved = true
			p("      element: %d   # by order, not proved", d.element)
		}
		if d.serial == "" || filepath.Dir(d.nst) != realMachine.dev {
			p("      device: %s", strconv.Quote(d.node.Generic))
			p("      tape: %s", strconv.Quote(d.nst))
		}
	}
	if unproved {
		p("  # To prove an element, let the robot load one drive (mtx load SLOT ELEMENT) and run tapefs doctor --fix-config again.")
	}
	if (programs != config.Programs{}) {
		p("  programs:")
		for _, q := range []namedProgram{{"mtx", programs.Mtx}, {"mt", programs.Mt}, {"mkltfs", programs.Mkltfs},
			{"ltfs", programs.Ltfs}, {"ltfsck", programs.Ltfsck}, {"lsscsi", programs.Lsscsi}, {"sg_read_attr", programs.SgReadAttr}, {"sg_logs", programs.SgLogs}} {
			if q.Path != "" {
				p("    %s: %s", q.Name, strconv.Quote(q.Path))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// oneLine keeps text inside a comment.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
