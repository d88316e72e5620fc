package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// folders looks at what lies below the state folder: present, ours to write, and closed to others.
func (u *checkup) folders() {
	c := u.conf
	open := []string{}
	for _, dir := range []string{c.State, c.Keys.Dir, c.Spool.Dir, c.Cache.Dir, c.RunDir()} {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir != c.State:
			continue // made when it is needed
		case err != nil:
			u.fail("state folder", "is its disk mounted, and state: in "+c.File()+" right? If it is lost: mkdir -m 700 "+dir+", put the key files back into "+
				c.Keys.Dir+", then tapefs catalog rebuild", "%v", err)
			return
		case !info.IsDir():
			u.fail("state folder", "move it away", "%s is not a directory", dir)
			return
		case unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK) != nil:
			u.fail("state folder", "run tapefs as the user who owns it, or change its owner", "%s cannot be written by this user", dir)
			return
		case info.Mode().Perm()&0o077 != 0:
			open = append(open, dir)
		}
	}
	if info, err := os.Stat(c.CatalogPath()); err == nil && info.Mode().Perm()&0o077 != 0 {
		u.warn("state folder", "chmod 600 "+c.CatalogPath(), "%s can be opened by others", c.CatalogPath())
		return
	}
	if len(open) > 0 {
		u.warn("state folder", "chmod 700 "+strings.Join(open, " "), "%s can be entered by others", strings.Join(open, ", "))
		return
	}
	u.ok("state folder", "%s", c.State)
}

// program is what doctor wants to know of one program.
type program struct {
	name, path string
	hint       string
	needed     bool     // the main job cannot do without
	version    []string // arguments that print the version
}

// versionText finds a version number in what a program prints of itself.
var versionText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\d+\.\d[\w.]*`) })

// versionLimit is how long a program may take to tell its version.
const versionLimit = 10 * time.Second

func (u *checkup) programList() []program {
	c := u.conf
	if c == nil {
		c = &settings{Config: &config.Config{}}
	}
	or := func(path, name string) string {
		if path == "" {
			return name
		}
		return path
	}
	const ltfs = "LTFS is not in Debian: docs/hardware.md says how to get it; or set its path under library.programs"
	p := c.Library.Programs
	withChanger := c.Library.Changer != changer.None
	ssh, remote := false, false
	for _, s := range c.ArchiverSources() {
		ssh = ssh || archiver.NeedsSSH(s)
		remote = true
	}
	v := []string{"--version"}
	return []program{
		{"mtx", or(p.Mtx, "mtx"), "apt-get install mtx", withChanger, v},
		{"mt", or(p.Mt, "mt"), "apt-get install mt-st", true, v},
		{"mkltfs", or(p.Mkltfs, "mkltfs"), ltfs, true, v},
		{"ltfs", or(p.Ltfs, "ltfs"), ltfs, true, v},
		{"ltfsck", or(p.Ltfsck, "ltfsck"), ltfs, true, v},
		{"lsscsi", or(p.Lsscsi, "lsscsi"), "apt-get install lsscsi", false, v},
		{"sg_read_attr", or(p.SgReadAttr, "sg_read_attr"), "apt-get install sg3-utils: with it the barcode in a cartridge's memory is compared with the label before a format",
			false, v},
		{"sg_logs", or(p.SgLogs, "sg_logs"), "apt-get install sg3-utils: with it drives are asked for TapeAlert flags, errors they corrected, and the wear of tapes", false, v},
		{"rsync", or(c.Tools.Rsync, "rsync"), "apt-get install rsync", remote, v},
		{"ssh", or(c.Tools.SSH, "ssh"), "apt-get install openssh-client", ssh, []string{"-V"}},
		{"fusermount3", "fusermount3", "apt-get install fuse3", true, v},
		{"openssl", "openssl", "apt-get install openssl: restore.sh on the tapes needs it", false, []string{"version"}},
	}
}

// programs looks for the programs that tapefs drives and asks their versions.
func (u *checkup) programs(ctx context.Context) {
	for _, p := range u.programList() {
		path, err := changer.FindProgram(p.path)
		if err != nil {
			detail := p.path + " is not there"
			if errors.Is(err, fs.ErrPermission) {
				detail = p.path + " may not be run by this user"
			}
			if p.needed {
				u.fail("program "+p.name, p.hint, "%s", detail)
			} else {
				u.warn("program "+p.name, p.hint, "%s", detail)
			}
			continue
		}
		said, broken := said(ctx, path, p.version)
		if broken != nil {
			detail := fmt.Sprintf("%s does not run: %v", path, broken)
			if p.needed {
				u.fail("program "+p.name, reinstall(p.hint), "%s", detail)
			} else {
				u.warn("program "+p.name, reinstall(p.hint), "%s", detail)
			}
			continue
		}
		version := versionText().FindString(said)
		u.ltfs.saw(p.name, path, version, said)
		if version == "" {
			version = "version unknown"
		}
		if p.name == "mt" && strings.Contains(said, "cpio") {
			u.fail("program mt", "apt-get install mt-st, or set library.programs.mt to mt-st", "%s is the one of cpio, which does not know LTO drives", path)
			continue
		}
		u.ok("program "+p.name, "%s, %s", version, path)
	}
}

// reinstall is the hint for a program that is there and does not run.
func reinstall(hint string) string {
	return "it may be of another release or another kind of machine, or lack a library (ldd shows which): install it anew; " + hint
}

// brokenText is what the loader of programs says when it cannot start one.
var brokenText = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`error while loading shared libraries|symbol lookup error|version .* not found \(required by|[Ee]xec format error|cannot execute`)
})

// said is what a program prints when it is asked for its version, whatever its exit code: some print it on a usage error. The error
// tells a program that could not run at all.
func said(ctx context.Context, path string, args []string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	var out changer.Clip
	cmd := exec.CommandContext(limited, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	text := out.String()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return text, nil // nobody waits for the answer any more
	case limited.Err() != nil:
		return text, fmt.Errorf("no answer to %s after %s", strings.Join(args, " "), versionLimit)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return text, nil
	case !errors.As(err, &exit):
		return text, err // it could not be started
	case exit.ExitCode() < 0, exit.ExitCode() == 126, exit.ExitCode() == 127, brokenText().MatchString(text):
		if line := strings.TrimSpace(text); line != "" {
			return text, errors.New(oneLine(firstLine(line)))
		}
		return text, exit
	}
	return text, nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// virtualDevices tells whether what the configuration names are the files of a virtual library.
func (u *checkup) virtualDevices() bool {
	files := 0
	for _, path := range u.nodes() {
		switch info, err := os.Stat(path); {
		case err == nil && info.Mode().IsRegular():
			files++
		case !u.switchedOff(path):
			return false
		}
	}
	return files > 0
}

// switchedOff reports whether a node belongs to a drive of which no node is there, while that is not so of all drives: the check of
// drives tells that one is missing.
func (u *checkup) switchedOff(path string) bool {
	off, others := false, false
	for _, d := range u.conf.Library.Drives {
		missing, given := true, false
		for _, node := range []string{d.Device, d.Tape} {
			if node == "" {
				continue
			}
			given = true
			if _, err := os.Stat(node); !errors.Is(err, fs.ErrNotExist) {
				missing = false
			}
		}
		switch missing = missing && given; {
		case !missing:
			others = true
		case path == d.Device || path == d.Tape:
			off = true
		}
	}
	return off && others
}

// nodes lists the device nodes that the configuration names.
func (u *checkup) nodes() []string {
	var out []string
	if c := u.conf.Library.Changer; c != "" && c != changer.None {
		out = append(out, c)
	}
	for _, d := range u.conf.Library.Drives {
		for _, path := range []string{d.Device, d.Tape} {
			if path != "" {
				out = append(out, path)
			}
		}
	}
	return out
}

// modules looks whether the kernel has the drivers sg and st; a virtual library needs neither.
func (u *checkup) modules() {
	if len(u.conf.Library.Drives) == 0 {
		return
	}
	if u.virtualDevices() {
		u.ok("kernel modules", "not needed: the library is virtual, its devices are files")
		return
	}
	have := map[string]bool{}
	f, err := os.Open(filepath.Join(u.paths.proc, "devices"))
	if err != nil {
		u.warn("kernel modules", "", "cannot tell: %v", err)
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 2 {
			have[f[1]] = true
		}
	}
	var missing []string
	for _, name := range []string{"sg", "st"} {
		if !have[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		u.fail("kernel modules", "modprobe -a "+strings.Join(missing, " ")+", and name them in /etc/modules-load.d/tapefs.conf",
			"the kernel has no %s", strings.Join(missing, " and no "))
		return
	}
	u.ok("kernel modules", "sg and st are loaded")
}

var tapeNode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^n?st\d+[alm]?$`) })

// devices looks whether the configured nodes exist and may be opened.
func (u *checkup) devices() {
	lib := u.conf.Library
	if lib.Changer == "" || len(lib.Drives) == 0 {
		u.findings = append(u.findings, finding{Check: "library", Mark: markFailed, Detail: "no tape library is configured",
			Hint: "tapefs doctor --fix-config proposes the section for " + u.conf.File(), code: exitUsage})
		return
	}
	bad := false
	var there []string
	for _, path := range u.nodes() {
		if u.switchedOff(path) {
			continue
		}
		there = append(there, path)
		if err := openNode(path); err != nil {
			bad = true
			hint := "is it switched on? sg numbers change between boots: lsscsi -g; tapefs doctor --fix-config"
			if errors.Is(err, fs.ErrPermission) {
				hint = "join the group tape, or run tapefs as root"
			}
			u.fail("devices", hint, "%v", err)
		}
	}
	for _, d := range lib.Drives {
		if real, err := filepath.EvalSymlinks(d.Device); d.Device != "" && err == nil && tapeNode().MatchString(filepath.Base(real)) {
			bad = true
			u.fail("devices", "set device: to the sg node that lsscsi -g shows in the last column", "drive %s: ltfs takes an sg node, and %s is a tape node", d.Serial, d.Device)
		}
	}
	switch {
	case bad:
	case u.virtualDevices():
		u.ok("devices", "%d files of a virtual library", len(there))
	default:
		u.ok("devices", "%s", strings.Join(there, " "))
	}
}

// openNode tries to open a node the way that never waits. A node that another program has open
// exclusively, as ltfs does, is fine; so is a drive without a tape.
func openNode(path string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	if err := unix.Access(path, unix.R_OK|unix.W_OK); err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		return unix.Close(fd)
	}
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOMEDIUM) {
		return nil
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

// fuse looks whether a mount is possible and may be shown to other users.
func (u *checkup) fuse() {
	fd, err := unix.Open(filepath.Join(u.paths.dev, "fuse"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		u.fail("fuse", "modprobe fuse; in a container the device has to be passed in", "open %s: %v", filepath.Join(u.paths.dev, "fuse"), err)
		return
	}
	unix.Close(fd)
	if os.Geteuid() == 0 {
		u.ok("fuse", "mounting is possible; root may show the mount to other users")
		return
	}
	if u.conf != nil && u.conf.Mount.AllowOther != nil && !*u.conf.Mount.AllowOther {
		u.ok("fuse", "mounting is possible; other users are not to see it (mount.allow_other)")
		return
	}
	path := filepath.Join(u.paths.etc, "fuse.conf")
	if allowsOther(path) {
		u.ok("fuse", "mounting is possible; user_allow_other is set")
		return
	}
	u.warn("fuse", fmt.Sprintf("write the line user_allow_other into %s, or run tapefs mount as root", path), "mounting is possible, but other users will not see the mount")
}

func allowsOther(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}

// sourceLimit is how long a source may take to show its top directory.
const sourceLimit = 20 * time.Second

// sources reaches for each source the way archive would, for all at the same time.
func (u *checkup) sources(ctx context.Context) {
	if len(u.conf.Sources) == 0 {
		u.warn("sources", "add one under sources: in "+u.conf.File(), "none is configured")
		return
	}
	sources := u.conf.ArchiverSources()
	found := make([]error, len(sources))
	var all sync.WaitGroup
	for i, s := range sources {
		all.Go(func() {
			limited, cancel := context.WithTimeoutCause(ctx, sourceLimit, fmt.Errorf("no answer after %s", sourceLimit))
			defer cancel()
			found[i] = archiver.ProbeSource(limited, s, u.conf.Tools.Rsync, u.conf.Tools.SSH)
		})
	}
	all.Wait()
	for i, s := range sources {
		if err := found[i]; err != nil {
			u.failWith("source "+s.Name, err, archiver.ProbeHint(s, u.conf.Tools.SSH, err))
			continue
		}
		u.ok("source "+s.Name, "%s", s.URL)
	}
}

const (
	tightSpace = 1 << 30  // less than this free makes runs small and slow
	noSpace    = 64 << 20 // less than this free: manifests and catalog have no room to work
)

// space looks whether the file system of a folder has room.
func (u *checkup) space(check, dir string, limit int64) {
	var st unix.Statfs_t
	at := dir
	for errors.Is(unix.Statfs(at, &st), unix.ENOENT) && at != "/" {
		at = filepath.Dir(at) // it is made when it is needed
	}
	if err := unix.Statfs(at, &st); err != nil {
		u.fail(check, "", "free space of %s: %v", at, err)
		return
	}
	free := int64(st.Bavail) * st.Bsize
	room := free + folderBytes(dir)
	hint := fmt.Sprintf("make room, or set %s.dir to another disk", check)
	switch {
	case free < noSpace:
		u.fail(check, hint, "%s free in %s", ui.Bytes(free), dir)
	case limit > 0 && room < limit:
		u.warn(check, fmt.Sprintf("lower %s.max, or set %s.dir to another disk", check, check), "%s free in %s, and %s.max is %s", ui.Bytes(free), dir, check, ui.Bytes(limit))
	case free < tightSpace:
		u.warn(check, hint, "%s free in %s", ui.Bytes(free), dir)
	default:
		u.ok(check, "%s free in %s", ui.Bytes(free), dir)
	}
}
