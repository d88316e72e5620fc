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

	"tapefs/changer/virtual"
)

const (
	tortureSlots = 600
	blankAtOnce  = 3                // blank tapes that are added to a pool when it runs out
	settleRuns   = 8                // runs without trouble until one must say that all is done
	runLimit     = 10 * time.Minute // after which a run hangs, on the slowest machine
	orphanLimit  = time.Minute      // for what a killed run began
)

// tortured is an archive with two sources and two pools: far is fetched through the spool, near is read in place.
// The state folder and the spool are small file systems of their own, so that they can be filled.
type tortured struct {
	*archive
	t      *testing.T
	r      *rand.Rand
	lib    *virtual.Library
	tmpfs  bool
	round  string
	seed   uint64
	tally  map[string]*tallied // by kind
	now    *tallied            // that of the round
	log    bytes.Buffer
	serial int            // of file contents
	tapes  map[string]int // tapes added, by barcode prefix
	slot   int            // the last slot that was filled
	proved map[int64]bool // rows of copy_part whose bytes were compared with their sums
	run1   time.Duration  // what a run takes, about
	vowed  promise        // what safe named, as it was then; a file that changed at its source since is not in it
}

func newTortured(t *testing.T, r *rand.Rand) *tortured {
	needFuse(t)
	dir := t.TempDir()
	w := &tortured{archive: &archive{t: t, dir: dir, conf: filepath.Join(dir, "config.yaml")}, t: t, r: r,
		tapes: map[string]int{}, proved: map[int64]bool{}, run1: 2 * time.Second, round: "the beginning", vowed: promise{}}
	t.Cleanup(func() { w.end() })
	for _, d := range []string{"source/far", "source/near", "kept/far", "kept/near", "state"} {
		w.must(os.MkdirAll(w.path(d), 0o755))
	}
	if os.Geteuid() == 0 {
		w.tmpfs = true
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
func (w *tortured) end() {
	w.lib.Fault("clear")
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
		if out, err := exec.Command("cp", "-a", w.dir, keep).CombinedOutput(); err != nil {
			w.t.Logf("keep the archive: %v\n%s", err, out)
		}
	}
	unmountBelow(w.dir)
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

// change adds, changes and removes a few files at both sources. Names come again, so that the trees stay small.
func (w *tortured) change() {
	w.t.Helper()
	for _, source := range []string{"far", "near"} {
		root := w.path("source/" + source)
		write := func(name string, size int64) {
			w.serial++
			path := filepath.Join(root, name)
			w.must(os.MkdirAll(filepath.Dir(path), 0o755))
			w.must(os.RemoveAll(path))
			content := make([]byte, size)
			fill := rand.NewChaCha8([32]byte{byte(w.serial), byte(w.serial >> 8), byte(w.serial >> 16), 7})
			fill.Read(content)
			w.must(os.WriteFile(path, content, 0o644))
			at := time.Unix(1_500_000_000+int64(w.serial)*977, int64(w.r.IntN(1_000_000_000)))
			w.must(os.Chtimes(path, at, at))
		}
		for range 2 + w.r.IntN(8) {
			write(fmt.Sprintf("album %d/picture %02d.jpeg", w.r.IntN(4), w.r.IntN(15)), int64(w.r.IntN(60_000)))
		}
		for range 1 + w.r.IntN(2) {
			write(fmt.Sprintf("clips/clip %d.mp4", w.r.IntN(6)), 64<<10+int64(w.r.IntN(2<<20)))
		}
		if source == "far" && w.r.IntN(3) == 0 || w.r.IntN(8) == 0 {
			write(fmt.Sprintf("films/film %d.mkv", w.r.IntN(2)), 9<<20+int64(w.r.IntN(11<<20))) // two or three parts
		}
		if clips, _ := filepath.Glob(filepath.Join(root, "clips", "*")); len(clips) > 0 && w.r.IntN(3) == 0 { // of dedup size, many of them
			from := clips[w.r.IntN(len(clips))]
			w.serial++
			to, at := filepath.Join(root, "clips", fmt.Sprintf("copy %d.mp4", w.r.IntN(3))), time.Unix(1_500_000_000+int64(w.serial)*977, 5)
			w.must(copyContent(from, to))
			w.must(os.Chtimes(to, at, at))
		}
		if w.r.IntN(2) == 0 {
			link := filepath.Join(root, fmt.Sprintf("link %d", w.r.IntN(3)))
			w.must(os.RemoveAll(link))
			w.must(os.Symlink(fmt.Sprintf("nowhere %d", w.r.IntN(1000)), link))
		}
		found, err := filepath.Glob(filepath.Join(root, "*", "*"))
		w.must(err)
		for range w.r.IntN(3) {
			if len(found) > 0 {
				w.must(os.RemoveAll(found[w.r.IntN(len(found))]))
			}
		}
		// A listing has whole seconds, and a directory from which something only went is not fetched: two
		// changes within a second would look like one.
		w.must(filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if info, err := d.Info(); err != nil || time.Since(info.ModTime()) > time.Hour {
				return err
			}
			w.serial++
			at := time.Unix(1_500_000_000+int64(w.serial)*977, 0)
			return os.Chtimes(path, at, at)
		}))
	}
}

// keep copies what is new at the sources to a tree from which nothing is ever removed: vanished files stay archived.
func (w *tortured) keep() {
	w.t.Helper()
	out, err := exec.Command("rsync", "-ac", w.path("source")+"/", w.path("kept")+"/").CombinedOutput()
	if err != nil {
		w.t.Fatalf("rsync: %v\n%s", err, out)
	}
}

// started is a running archive command.
type started struct {
	cmd    *exec.Cmd
	out    lockedBuffer
	exited chan struct{}
	began  time.Time
}

// start begins an archive run with more environment.
func (w *tortured) start(env ...string) *started {
	w.t.Helper()
	s := &started{cmd: w.command("archive", "-v", "--accept-deletions"), exited: make(chan struct{}), began: time.Now()}
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	w.must(s.cmd.Start())
	go func() { s.cmd.Wait(); close(s.exited) }()
	return s
}

// ends waits for the end of a run and returns its exit code, -1 when a signal ended it.
func (w *tortured) ends(s *started) int {
	w.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(runLimit):
		for _, pid := range w.processes(" ltfs ") { // says in its log what it waits for
			syscall.Kill(pid, syscall.SIGQUIT)
		}
		time.Sleep(time.Second)
		s.cmd.Process.Signal(syscall.SIGQUIT)
		<-s.exited
		w.t.Fatalf("%s: a run does not end\nbefore:\n%s\nit says:\n%s\nits ltfs says:\n%s", w.round, w.log.String(), s.out.String(), w.ltfsLogs())
	}
	code := s.cmd.ProcessState.ExitCode()
	if w.now != nil {
		w.now.codes[code]++
	}
	fmt.Fprintf(&w.log, "--- archive, exit code %d, %.1f s\n%s", code, time.Since(s.began).Seconds(), s.out.String())
	if strings.Contains(s.out.String(), "panic:") || strings.Contains(s.out.String(), "fatal error:") {
		w.t.Fatalf("%s: a panic\n%s", w.round, w.log.String())
	}
	return code
}

// ltfsLogs are the ends of what the ltfs processes said.
func (w *tortured) ltfsLogs() string {
	var b strings.Builder
	logs, _ := filepath.Glob(w.path("state/run/ltfs-*.log"))
	for _, file := range logs {
		text, _ := os.ReadFile(file)
		fmt.Fprintf(&b, "%s:\n%s\n", filepath.Base(file), text[max(0, len(text)-8<<10):])
	}
	return b.String()
}

// done tells whether a run has ended.
func (s *started) done() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// settle runs archive without trouble until it has nothing to complain of. An operator's part is done when it is
// asked for: new tapes, and trust in a drive that was blamed for what the test did.
func (w *tortured) settle(why string) {
	w.t.Helper()
	for range settleRuns {
		began := time.Now()
		code := w.ends(w.start())
		switch code {
		case exitDone:
			w.run1 = (3*w.run1 + time.Since(began)) / 4
			return
		case exitFailed, exitPartial: // says what is wrong, and the next run goes on
			w.trustTapes()
		case exitOperator:
			w.operate()
		default:
			w.t.Fatalf("%s: archive exits with %d after %s\n%s", w.round, code, why, w.log.String())
		}
	}
	w.t.Fatalf("%s: %d runs after %s did not end it\n%s", w.round, settleRuns, why, w.log.String())
}

// trustTapes is an operator's part, too: tapes that the trouble made suspect are checked and read, and trusted by hand where
// that does not end it.
func (w *tortured) trustTapes() {
	w.t.Helper()
	unclean, err := filepath.Glob(w.path("library/tapes/*/meta.json"))
	w.must(err)
	unclean = slices.DeleteFunc(unclean, func(file string) bool {
		text, err := os.ReadFile(file)
		return err != nil || !strings.Contains(string(text), `"unclean": true`)
	})
	for i, file := range unclean { // they want ltfsck
		unclean[i] = filepath.Base(filepath.Dir(file))
	}
	for _, barcode := range slices.Compact(slices.Sorted(slices.Values(append(w.suspects(), unclean...)))) {
		for _, args := range [][]string{{"tape", "check", barcode}, {"verify", "--tape", barcode}} {
			out, err := w.command(args...).CombinedOutput()
			fmt.Fprintf(&w.log, "--- %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	for _, barcode := range w.suspects() {
		out, err := w.command("tape", "trust", barcode, "--yes").CombinedOutput()
		fmt.Fprintf(&w.log, "--- tape trust %s: %v\n%s", barcode, err, out)
	}
}

func (w *tortured) suspects() (barcodes []string) {
	w.t.Helper()
	for _, r := range w.query(`SELECT barcode FROM tape WHERE state = 'suspect' AND uuid <> ''`) {
		barcodes = append(barcodes, r[0].(string))
	}
	return barcodes
}

func (w *tortured) operate() {
	w.t.Helper()
	w.trustTapes()
	for _, d := range w.lib.Drives {
		if out, err := w.command("drive", "trust", d.Serial).CombinedOutput(); err != nil {
			w.t.Fatalf("drive trust: %v\n%s", err, out)
		}
	}
	blank := map[string]int{}
	metas, err := filepath.Glob(w.path("library/tapes/*/meta.json"))
	w.must(err)
	for _, file := range metas {
		text, err := os.ReadFile(file)
		w.must(err)
		if !strings.Contains(string(text), `"formatted": true`) {
			blank[filepath.Base(filepath.Dir(file))[:2]]++
		}
	}
	for _, prefix := range []string{"VT", "OF"} {
		if blank[prefix] == 0 {
			w.addTapes(prefix, blankAtOnce)
		}
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
