package virtual

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// runSgLogs is sg_logs of sg3-utils 1.46, as tapefs calls it: sg_logs --raw --page=0xNN DEVICE prints a log page as the drive sends it.
func runSgLogs(l *Library, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && (args[0] == "--version" || args[0] == "-V") {
		fmt.Fprintln(stderr, "Version string: 1.81 20200110")
		return 0
	}
	if len(args) != 3 || args[0] != "--raw" || !strings.HasPrefix(args[1], "--page=") {
		fmt.Fprintln(stderr, "sg_logs of a virtual library knows --raw --page=NUMBER DEVICE alone")
		return 1
	}
	page, err := strconv.ParseUint(strings.TrimPrefix(args[1], "--page="), 0, 6)
	if err != nil {
		fmt.Fprintf(stderr, "Unable to decode page code from %s\n", args[1])
		return 1
	}
	const enoent, ebusy, enotty, illegal = 2, 16, 25, 5
	failed := func(why string, errno int) int {
		fmt.Fprintf(stderr, "error opening file: %s: %s \n", args[2], why)
		return sgErrno + errno
	}
	kind, n := l.device(args[2])
	switch kind {
	case devNone:
		return failed("No such file or directory", enoent)
	case devDrive:
	default:
		fmt.Fprintf(stderr, "%s doesn't respond to a SCSI INQUIRY\n", args[2])
		return 99
	}
	lock, err := l.holdDrive(n)
	if err != nil {
		return failed("Device or resource busy", ebusy)
	}
	defer lock.Close()
	t, err := l.loaded(n)
	if err != nil {
		fmt.Fprintf(stderr, "sg_logs: %v\n", err)
		return 1
	}
	params, ok := l.logPage(byte(page), n, t)
	if !ok {
		fmt.Fprintln(stderr, "log_sense: field in cdb illegal")
		return illegal
	}
	out := binary.BigEndian.AppendUint16([]byte{byte(page), 0}, uint16(len(params)))
	if _, err := stdout.Write(append(out, params...)); err != nil {
		return 1
	}
	return 0
}

// logPage has the parameters of a page.
func (l *Library) logPage(page byte, drive int, t *loadedTape) (params []byte, ok bool) {
	put := func(code uint16, size int, n uint64) {
		const binaryFormat = 3 // FORMAT AND LINKING: a binary list parameter
		params = binary.BigEndian.AppendUint16(params, code)
		params = append(params, binaryFormat, byte(size))
		params = append(params, binary.BigEndian.AppendUint64(nil, n)[8-size:]...)
	}
	switch page {
	case 0x2e: // TapeAlert
		raised := t.f.alerts(drive, t.m)
		for flag := 1; flag <= 64; flag++ {
			var n uint64
			if raised[flag] {
				n = 1
			}
			put(uint16(flag), 1, n)
		}
	case 0x17: // volume statistics
		if t.m == nil {
			put(0, 1, 0)
			return params, true
		}
		var retries, writeErrors uint64
		for _, a := range t.f["worn"] {
			if b, count, _ := strings.Cut(a, ":"); b == t.m.Barcode {
				retries, _ = strconv.ParseUint(count, 10, 40) // checked when it was set
			}
		}
		if t.m.WritePerm {
			writeErrors = 1
		}
		put(0x00, 1, 1)
		put(0x01, 4, uint64(t.m.Loads))
		put(0x03, 4, retries)
		put(0x04, 2, writeErrors)
		put(0x08, 4, retries/2)
		put(0x09, 2, 0)
		put(0x10, 8, l.written(t.d.Tape)/1e6)
		put(0x81, 1, 0)
	case 0x14: // device statistics
		put(0x00, 4, uint64(t.d.Loads))
		put(0x01, 4, 0)
		put(0x02, 4, 1000)
		put(0x03, 4, 100)
		put(0x04, 8, uint64(t.d.Loads)*960)
	default:
		return nil, false
	}
	return params, true
}

// written is how many bytes were ever written to a tape's data partition.
func (l *Library) written(id string) uint64 {
	if _, err := os.Stat(l.tapeDir(id) + "/position"); err != nil {
		return 0
	}
	f, err := l.openPosition(id)
	if err != nil {
		return 0
	}
	defer f.Close()
	p, err := readPosition(f)
	if err != nil || p.used < 0 {
		return 0
	}
	return uint64(p.used)
}

// alerts are the TapeAlert flags that a drive raises.
func (f faults) alerts(drive int, m *meta) map[int]bool {
	raised := map[int]bool{}
	take := func(kind, name string) {
		for _, a := range f[kind] {
			if of, flag, _ := strings.Cut(a, ":"); of == name {
				n, _ := strconv.Atoi(flag) // checked when it was set
				raised[n] = true
			}
		}
	}
	take("drive-alert", strconv.Itoa(drive))
	if m != nil {
		take("tape-alert", m.Barcode)
	}
	const cleanNow = 20
	if f.names("wants-cleaning", strconv.Itoa(drive)) {
		raised[cleanNow] = true
	}
	return raised
}
