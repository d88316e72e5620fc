package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

const (
	// leastFiles is how many descriptors a command needs with one source and one tape: catalog, locks, the pipes of programs, files that
	// are read and written. Below that each step would fail at a place of its own.
	leastFiles = 64
	// leastAddresses is how much address space a command needs, bytes. The Go runtime reserves more than half of it before it begins.
	leastAddresses = 1 << 30
)

const (
	filesHint     = "ulimit -n 4096; in a service: LimitNOFILE=4096"
	addressesHint = "ulimit -v unlimited; in a service: LimitAS=infinity"
)

// withoutFiles are the commands that need nothing of the machine.
var withoutFiles = []string{"help", "version", "completion", "man"}

// checkLimits reports whether this process may have what every command needs, before anything is begun. The runtime has lifted the soft limit of
// descriptors to the hard one.
func checkLimits(command string, limitOf func(resource int) (uint64, error)) error {
	word, _, _ := strings.Cut(command, " ")
	for _, free := range withoutFiles {
		if word == free {
			return nil
		}
	}
	files, err := limitOf(unix.RLIMIT_NOFILE)
	if err != nil {
		return fmt.Errorf("ask how many files may be open: %w", err)
	}
	if files < leastFiles {
		return withHint(fmt.Errorf("this process may have only %d files open, and needs at least %d", files, leastFiles), "%s", filesHint)
	}
	addresses, err := limitOf(unix.RLIMIT_AS)
	if err != nil {
		return fmt.Errorf("ask how much memory may be used: %w", err)
	}
	if addresses < leastAddresses {
		return withHint(fmt.Errorf("this process may use only %s of address space, and needs at least %s", humanize.IBytes(addresses), humanize.IBytes(leastAddresses)), "%s", addressesHint)
	}
	return nil
}

// limitOf returns a limit of this process as it is in force, math.MaxUint64 for none.
func limitOf(resource int) (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(resource, &limit); err != nil {
		return math.MaxUint64, err
	}
	return limit.Cur, nil
}

// shortageHint is what to do when this machine, and no tape, has too little of something; "" for any other error.
func shortageHint(err error) string {
	switch {
	case errors.Is(err, unix.EMFILE):
		return filesHint
	case errors.Is(err, unix.ENFILE):
		return "all processes of this machine together have too many files open: sysctl fs.file-max"
	case errors.Is(err, unix.ENOMEM):
		return "the memory of this machine, or what this process may use of it, is exhausted; in a service: MemoryMax="
	case errors.Is(err, unix.EAGAIN) && isStart(err):
		return "this user may start no more processes: ulimit -u; in a service: TasksMax="
	}
	return placeHint(err)
}

// placeHint is what to do about a folder or a file of this machine that cannot be used; "" for any other error.
func placeHint(err error) string {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return ""
	}
	switch {
	case errors.Is(path.Err, unix.EROFS):
		return fmt.Sprintf("the file system of %s is mounted read-only: dmesg says whether the kernel did that after an error of the disk; nothing on tape is at fault", path.Path)
	case errors.Is(path.Err, unix.EACCES), errors.Is(path.Err, unix.EPERM):
		return fmt.Sprintf("namei -l %s shows who may use it: run tapefs as the user to whom the state folder belongs", path.Path)
	case errors.Is(path.Err, unix.ENOSPC), errors.Is(path.Err, unix.EDQUOT):
		return fmt.Sprintf("make room on the file system of %s: df shows it; nothing on tape is at fault", path.Path)
	}
	return ""
}

// isStart reports whether an error comes from starting a program.
func isStart(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && path.Op == "fork/exec"
}
