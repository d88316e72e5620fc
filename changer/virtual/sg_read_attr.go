package virtual

import (
	"fmt"
	"io"
	"strings"
)

// Exit codes of sg3-utils, as seen: an errno is counted from 50, sense data have numbers of their own.
const (
	sgNotReady = 2
	sgErrno    = 50
)

// runSgReadAttr is sg_read_attr of sg3-utils 1.46, as tapefs calls it: the barcode in the memory of the loaded cartridge.
func runSgReadAttr(l *Library, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && (args[0] == "--version" || args[0] == "-V") {
		fmt.Fprintln(stderr, "version: 1.13 20191220")
		return 0
	}
	if len(args) != 3 || args[0] != "-f" || args[1] != "0x806" {
		fmt.Fprintln(stderr, "sg_read_attr of a virtual library knows -f 0x806 DEVICE alone")
		return 1
	}
	const enoent, ebusy, enotty = 2, 16, 25
	failed := func(what, why string, code int) int {
		fmt.Fprintf(stderr, "%s: %s\nsg_read_attr failed: %s\n", what, why, why)
		return code
	}
	kind, n := l.device(args[2])
	switch kind {
	case devNone:
		return failed("open error: "+args[2], "No such file or directory", sgErrno+enoent)
	case devDrive:
	default:
		return failed("Read attribute command", "Inappropriate ioctl for device", sgErrno+enotty)
	}
	if !l.speech.hpe { // OpenLTFS opens the node exclusively, HPE's only locks it
		lock, err := l.holdDrive(n)
		if err != nil {
			return failed("open error: "+args[2], "Device or resource busy", sgErrno+ebusy)
		}
		defer lock.Close()
	}
	t, err := l.loaded(n)
	if err != nil {
		fmt.Fprintf(stderr, "sg_read_attr: %v\n", err)
		return 1
	}
	if t.m == nil || t.becomingReady() {
		fmt.Fprintln(stderr, "Read attribute command not supported\nsg_read_attr failed: Device not ready")
		return sgNotReady
	}
	if memory := t.f.memory(t.m); memory != "" {
		fmt.Fprintf(stdout, "  Barcode: %-32s\n", memory)
	}
	return 0
}

// memory is the barcode in a cartridge's memory, "" for none.
func (f faults) memory(m *meta) string {
	for _, a := range f["memory"] {
		if b, text, _ := strings.Cut(a, ":"); b == m.Barcode {
			if text == "none" {
				return ""
			}
			return text
		}
	}
	return m.Memory
}
