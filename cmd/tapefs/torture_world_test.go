package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/changer/virtual"
)

const (
	tortureSlots = 600
	blankAtOnce  = 3                // blank tapes that are added to a pool when it runs out
	settleRuns   = 8                // runs without trouble until one must say that all is done
	runLimit     = 10 * time.Minute // after which a run hangs, on the slowest machine
	orphanLimit  = time.Minute      // for what a killed run began
)

// tortured is an archive with two sources and two pools: far is fetched through the spool, near is read in place.
// It lies in memory. The state folder and the spool are small file systems of their own, so that they can be filled.
type tortured struct {
	*archive
	t      *testing.T
	r      *rand.Rand
	lib    *virtual.Library
	root   bool   // may mount file systems
	round  string // for messages
	again  string // what repeats it
	all    *tally
	log    bytes.Buffer
	serial int            // of file contents
	tapes  map[string]int // tapes added, by barcode prefix
	slot   int            // the last slot that was filled
	proved map[int64]bool // rows of copy_part whose bytes were compared with their sums
	run1   time.Duration  // what a run takes, about
	vowed  promise        // what safe named, as it was then; a file that changed at its source since is not in it

	spoilt   bool     // a tape has other bytes than were written, since some round
	kinds    []string // troubles of the round so far
	settling bool     // runs have no trouble now
	lastCode int      // of a run in trouble
	losses   []string // of the round
	failures []string // of the round that failed
}

func newTortured(t *testing.T, r *rand.Rand, all *tally) *tortured {
	needFuse(t)
	top := t.TempDir()
	dir := filepath.Join(top, "archive")
	w := &tortured{archive: &archive{t: t, dir: dir, conf: filepath.Join(dir, "config.yaml")}, t: t, r: r, all: all, root: os.Geteuid() == 0,
		tapes: map[string]int{}, proved: map[int64]bool{}, run1: 2 * time.Second, round: "the beginning", vowed: promise{}}
	t.Cleanup(func() { w.end(top) })
	if w.root {
		w.must(unix.Mount("tmpfs", top, "tmpfs", 0, "size=4g,mode=0700"))
	}
	for _, d := range []string{"source/far", "source/near", "kept/far", "kept/near", "state"} {
		w.must(os.MkdirAll(w.path(d), 0o755))
	}
	if w.root {
		w.must(unix.Mount("tmpfs", w.path("state"), "tmpfs", 0, "size=512m,mode=0700"))
		w.must(os.Mkdir(w.path("state/spool"), 0o700))
		w.must(unix.Mount("tmpfs", w.path("state/spool"), "tmpfs", 0, "size=256m,mode=0700"))
	}
	// It stands for ssh: the far side is here.
	ssh := "#!/bin/sh\nwhile :; do case $1 in -[opilF]) shift 2;; -*) shift;; *) break;; esac; done\nshift\nexec sh -c \"$*\"\n"
	w.must(os.WriteFile(w.path("ssh"), []byte(ssh), 0o755))
	w.archive.run("init", "--state", w.path("state"), "--virtual", w.path("library"), "--slots", fmt.Sprint(tortureSlots), "--tape-size", "64MiB",
		"--source", "far=there:"+w.path("source/far"), "--source", "near="+w.path("source/near"))
	w.edit("# Sources:", "  off:\n    include: [\"OF*\"]\n    format_blank: true\n\n# Sources:")
	w.edit("# include: [\"*\"]", `include: ["VT*"]`)
	w.edit("# copies: [main]", "copies: [main, off]")
	w.edit("# bundle_below: 64MiB", "bundle_below: 64KiB")
	w.edit("# dedup_min: 64MiB", "dedup_min: 1MiB")
	w.edit("# max: 500GiB", "max: 1GiB")
	w.edit("# max: 20GiB", "max: 192MiB") // all that is current
	w.edit("# ssh: ssh", "ssh: "+w.path("ssh"))
	w.lib = w.library()
	for slot := 1; slot < tortureSlots; slot++ {
		w.must(w.lib.Remove(slot))
	}
	w.addTapes("VT", blankAtOnce)
	w.addTapes("OF", blankAtOnce)
	w.clear()
	return w
}

// end takes away mounts and processes, and keeps the archive of a failed test if that is wanted.
func (w *tortured) end(top string) {
	if w.lib != nil {
		w.lib.Fault("clear")
	}
	for range 200 {
		if !processesNaming(w.dir) {
			break
		}
		for _, m := range mountsBelow(w.path("state/run")) {
			unix.Unmount(m, unix.MNT_DETACH)
		}
		for _, pid := range w.processes("") {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, m := range append(mountsBelow(w.path("mnt")), mountsBelow(w.path("state/run"))...) {
		unix.Unmount(m, unix.MNT_DETACH)
	}
	if keep := os.Getenv("TAPEFS_KEEP"); keep != "" && w.t.Failed() {
		if out, err := exec.Command("cp", "-a", w.dir, filepath.Join(keep, filepath.Base(filepath.Dir(top)))).CombinedOutput(); err != nil {
			w.t.Logf("keep the archive: %v\n%s", err, out)
		}
	}
	unmountBelow(w.dir)
	if w.root {
		unix.Unmount(top, unix.MNT_DETACH)
	}
}

func (w *tortured) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v\nwhat it did:\n%s", w.round, err, w.log.String())
	}
}

// clear ends all faults. The virtual drives need not take the time that real ones do.
func (w *tortured) clear() {
	w.t.Helper()
	w.must(w.lib.Fault("clear", "slow-umount=20ms"))
}

func (w *tortured) addTapes(prefix string, n int) {
	w.t.Helper()
	for range n {
		w.tapes[prefix]++
		w.slot++
		if w.slot >= tortureSlots {
			w.t.Fatalf("%s: the library is full", w.round)
		}
		w.must(w.lib.Add(w.slot, virtual.Cartridge{Barcode: fmt.Sprintf("%s%04dL8", prefix, w.tapes[prefix])}))
	}
}

var loadedRE = regexp.MustCompile(`Data Transfer Element (\d+):Full \(Storage Element (\d+) Loaded\)`)

// unload takes tapes out of the drives, whatever happens there; false when none went.
func (w *tortured) unload() bool {
	out, err := exec.Command(filepath.Join(w.lib.Bin, "mtx"), "-f", w.lib.Changer, "status").Output()
	if err != nil {
		return false
	}
	gone := false
	for _, m := range loadedRE.FindAllStringSubmatch(string(out), -1) {
		gone = exec.Command(filepath.Join(w.lib.Bin, "mtx"), "-f", w.lib.Changer, "unload", m[2], m[1]).Run() == nil || gone
	}
	return gone
}

// emptyDrives makes the next run load its tapes.
func (w *tortured) emptyDrives() { w.unload() }

// processes lists processes that name this archive and have word in their command line.
func (w *tortured) processes(word string) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var pids []int
	for _, file := range files {
		var pid int
		fmt.Sscanf(file, "/proc/%d/cmdline", &pid)
		line, err := os.ReadFile(file)
		text := strings.ReplaceAll(string(line), "\x00", " ")
		if err == nil && pid != os.Getpid() && strings.Contains(text, w.dir) && strings.Contains(text, word) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// commandsOf are the command lines of processes that have not ended, with their numbers.
func (w *tortured) commandsOf(pids []int) (commands []string) {
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && len(line) > 0 { // a zombie has none
			commands = append(commands, fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(line), "\x00", " ")))
		}
	}
	return commands
}

// slotTape is a tape that lies in a slot.
type slotTape struct {
	slot    int
	barcode string
}

var slotRE = regexp.MustCompile(`Storage Element (\d+)(?: IMPORT/EXPORT)?:Full :VolumeTag=(\S+)`)

// slotsOfOpenTapes are those of tapes that the next run may write to.
func (w *tortured) slotsOfOpenTapes() (found []slotTape) {
	w.t.Helper()
	out, err := exec.Command(filepath.Join(w.lib.Bin, "mtx"), "-f", w.lib.Changer, "status").Output()
	w.must(err)
	open := w.openTapes()
	for _, m := range slotRE.FindAllStringSubmatch(string(out), -1) {
		var slot int
		fmt.Sscan(m[1], &slot)
		if slices.ContainsFunc(open, func(t openTape) bool { return t.barcode == m[2] }) {
			found = append(found, slotTape{slot, m[2]})
		}
	}
	return found
}

// fillDisk leaves about left bytes on the file system of dir, until the returned function is called.
func (w *tortured) fillDisk(dir string, left int64) func() {
	w.t.Helper()
	var st unix.Statfs_t
	w.must(unix.Statfs(dir, &st))
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	w.must(err)
	defer f.Close()
	size := int64(st.Bavail)*st.Bsize - left
	if err := unix.Fallocate(int(f.Fd()), 0, 0, max(size, 1)); err != nil && !errors.Is(err, unix.ENOSPC) {
		w.must(err)
	}
	return func() { w.must(os.Remove(name)) }
}
