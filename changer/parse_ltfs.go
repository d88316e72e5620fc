package changer

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ltfsCode is a message code at the beginning of a line, with or without the process id in hex that
// ltfs puts in front. Codes are matched, prose never.
var ltfsCode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:[0-9a-f]+ )?LTFS([0-9]{5}[A-Z])\b`) })

// ltfsCodes lists the message codes of a log in order: "17168E".
func ltfsCodes(log string) []string {
	var out []string
	for _, line := range strings.Split(log, "\n") {
		if m := ltfsCode().FindStringSubmatch(line); m != nil {
			out = append(out, m[1])
		}
	}
	return out
}

var (
	ltfsOpenErrno = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`LTFS(?:30210|20087)[EI] .*\((\d+)\)\.?\s*$`) })
	ltfsUUID      = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)LTFS15013I Volume UUID is: ([0-9a-fA-F-]{36})(?:[.\s]|$)`)
	}) // HPE puts no dot behind it
)

// openErrno is the errno with which ltfs could not open the drive, 0 when it did not say.
func openErrno(log string) int {
	for _, line := range strings.Split(log, "\n") {
		if m := ltfsOpenErrno().FindStringSubmatch(strings.TrimRight(line, "\r")); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil {
				return n
			}
		}
	}
	return 0
}

// formattedUUID is the volume UUID that mkltfs printed, "" when it did not.
func formattedUUID(log string) string {
	if m := ltfsUUID().FindStringSubmatch(log); m != nil {
		return strings.ToLower(m[1])
	}
	return ""
}

// ltfsCauses is an error that callers know, and the message codes that stand for it. The hint names the tape where it says %s.
type ltfsCauses struct {
	err   error
	hint  string
	codes []string
}

const needsCheckHint = "nothing was changed on it; check and repair it with: tapefs tape check %s"

// commonCauses are those of both families. Those of no medium, busy, unformatted and write-protected were recorded, the others
// are of OpenLTFS 2.4's list of messages.
var commonCauses = []ltfsCauses{
	{ErrWriteProtected, writeProtectedHint, []string{"11095E"}},
	{ErrNotBlank, "say --erase %s to format over what is there", []string{"15047E"}},
	{ErrIncompatible, "the drive cannot use this kind of cartridge for LTFS: look at its generation", []string{"11298E", "11299E"}},
	{ErrNotFormatted, "format it with: tapefs tape format %s", []string{"17168E", "11176E"}},
	{ErrNeedsCheck, needsCheckHint, []string{"11020E", "11021E", "11023E", "11024E",
		"11027E", "11205E", "11206E", "11207E", "11219E", "11220E", "11221E", "11231E", "11253E"}},
	{ErrNoMedium, "see what the drive holds with: tapefs drive status", []string{"11331E", "12016E", "12017E", "11006E"}},
}

// unlabelled stands in hints for a tape whose barcode nobody knows.
const unlabelled = "followed by the barcode on its label"

// cause finds the known cause in the log of ltfs, mkltfs or ltfsck. The hint spells the tape out; "" when its barcode is not known.
func (d *dialect) cause(log string, tape Barcode) (hint string, cause error) {
	codes := ltfsCodes(log)
	if slices.Contains(codes, "12012E") {
		return openCause(codes, openErrno(log))
	}
	for _, c := range slices.Concat(commonCauses, d.causes) {
		for _, code := range c.codes {
			if slices.Contains(codes, code) {
				return hintAbout(c.hint, tape), c.err
			}
		}
	}
	return "", nil
}

// hintAbout fills in the tape that a hint is about.
func hintAbout(hint string, tape Barcode) string {
	if !strings.Contains(hint, "%s") {
		return hint
	}
	if tape == "" {
		tape = unlabelled
	}
	return fmt.Sprintf(hint, tape)
}

// openCause tells why the drive could not be opened.
func openCause(codes []string, errno int) (hint string, cause error) {
	has := func(code string) bool { return slices.Contains(codes, code) }
	// a name that is no device is taken for a serial, and no drive with it is found and opened
	missing := has("30288I") && !has("30250I") || has("20087E")
	switch {
	case has("20032E"), has("20033E"): // HPE's takes every other name for a tape node, and looks for its sg node
		return "HPE's LTFS opens nothing but /dev/sgN: set device: to the drive's sg node, or leave it out", nil
	case has("20035E"), errno == 16, errno == 0 && !missing: // EBUSY; ltfs holds the node while it is mounted
		return "see who uses the drive: fuser -v DEVICE", ErrBusy
	case errno == 13:
		return "this user may not open the drive: join the group tape, or run as root", nil
	default:
		return "is the drive switched on and its device right? see: lsscsi -g", nil
	}
}
