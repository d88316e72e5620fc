package changer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// ltfsSource is how the source of an LTFS mount begins in mountinfo: "ltfs:/dev/sg2".
const ltfsSource = "ltfs:"

// ltfsProcess is an ltfs process that works on a drive.
type ltfsProcess struct {
	pid        int
	started    string // start time of the kernel: pids come again
	mountPoint string // as its command line says
}

// ltfsProcesses finds the ltfs processes on a drive by their command lines: the argument
// devname=DEVICE, alone or in a list of options. A serial or a relative path is no place: there what the process has open counts.
func (l *Library) ltfsProcesses(d DriveConfig) ([]ltfsProcess, error) {
	entries, err := os.ReadDir(l.roots.proc)
	if err != nil {
		return nil, fmt.Errorf("look for ltfs processes: %w", err)
	}
	var out []ltfsProcess
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(l.roots.proc, e.Name(), "cmdline"))
		if err != nil || len(b) == 0 { // gone, or a kernel thread or zombie
			continue
		}
		args := strings.Split(string(bytes.TrimRight(b, "\x00")), "\x00")
		device, mountPoint := l.parseLtfsArgs(args)
		switch {
		case filepath.IsAbs(device):
			if !isDevice(d, device) {
				continue
			}
		case device == "" && (mountPoint == "" || !l.isLtfs(args[0])): // HPE's has a device of its own when it is given none
			continue
		case !l.holds(pid, d):
			continue
		}
		p := ltfsProcess{pid: pid, started: l.startTime(pid), mountPoint: mountPoint}
		if p.started != "" {
			out = append(out, p)
		}
	}
	return out, nil
}

// holds tells whether a process has the drive open. A serial alone proves little: virtual libraries
// have the same ones. One that may not be looked into counts as holding it.
func (l *Library) holds(pid int, d DriveConfig) bool {
	dir := filepath.Join(l.roots.proc, strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	device := canonical(d.Device)
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && to == device {
			return true
		}
	}
	return false
}

// isLtfs reports whether a word of a command line is the program ltfs.
func (l *Library) isLtfs(word string) bool {
	base := filepath.Base(word)
	return base == "ltfs" || base == filepath.Base(l.cfg.Programs.Ltfs)
}

// parseLtfsArgs takes device and mount point out of the command line of an ltfs, "" when it is none.
func (l *Library) parseLtfsArgs(args []string) (device, mountPoint string) {
	program := -1
	for i, a := range args {
		if l.isLtfs(a) {
			program = i
			break
		}
	}
	if program < 0 {
		return "", ""
	}
	args = args[program+1:]
	for i := 0; i < len(args); i++ {
		options := ""
		switch {
		case args[i] == "-o" && i+1 < len(args):
			i++
			options = args[i]
		case strings.HasPrefix(args[i], "-o"):
			options = args[i][2:]
		case strings.HasPrefix(args[i], "-"):
			continue
		default:
			mountPoint = args[i]
			continue
		}
		for o := range strings.SplitSeq(options, ",") {
			if v, ok := strings.CutPrefix(o, "devname="); ok {
				device = v
			}
		}
	}
	return device, mountPoint
}

// startTime is field 22 of /proc/PID/stat, "" for a process that is gone or only waits for its parent
// to take note: a zombie has closed its files.
func (l *Library) startTime(pid int) string {
	f := l.statFields(pid)
	if len(f) < 20 {
		return ""
	}
	if f[0] == "Z" {
		tasks, err := os.ReadDir(filepath.Join(l.roots.proc, strconv.Itoa(pid), "task"))
		if err != nil || len(tasks) <= 1 {
			return ""
		}
	}
	return f[19]
}

// statFields are the fields of /proc/PID/stat behind the name of the program, which is in parentheses and may hold anything: state,
// parent, and so on. None for a process that is gone.
func (l *Library) statFields(pid int) []string {
	b, err := os.ReadFile(filepath.Join(l.roots.proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// livingOwner returns the pid of another process of this program whose child an ltfs is, 0 for none: then nothing was left behind, whatever the
// lock says. The children of a process that died belong to pid 1, or to whoever has taken its place.
func (l *Library) livingOwner(p ltfsProcess) int {
	fields := l.statFields(p.pid)
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil || parent <= 1 || parent == os.Getpid() {
		return 0
	}
	own, err := os.Executable()
	if err != nil {
		return 0
	}
	exe, err := os.Readlink(filepath.Join(l.roots.proc, strconv.Itoa(parent), "exe"))
	if err != nil || filepath.Base(strings.TrimSuffix(exe, " (deleted)")) != filepath.Base(own) {
		return 0
	}
	return parent
}

// alive tells whether the process is still there.
func (l *Library) alive(p ltfsProcess) bool { return l.startTime(p.pid) == p.started }

// mountAt gives what is mounted on a directory, the topmost, nil for nothing.
func mountAt(dir string) (*mountinfo.Info, error) {
	all, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.Mountpoint != dir, false })
	if err != nil {
		return nil, fmt.Errorf("read mountinfo: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[len(all)-1], nil
}

// driveMount gives an LTFS mount of a drive, wherever it is, nil for none.
func driveMount(d DriveConfig) (*mountinfo.Info, error) {
	all, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		device, ok := strings.CutPrefix(m.Source, ltfsSource)
		return !ok || !isDevice(d, device), false
	})
	if err != nil {
		return nil, fmt.Errorf("read mountinfo: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[0], nil
}

// readOnlyMount tells by the options of a mount or its superblock.
func readOnlyMount(m *mountinfo.Info) bool {
	for o := range strings.SplitSeq(m.Options+","+m.VFSOptions, ",") {
		if o == "ro" {
			return true
		}
	}
	return false
}

// unused proves that nobody has a tape of this drive mounted: no mount and no ltfs process. A cartridge
// taken away from under a mount loses what was written since the last index, without any error.
func (l *Library) unused(d DriveConfig) error {
	m, err := driveMount(d)
	if err != nil {
		return err
	}
	if m != nil {
		return fail("use drive "+d.Serial, fmt.Errorf("%w: its tape is mounted on %s", ErrBusy, m.Mountpoint), "unmount it: umount "+m.Mountpoint)
	}
	procs, err := l.ltfsProcesses(d)
	if err != nil {
		return err
	}
	for _, p := range procs {
		return fail("use drive "+d.Serial, fmt.Errorf("%w: ltfs (pid %d) still works on it", ErrBusy, p.pid), "wait until the process has ended; it may be writing the index")
	}
	return nil
}

// within runs a call that may block in the kernel, and stops waiting for it when ctx ends.
func within[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	c := make(chan answer, 1)
	go func() {
		v, err := call()
		c <- answer{v, err}
	}()
	select {
	case a := <-c:
		return a.v, a.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// emptyDir makes a mount point, or checks that the one there is empty: ltfs ends with exit code 0 and
// without mounting when it is not.
func emptyDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) { // of a run directory that was made anew
		if err := os.Mkdir(filepath.Dir(dir), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("mount point %s is not empty: %s", dir, entries[0].Name())
	}
	return os.Chmod(dir, 0o700)
}
