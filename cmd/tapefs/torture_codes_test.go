package main

import (
	"fmt"
	"slices"
	"strings"
)

const killed = -1 // the exit code of what a signal ended

// exitCodes are those that a command may end with, whatever the trouble was. Each other one is a loss: who runs tapefs from
// cron sees nothing else. In all of them new tapes may be wanted.
var exitCodes = map[string][]int{
	"archive":         {exitDone, exitFailed, exitPartial, exitOperator}, // amid trouble; that 0 is true is held by what safe names then
	"archive after":   {exitDone, exitPartial, exitOperator},             // without trouble: it puts right what the trouble left
	"archive --heal":  {exitDone, exitPartial, exitOperator},
	"catalog backup":  {exitDone},
	"catalog check":   {exitDone},
	"catalog rebuild": {exitDone},
	"drive clean":     {exitDone},
	"drive trust":     {exitDone},
	"forget":          {exitDone},
	"restore":         {exitDone},
	"safe":            {exitDone, exitPartial},
	"tape check":      {exitDone},
	"tape repack":     {exitDone, exitOperator},
	"tape trust":      {exitDone},
	"verify":          {exitDone},
}

// troubleCodes are those that a trouble adds for a command: kinds are the beginnings of such troubles' names.
var troubleCodes = []struct {
	kinds   []string
	command string
	codes   []int
}{
	{[]string{"failpoint ", "kill tapefs", "kill all at once", "killed volume needs ltfsck", "kill mkltfs", "robot stuck", "slow load", "mount stuck",
		"ltfsck stuck", "spool lost", "spool rotten", "read error in proof"}, "archive", []int{killed}},
	{[]string{"two at once"}, "archive", []int{exitLocked}},
	{[]string{"bytes lost on tape", "bytes wrong on tape", "spoilt ", "kill heal", "catalog lost"}, "verify", []int{exitFailed}}, // until it is healed
	{[]string{"kill heal"}, "archive --heal", []int{killed}},
	{[]string{"kill repack"}, "tape repack", []int{killed}},
	{[]string{"kill forget"}, "forget", []int{killed, exitFailed}}, // nothing is left to be forgotten
	{[]string{"kill rebuild", "catalog lost, kill rebuild"}, "catalog rebuild", []int{killed}},
	{[]string{"kill restore"}, "restore", []int{killed}},
	{[]string{"kill verify"}, "verify", []int{killed}},
	{[]string{"read stuck"}, "verify", []int{exitFailed, killed}},
}

// ltfsEnds are the troubles of an ltfs alone. They end no run: the tape is read back, and the run goes on.
var ltfsEnds = []string{"kill ltfs", "all ltfs killed", "ltfs dies at a request"}

// runs runs tapefs, and holds its exit code against those that are allowed.
func (w *tortured) runs(args ...string) (code int, out string) {
	w.t.Helper()
	cmd := w.command(args...)
	text, _ := cmd.CombinedOutput()
	code = cmd.ProcessState.ExitCode()
	fmt.Fprintf(&w.log, "--- tapefs %s, exit code %d\n%s", strings.Join(args, " "), code, text)
	w.ended(commandOf(args), code)
	return code, string(text)
}

// commandOf are the words of a command without its arguments.
func commandOf(args []string) string {
	if args[0] == "archive" && slices.Contains(args, "--heal") {
		return "archive --heal"
	}
	if slices.Contains([]string{"tape", "drive", "catalog", "virtual"}, args[0]) {
		return strings.Join(args[:2], " ")
	}
	return args[0]
}

// ended counts an exit code, and one that is not allowed is a loss.
func (w *tortured) ended(command string, code int) {
	w.t.Helper()
	for _, kind := range w.kinds {
		w.all.of(kind, func(c *tallied) { c.code(command, code) })
	}
	if !slices.Contains(w.allowed(command), code) {
		w.loss("%s exits with %d", command, code)
	}
}

// allowed are the exit codes of a command after the troubles that the round has had so far.
func (w *tortured) allowed(command string) []int {
	codes := slices.Clone(exitCodes[command])
	if command == "catalog rebuild" && w.spoilt {
		codes = append(codes, exitPartial) // what was spoilt on tape is refused for ever
	}
	if command == "archive" && !slices.ContainsFunc(w.kinds, func(kind string) bool { return !slices.Contains(ltfsEnds, kind) }) {
		codes = slices.DeleteFunc(codes, func(code int) bool { return code == exitFailed })
	}
	for _, c := range troubleCodes {
		of := func(kind string) bool {
			return slices.ContainsFunc(c.kinds, func(begins string) bool { return strings.HasPrefix(kind, begins) })
		}
		if c.command == command && slices.ContainsFunc(w.kinds, of) {
			codes = append(codes, c.codes...)
		}
	}
	return codes
}
