package virtual

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// messages writes what the LTFS programs say.
type messages struct {
	w      io.Writer
	speech *speech
	prefix string
	quiet  bool // leave out what only informs: codes that end in I
}

// say writes one message, "LTFS14000I text", unless it is one that this family of programs does not have.
func (m *messages) say(format string, a ...any) {
	line := m.speech.says(fmt.Sprintf(format, a...))
	if line == "" {
		return
	}
	if len(line) > 9 && m.quiet && strings.HasPrefix(line, "LTFS") && line[9] == 'I' {
		return
	}
	fmt.Fprintf(m.w, "%s%s\n", m.prefix, line)
}

// raw writes a line that is no message of LTFS.
func (m *messages) raw(format string, a ...any) {
	if m.quiet && format == "" {
		return
	}
	fmt.Fprintf(m.w, format+"\n", a...)
}

func (m *messages) system() {
	b, err := os.ReadFile("/proc/version")
	if err != nil {
		b = []byte("unknown")
	}
	m.say("LTFS17087I Kernel version: %s.", strings.TrimSpace(string(b)))
	m.say(`LTFS17089I Distribution: PRETTY_NAME="virtual tape library".`)
}

func launched(program string, args []string) string {
	return strings.Join(append([]string{program}, args...), " ")
}

// protection is said whenever LTFS sets up the drive anew.
func (m *messages) protection() { m.say("LTFS30252I Logical block protection is disabled.") }

// settingUp is said before the tape is looked at.
func (m *messages) settingUp() {
	m.protection()
	m.earlyWarning()
}

// closing is said at the end of a run that came as far as a tape.
func (m *messages) closing() {
	m.protection()
	m.dump()
}

// plugin is said when the code for drives is loaded.
func (m *messages) plugin() { m.say("LTFS17085I Plugin: Loading %s.", m.speech.backend) }

// openFailure is why a drive could not be opened.
type openFailure int

const (
	openOK openFailure = iota
	openMissing
	openInUse
	openBySerial // drives are found by serial, but refuse to be reserved
	openRemapped // taken for a tape node, whose sg node is not found
	openRefused  // a drive of another maker
)

// openDevice is said while a device is opened; why decides how far it gets.
func (m *messages) openDevice(l *Library, device string, kind deviceKind, drive int, why openFailure) {
	if m.speech.hpe {
		m.openHPE(l, device, drive, why)
		return
	}
	m.say("LTFS30209I Opening a device through sg-ibmtape driver (%s).", device)
	switch why {
	case openMissing:
		m.say("LTFS30288I Opening a tape device for drive serial %s.", device)
		m.say("LTFS12012E Cannot open device: failed backend open call.")
		return
	case openInUse:
		m.say("LTFS30210I Cannot open device: failed to open %s (16).", device)
		m.say("LTFS12012E Cannot open device: failed backend open call.")
		return
	case openBySerial:
		m.say("LTFS30288I Opening a tape device for drive serial %s.", device)
		device = l.Drives[drive].Device
	}
	serial, is := l.Drives[drive].Serial, l.Drives[drive].kind
	address := fmt.Sprintf("2.0.%d.0", drive+1)
	if kind == devTape {
		address = "0.0.0.-1"
	}
	m.say("LTFS30250I Opened the SCSI tape device %s (%s).", address, device)
	m.say("LTFS30207I Vendor ID is %-8s.", is.Vendor)
	m.say("LTFS30208I Product ID is %-16s.", is.Product)
	m.say("LTFS30214I Firmware revision is %s.", is.Revision)
	m.say("LTFS30215I Drive serial is %s.", serial)
	dump := fmt.Sprintf("LTFS30253I Saving drive dump to /tmp/ltfs_%s_%s_f.dmp.", serial, time.Now().Format("2006_0102_150405"))
	if why == openBySerial {
		m.say("LTFS30205I PRI (0x5e) returns -20501.")
		m.say("LTFS30263I PRI returns Invalid Field in CDB (-20501) %s.", device)
		m.say("LTFS30262I Forcing drive dump.")
		m.say("%s", dump)
		m.say("LTFS30289I Cannot fetch the reservation key (%s, -20501).", device)
		m.say("LTFS12012E Cannot open device: failed backend open call.")
		return
	}
	m.say("LTFS30285I The reserved buffer size of %s is 1048576.", device)
	m.say("LTFS30205I RSOC (0xa3) returns -20500.")
	m.say("LTFS30263I RSOC returns Invalid Command Operation Code (-20500) %s.", device)
	m.say("LTFS30262I Forcing drive dump.")
	m.say("LTFS39802W Unknown SCSI OP code 0x1d, use default timeout.")
	m.say("%s", dump)
	m.say("LTFS39802W Unknown SCSI OP code 0x3c, use default timeout.")
	m.say("LTFS39802W Unknown SCSI OP code 0x3c, use default timeout.")
	if kind == devTape {
		m.say("LTFS30200I Failed to execute SG_IO ioctl, opcode = 3c (22).")
		m.say("LTFS30263I READ_BUFFER returns ioctl error (-21700) %s.", device)
		m.say("LTFS30258W Cannot retrieve drive dump: failed to read buffer (-21700).")
	}
	m.say("LTFS30294I Setting up timeout values from vendor and device.")
}

func (m *messages) notPresent(times int) {
	for range times {
		m.say("LTFS30205I TEST_UNIT_READY (0x00) returns -20209.")
	}
}

// noMedium is said by a program that finds no tape; its own message stands in the middle.
func (m *messages) noMedium(device, own string) {
	m.notPresent(1)
	m.say("LTFS17160I Maximum device block size is %d.", m.speech.maxBlock)
	m.say("LTFS11330I Loading cartridge.")
	m.say("LTFS30287I Received an unknown sense code 023100.")
	m.say("LTFS30205I LOAD_UNLOAD (0x1b) returns -29998.")
	m.say("LTFS30263I LOAD_UNLOAD returns Unknown Error code (-29998) %s.", device)
	m.say("LTFS30205I READPOS (0x34) returns -20209.")
	m.say("LTFS30263I READPOS returns Medium Not Present (-20209) %s.", device)
	m.say("LTFS30262I Forcing drive dump.")
	m.say("LTFS30253I Saving drive dump to /tmp/ltfs_f.dmp.")
	m.say("LTFS11331E Failed to load the cartridge (ltfs_load_tape).")
	m.notPresent(4)
	m.say("LTFS17188I Device is not ready (-20209).")
	m.say("%s", own)
	m.notPresent(3)
	m.protection()
}

// cleaningTape is said when the drive holds a cleaning cartridge. The real programs wait a minute.
func (m *messages) cleaningTape(own string) {
	m.say("LTFS17160I Maximum device block size is %d.", m.speech.maxBlock)
	m.say("LTFS11330I Loading cartridge.")
	m.say("LTFS17188I Device is not ready (-20297).")
	m.say("LTFS17188I Device is not ready (-20201).")
	m.say("LTFS12017E Cannot load the medium (-20201).")
	m.say("LTFS11331E Failed to load the cartridge (ltfs_load_tape).")
	m.say("LTFS17188I Device is not ready (-20201).")
	m.say("%s", own)
}

// mounted lists the volume that was read.
func (m *messages) mounted(mt *meta, x *index, drive string) {
	m.say("LTFS17227I Tape attribute: Vendor = %-8s.", m.speech.vendor)
	m.say("LTFS17227I Tape attribute: Application Name = %-32s.", "LTFS")
	m.say("LTFS17227I Tape attribute: Application Version = %-8s.", m.speech.short)
	m.say("LTFS17227I Tape attribute: Medium Label = %s.", x.VolumeName)
	m.say("LTFS17228I Tape attribute: Text Localization ID = 0x81.")
	m.say("LTFS17227I Tape attribute: Barcode = %-32s.", mt.Serial)
	m.say("LTFS17227I Tape attribute: Application Format Version = %-16s.", "2.4.0")
	m.say("LTFS17228I Tape attribute: Volume Lock Status = 0x00.")
	m.say("LTFS17227I Tape attribute: Media Pool name = .")
	m.say("LTFS11031I Volume mounted successfully. %s : Gen = %d / (%s, %d) -> (%s, %d) / %s.", name(mt), x.Generation,
		x.Self.Partition, x.Self.Block, x.Back.Partition, x.Back.Block, drive)
}

// name is how LTFS calls a tape in messages.
func name(m *meta) string {
	if m.Serial == "" {
		return "NO_BARCODE"
	}
	return m.Serial
}

func (m *messages) wrote(mt *meta, p position, reason string, files, generation int64, drive string) {
	m.say("LTFS17235I Writing index of %s to %s (Reason: %s, %d files) %s.", name(mt), p.Partition, reason, files, drive)
	m.say("LTFS17236I Wrote index of %s (Gen = %d, Part = %s, Pos = %d, %s).", name(mt), generation, p.Partition, p.Block, drive)
}

func (m *messages) dirty(mt *meta, flag int) {
	m.say("LTFS11337I Update index-dirty flag (%d) - %s (0x0x5555aaaa0000).", flag, name(mt))
}
