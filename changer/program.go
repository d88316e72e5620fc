package changer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// result is what a finished program left.
type result struct {
	stdout, stderr string
	code           int
	cut            bool // stdout was too long, and is not complete
}

// killGrace is how long a program that only looks may take to die once it is killed: one that hangs in
// the kernel cannot, and is left behind.
const killGrace = 2 * time.Second

// running is a started program. Its output goes to files without a name: a pipe would break, and with
// it the program, when we die.
type running struct {
	args     []string
	cmd      *exec.Cmd
	out, err *outputFile
	done     chan struct{} // closed when the program is gone; res and fail are set by then
	res      result
	fail     error
}

// start runs a program in a session and process group of its own, so that no signal meant for us
// reaches it. It inherits the files in keep: locks stay locked until it is gone, also if we die.
func (l *Library) start(args []string, keep ...*os.File) (*running, error) {
	p := &running{args: args, done: make(chan struct{})}
	var err error
	if p.out, err = scratchOutput(l.cfg.RunDir); err != nil {
		return nil, &ProgramError{Args: args, Code: -1, Err: err}
	}
	if p.err, err = scratchOutput(l.cfg.RunDir); err != nil {
		p.out.Close()
		return nil, &ProgramError{Args: args, Code: -1, Err: err}
	}
	p.cmd = command(args)
	p.cmd.Stdout, p.cmd.Stderr = p.out.f, p.err.f
	p.cmd.ExtraFiles = keep
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := p.cmd.Start(); err != nil {
		p.out.Close()
		p.err.Close()
		return nil, &ProgramError{Args: args, Code: -1, Err: err}
	}
	go p.wait()
	return p, nil
}

func (p *running) wait() {
	defer close(p.done)
	defer p.out.Close()
	defer p.err.Close()
	ended := make(chan struct{})
	go keepShort(ended, p.out, p.err)
	err := p.cmd.Wait()
	close(ended)
	p.res = result{stdout: p.out.text(), stderr: p.err.text(), code: p.cmd.ProcessState.ExitCode(), cut: p.out.shortened()}
	if err == nil {
		return
	}
	pe := &ProgramError{Args: p.args, Code: p.res.code, Stderr: lastLines(p.res.stderr, stderrLines)}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || p.res.code < 0 {
		pe.Err = err
	}
	p.fail = pe
}

// query runs a program that changes nothing, and kills it when ctx ends. An answer that is too long to be one is an error.
func (l *Library) query(ctx context.Context, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return result{code: -1}, &ProgramError{Args: args, Code: -1, Err: err}
	}
	p, err := l.start(args)
	if err != nil {
		return result{code: -1}, err
	}
	why := l.awaitAnswer(ctx, p)
	if why == nil {
		if p.fail == nil && p.res.cut {
			return p.res, &ProgramError{Args: args, Code: p.res.code, Err: errTooMuch}
		}
		return p.res, p.fail
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // ESRCH: it just ended
	select {
	case <-p.done:
	case <-time.After(killGrace):
	}
	return result{code: -1}, &ProgramError{Args: args, Code: -1, Err: why}
}

const (
	// slowAnswer is when a program that only looks has taken so long that whoever waits for it is told.
	slowAnswer = 10 * time.Second
	// lookAtOutput is how often what such a program prints is held against the limit.
	lookAtOutput = time.Second
)

// awaitAnswer waits until a program that only looks has ended, and says what it waits for when that lasts. An error is why nobody waits for it any more.
func (l *Library) awaitAnswer(ctx context.Context, p *running) error {
	notices := &Notices{told: l.cfg.Waits, next: slowAnswer,
		w: Waiting{For: commandLine(p.args), Since: time.Now(), Why: "it has not answered yet"}}
	look := time.NewTicker(lookAtOutput)
	defer look.Stop()
	for {
		select {
		case <-p.done:
			return nil
		case <-look.C:
			if p.out.shortened() {
				return errTooMuch
			}
			notices.Look(func() string { return "" })
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("no answer within %s: %w", queryTimeout, ctx.Err())
			}
			return ctx.Err()
		}
	}
}

// errStillRuns is the error of a program that changes the state of the machine and that we no longer wait for.
type errStillRuns struct {
	args []string
	pid  int
	err  error // why we stopped waiting
}

func (e *errStillRuns) Error() string {
	return fmt.Sprintf("stopped waiting for %s, which still runs: %v", commandLine(e.args), e.err)
}
func (e *errStillRuns) Unwrap() []error { return []error{ErrUnknown, e.err} }

// act runs a program that changes the state of the machine. It is never killed: when ctx ends or the
// limit is reached, we stop waiting and give an *errStillRuns and the channel that tells its end.
func (l *Library) act(ctx context.Context, limit time.Duration, keep []*os.File, args ...string) (result, <-chan struct{}, error) {
	if err := ctx.Err(); err != nil {
		return result{code: -1}, nil, &ProgramError{Args: args, Code: -1, Err: err}
	}
	l.log.Debug("run", "args", args)
	p, err := l.start(args, keep...)
	if err != nil {
		return result{code: -1}, nil, err
	}
	l.works(args, p.cmd.Process.Pid, p.done)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.res, nil, p.fail
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = fmt.Errorf("no end after %s", limit)
	}
	return result{code: -1}, p.done, &errStillRuns{args: args, pid: p.cmd.Process.Pid, err: err}
}

// notFound is the hint for a program that is not installed.
func notFound(err error) string {
	var pe *ProgramError
	if errors.As(err, &pe) && (errors.Is(pe.Err, exec.ErrNotFound) || errors.Is(pe.Err, os.ErrNotExist)) {
		return "install " + pe.Args[0] + ", or set its path under library.programs"
	}
	return ""
}

// mtxFail explains a failed mtx.
func mtxFail(op string, err error, stderr string) error {
	hint, cause := mtxCause(stderr)
	if cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	if hint == "" {
		hint = notFound(err)
	}
	if hint == "" && strings.Contains(stderr, "cannot open SCSI device") {
		hint = "is library.changer the changer's device, and may this user open it? see: lsscsi -g"
	}
	return fail(op, err, hint)
}

// ltfsFail explains a failed ltfs, mkltfs or ltfsck by the messages in its log, and where these leave it open by the state of
// the drive. Hints name the tape.
func (le *Lease) ltfsFail(ctx context.Context, op string, err error, log string, tape Barcode) error {
	hint, cause := le.l.dialect(ctx).cause(log, tape)
	if errors.Is(cause, errNotThreaded) {
		hint, cause = le.notThreaded(ctx)
	}
	if cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	if hint == "" {
		hint = notFound(err)
	}
	return fail(op, err, hint)
}

// notThreaded asks the drive why a program found no tape that can be read.
func (le *Lease) notThreaded(ctx context.Context) (hint string, cause error) {
	const look = "see what the drive holds with: tapefs drive status"
	st, err := le.l.mtStatus(context.WithoutCancel(ctx), le.d)
	switch {
	case err != nil, st.DoorOpen:
		return look, ErrNoMedium
	case !st.Online:
		return "it may hold a cleaning cartridge, or be cleaning; " + look, fmt.Errorf("%w: the drive is not ready", ErrUnknown)
	}
	return "it holds a tape, and LTFS cannot use it: clean the drive, or try another one; " + look, ErrUnknown
}
