package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// started is a running command.
type started struct {
	cmd     *exec.Cmd
	command string // its words
	out     lockedBuffer
	exited  chan struct{}
	began   time.Time
}

// start begins an archive run with more environment.
func (w *tortured) start(env ...string) *started {
	w.t.Helper()
	cmd := w.command("archive", "-v", "--accept-deletions")
	cmd.Env = append(os.Environ(), env...)
	return w.launch(cmd)
}

// launch starts a command whose end ends waits for.
func (w *tortured) launch(cmd *exec.Cmd) *started {
	w.t.Helper()
	s := &started{cmd: cmd, command: commandOf(cmd.Args[3:]), exited: make(chan struct{}), began: time.Now()}
	if s.command == "archive" && w.settling {
		s.command = "archive after"
	}
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	w.must(cmd.Start())
	go func() { cmd.Wait(); close(s.exited) }()
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
	w.lastCode = code
	w.ended(s.command, code)
	defer w.stillThere()
	fmt.Fprintf(&w.log, "--- %s, exit code %d, %.1f s\n%s", s.command, code, time.Since(s.began).Seconds(), s.out.String())
	if strings.Contains(s.out.String(), "panic:") || strings.Contains(s.out.String(), "fatal error:") {
		w.t.Fatalf("%s: a panic\n%s", w.round, w.log.String())
	}
	return code
}

// stillThere ends the test if the folder for locks and mount points went: nothing may remove it, neither a run nor its recovery.
func (w *tortured) stillThere() {
	w.t.Helper()
	if exists(w.path("state/run")) {
		return
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	left, _ := exec.Command("ls", "-laR", "--ignore=tapes", "--ignore=source", w.dir).CombinedOutput()
	w.t.Fatalf("%s: state/run is gone\nprocesses: %q\nmounts:\n%s\nleft:\n%.20000s\nwhat it did:\n%s", w.round, w.commandsOf(w.processes("")), mounts, left, w.log.String())
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
	w.settling = true
	defer func() { w.settling = false }()
	for range settleRuns {
		began := time.Now()
		code := w.ends(w.start())
		switch code {
		case exitDone:
			w.run1 = (3*w.run1 + time.Since(began)) / 4
			if len(w.suspects()) == 0 {
				return
			}
			w.trustTapes() // what lies on them is not safe before that
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
		w.runs("tape", "check", barcode)
		w.runs("verify", "--tape", barcode)
	}
	for _, barcode := range w.suspects() {
		w.runs("tape", "trust", barcode, "--yes")
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
		w.runs("drive", "trust", d.Serial)
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
