package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
)

// Exit codes of rsync (its manual, EXIT VALUES) after which what did come is good.
const (
	ExitPartial  = 23 // some files could not be read
	ExitVanished = 24 // some files were gone when they were to be sent
	rsyncTimeout = 30 // nothing came for --timeout
)

var rsyncMeanings = map[int]string{
	1: "usage", 2: "the far side speaks another protocol", 3: "a file or directory cannot be selected",
	4: "the far side cannot do this", 5: "the daemon refused", 10: "the connection failed", 11: "a file could not be written or read",
	12: "the far side ended early or is no rsync", 13: "message error", 14: "interprocess communication", 20: "interrupted",
	22: "out of memory", ExitPartial: "some files were not transferred", ExitVanished: "some files vanished",
	rsyncTimeout: "timeout", 35: "the daemon did not answer in time", 127: "no rsync on the far side", 255: "ssh failed",
}

// rsyncError is an rsync that ended with a failure.
type rsyncError struct {
	Args   []string
	Exit   int // -1: by a signal
	Stderr []string
}

func (e *rsyncError) Error() string {
	s := fmt.Sprintf("%s: exit %d", strings.Join(e.Args, " "), e.Exit)
	if m := rsyncMeanings[e.Exit]; m != "" {
		s += " (" + m + ")"
	}
	const last = 5
	lines := e.Stderr
	if len(lines) > last {
		lines = lines[len(lines)-last:]
	}
	for i, line := range lines {
		s += []string{": ", "; "}[min(i, 1)] + job.Shortened(line)
	}
	return s
}

// maxStderrLines bounds what is kept of an rsync that complains about each file.
const (
	maxStderrLines = 20000
	maxStderrLine  = 8 << 10 // bytes, of one
	maxStderr      = 4 << 20 // of all
)

// maxLine bounds one line of rsync: two paths of 4096 bytes, each byte escaped, and the rest.
const maxLine = 64 << 10

// Result is what one rsync left behind.
type Result struct {
	args    []string
	Exit    int
	Stderr  []string
	Dropped int // lines beyond maxStderrLines
}

// Partial says whether rsync ended with some files missing but all else good.
func (r *Result) Partial() bool { return r.Exit == ExitPartial || r.Exit == ExitVanished }

func (r *Result) Err() error {
	if r.Exit == 0 {
		return nil
	}
	return &rsyncError{Args: r.args, Exit: r.Exit, Stderr: r.Stderr}
}

// runRsync runs rsync with args and calls line for each line of its output, without the
// newline, valid until the call returns. Its exit code is in the result; the error is for
// what kept it from running to its end: a *StallError when nothing came of it for as long as src may be silent, which is not
// waited for longer. Whatever rsync does, the call returns soon after ctx ended.
func runRsync(ctx context.Context, env *job.Env, args []string, stdin io.Reader, src job.Source, line func([]byte) error) (*Result, error) {
	stall := StallOf(src)
	program := env.Config.Rsync
	if program == "" {
		program = "rsync"
	}
	r := &Result{args: append([]string{program}, args...)}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = rsyncEnv(os.Environ())
	cmd.Stdin = stdin
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, fmt.Errorf("start %s: %w", program, err)
	}
	complaints, err := cmd.StderrPipe()
	if err != nil {
		return r, fmt.Errorf("start %s: %w", program, err)
	}
	// The whole group gets the signal (rsync, its receiver, ssh). SIGTERM lets rsync
	// keep a partial file; when this process dies rsync must not fill the spool alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	killed := make(chan struct{}) // closed when nothing more is waited for
	cmd.Cancel = func() error {
		time.AfterFunc(RsyncEnds, func() {
			select {
			case <-killed:
				return
			default:
			}
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			out.Close()
			complaints.Close()
		})
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	cmd.WaitDelay = RsyncEnds
	if err := cmd.Start(); err != nil {
		return r, fmt.Errorf("start %s: %w", program, err)
	}
	from := env.Heard.Of(src.Name)
	defer from.Program()()
	watch := watchRsync(cmd.Process.Pid, program, stall, from, cancel)
	defer watch.stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		kept := 0
		_ = eachLineCut(complaints, func(b []byte) error {
			watch.alive()
			if len(r.Stderr) >= maxStderrLines || kept+len(b) > maxStderr {
				r.Dropped++
			} else if s := strings.TrimRight(string(b[:min(len(b), maxStderrLine)]), " \r"); s != "" {
				r.Stderr = append(r.Stderr, s)
				kept += len(s)
			}
			return nil
		})
		_, _ = io.Copy(io.Discard, complaints) // rsync must not wait for a reader
	})
	readErr := eachLine(out, func(b []byte) error {
		watch.alive()
		return line(b)
	})
	if readErr != nil {
		cancel(readErr)
		_, _ = io.Copy(io.Discard, out)
	}
	wg.Wait()
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		close(killed)
		ended <- err
	}()
	select {
	case err = <-ended:
	case <-watch.unkillable(ctx):
		env.Log.Warn("an rsync does not end though it was killed; it is left alone", "pid", cmd.Process.Pid)
	}
	if readErr != nil {
		return r, readErr
	}
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if r.Exit = exit.ExitCode(); r.Exit == rsyncTimeout {
			return r, &StallError{Limit: stall, err: r.Err()}
		}
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("run %s: %w", program, err)
	}
	return r, nil
}

// rsyncEnv is env with dates in UTC, messages in English and no settings of rsync's own
// but a daemon's password.
func rsyncEnv(env []string) []string {
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "LC_") || name == "LANG" || name == "LANGUAGE" || name == "TZ" ||
			strings.HasPrefix(name, "RSYNC_") && name != "RSYNC_PASSWORD" {
			continue
		}
		out = append(out, e)
	}
	return append(out, "LC_ALL=C", "TZ=UTC0")
}

// eachLineCut is eachLine, and gives no more than the beginning of a line that is too long.
func eachLineCut(r io.Reader, fn func([]byte) error) error {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		b, err := br.ReadSlice('\n')
		if len(b) > 0 {
			if err := fn(bytes.TrimSuffix(b, []byte("\n"))); err != nil {
				return err
			}
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if err != nil {
			return nil
		}
	}
}

func eachLine(r io.Reader, fn func([]byte) error) error {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		b, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return errors.New("rsync printed a line of more than 64 KiB")
		}
		if len(b) > 0 {
			if err := fn(bytes.TrimSuffix(b, []byte("\n"))); err != nil {
				return err
			}
		}
		if err == io.EOF || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what rsync prints: %w", err)
		}
	}
}

// Reach runs rsync against a source. A path that a shell would read differently goes
// over the protocol (--secluded-args); an account that is restricted to rsync refuses that
// option but has no shell either, so there it is left out.
func Reach(ctx context.Context, env *job.Env, src job.Source, at Address, args func(secluded bool) []string, stdin []byte, line func([]byte) error) (*Result, error) {
	r, err := runRsync(ctx, env, args(at.odd()), bytes.NewReader(stdin), src, line)
	if err == nil && at.odd() && r.Exit != 0 && refusedSecluded(r.Stderr) {
		r, err = runRsync(ctx, env, args(false), bytes.NewReader(stdin), src, line)
	}
	return r, err
}

func refusedSecluded(stderr []string) bool {
	for _, s := range stderr {
		if strings.Contains(s, "option -s has been disabled") || strings.Contains(s, "--secluded-args") && strings.Contains(s, "rrsync") {
			return true
		}
	}
	return false
}

// Messages about one file, with its path escaped like in the listing:
//
//	rsync: [sender] send_files failed to open "/src/x": Permission denied (13)
//	rsync: [sender] opendir "/src/d" failed: Permission denied (13)
//	file has vanished: "/src/x" (in module)

// SplitComplaint takes such a message apart: what could not be done, the path, and why.
func SplitComplaint(line string) (what, path, why string, ok bool) {
	first, last := strings.IndexByte(line, '"'), strings.LastIndexByte(line, '"')
	if first < 0 || last <= first {
		return "", "", "", false
	}
	what, path, why = line[:first], line[first+1:last], line[last+1:]
	if rest, found := strings.CutPrefix(what, "rsync: "); found {
		what = rest
		if _, rest, found := strings.Cut(what, "] "); found && strings.HasPrefix(what, "[") {
			what = rest
		}
	}
	if what = strings.TrimSuffix(what, " "); what == "" || strings.HasSuffix(what, " ") {
		return "", "", "", false
	}
	if strings.HasPrefix(why, " (in ") {
		if _, rest, found := strings.Cut(why, ")"); found {
			why = rest
		}
	}
	return what, path, why, true
}

// Complaint is one line of rsync's stderr.
type Complaint struct {
	Path string // below the source's top; "" when it is about no file
	Text string
}

// Complaints reads rsync's stderr. The closing summary line says nothing of its own.
func Complaints(at Address, lines []string) []Complaint {
	var out []Complaint
	for _, l := range lines {
		if strings.HasPrefix(l, "rsync error: some files") || strings.HasPrefix(l, "rsync warning: some files") {
			continue
		}
		c := Complaint{Text: l}
		if what, path, why, ok := SplitComplaint(l); ok {
			if rel, ok := at.relative(string(Unescape([]byte(path)))); ok {
				c.Path = rel
				c.Text = strings.TrimSuffix(what, ":") + why
			}
		}
		out = append(out, c)
	}
	return out
}
