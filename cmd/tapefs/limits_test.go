package main

import (
	"errors"
	"io/fs"
	"math"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCheckLimits: a command that needs files is refused where too few may be open, or too little memory be used, with what to set.
func TestCheckLimits(t *testing.T) {
	for _, c := range []struct {
		command          string
		files, addresses uint64
		hint             string // "": it may begin
	}{
		{"archive", 1024, math.MaxUint64, ""},
		{"archive", leastFiles, leastAddresses, ""},
		{"archive", leastFiles - 1, math.MaxUint64, filesHint},
		{"mount <mountpoint>", 10, math.MaxUint64, filesHint},
		{"archive", 1024, leastAddresses - 1, addressesHint},
		{"help", 10, 10, ""},
		{"version", 10, 10, ""},
		{"versions", 10, 10, filesHint},
	} {
		err := checkLimits(c.command, func(resource int) (uint64, error) {
			if resource == unix.RLIMIT_NOFILE {
				return c.files, nil
			}
			return c.addresses, nil
		})
		if (err != nil) != (c.hint != "") || err != nil && hintFor(err) != c.hint {
			t.Errorf("%s with %d files and %d bytes: %v", c.command, c.files, c.addresses, err)
		}
	}
	unknown := errors.New("no limit")
	if err := checkLimits("archive", func(int) (uint64, error) { return 0, unknown }); !errors.Is(err, unknown) {
		t.Errorf("the limits cannot be read: %v", err)
	}
}

// TestPlaceHint: what is wrong with a folder of this machine is told with what to do, and names the folder.
func TestPlaceHint(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{unix.EROFS: "mounted read-only", unix.EACCES: "namei -l", unix.EPERM: "namei -l", unix.ENOSPC: "make room",
		unix.EDQUOT: "make room", unix.ENOENT: "", unix.EIO: ""} {
		hint := hintFor(&fs.PathError{Op: "write", Path: "/state/spool", Err: errno})
		if !strings.Contains(hint, want) || want == "" && hint != "" || want != "" && !strings.Contains(hint, "/state/spool") {
			t.Errorf("%v: hint %q", errno, hint)
		}
	}
}
