package changer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// MountRequest: UUID "" accepts any volume (and the caller decides).
type MountRequest struct {
	UUID     string
	ReadOnly bool
}

// child is an ltfs process that we started.
type child struct {
	cmd      *exec.Cmd
	log      string      // its log file
	out      *outputFile // the same from where this process began to write, until it is gone
	said     string      // what it had written by then
	drive    DriveConfig
	started  time.Time
	readOnly bool          // it was asked for, or chosen by ltfs: nothing is written
	mounted  bool          // seen mounted
	exited   chan struct{} // closed when it is gone; err is set by then
	err      error
}

func (c *child) gone() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// output is what the process wrote into its log so far.
func (c *child) output() string {
	if c.gone() {
		return c.said
	}
	return c.out.text()
}

// failure is the error of a process that is gone.
func (c *child) failure() *ProgramError {
	return &ProgramError{Args: c.cmd.Args, Code: c.cmd.ProcessState.ExitCode(), Stderr: lastLines(c.output(), stderrLines), Err: c.signal()}
}

func (c *child) signal() error {
	if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return fmt.Errorf("%w by signal %d (%s)", ErrKilled, ws.Signal(), ws.Signal())
	}
	return nil
}

// killed is the error of a process that a signal ended, after an error of its volume; nil for one that goes on, or ended by itself.
func (c *child) killed(why error) error {
	if FaultOf(why) != Gone && !c.gone() {
		return nil
	}
	select {
	case <-c.exited:
		return c.signal()
	case <-time.After(killedSettles):
		return nil
	}
}

// maxLog is the size at which the log of a drive's ltfs is put aside, bytes; one old log is kept.
const maxLog = 4 << 20

func (l *Library) ltfsLog(d DriveConfig) string {
	return filepath.Join(l.cfg.RunDir, "ltfs-"+d.Serial+".log")
}

// shortenLog shortens a log that grew while nobody looked after it: its ltfs outlived the process that had started it.
func shortenLog(path string) {
	if st, err := os.Stat(path); err != nil || st.Size() <= maxOutput {
		return
	}
	o, err := openOutput(path)
	if err != nil {
		return
	}
	defer o.Close()
	o.from = 0
	o.shorten()
}

// startLtfs starts ltfs -f with its output appended to the drive's log. It gets a session of its own
// and inherits no lock: it survives us, and whoever gets the drive next finds it.
func (l *Library) startLtfs(ctx context.Context, d DriveConfig, readOnly bool, dir string) (*child, error) {
	device, err := l.ltfsDevice(ctx, d)
	if err != nil {
		return nil, err
	}
	options, err := l.mountOptions(ctx)
	if err != nil {
		return nil, err
	}
	c := &child{log: l.ltfsLog(d), drive: d, started: time.Now(), readOnly: readOnly, exited: make(chan struct{})}
	shortenLog(c.log)
	if st, err := os.Stat(c.log); err == nil && st.Size() > maxLog {
		if err := os.Rename(c.log, c.log+".1"); err != nil {
			return nil, fmt.Errorf("rotate log: %w", err)
		}
	}
	if c.out, err = logOutput(c.log); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	args := []string{l.cfg.Programs.Ltfs, "-f", "-o", "devname=" + device}
	if readOnly {
		args = append(args, "-o", "ro")
	}
	for _, o := range options {
		args = append(args, "-o", o)
	}
	args = append(args, dir)
	c.cmd = command(args)
	c.cmd.Stdout, c.cmd.Stderr = c.out.f, c.out.f
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	l.log.Debug("start ltfs", "args", args)
	if err := c.cmd.Start(); err != nil {
		c.out.Close()
		return nil, &ProgramError{Args: args, Code: -1, Err: err}
	}
	go func() {
		ended := make(chan struct{})
		go keepShort(ended, c.out)
		c.err = c.cmd.Wait()
		close(ended)
		c.said = c.out.text()
		c.out.Close()
		close(c.exited)
	}()
	return c, nil
}

// Mount starts ltfs -f as a child and waits until the mount is proved: in mountinfo, by this
// process, with the expected UUID. A volume that ltfs mounts read-only by itself (write-protected,
// full) is given with ReadOnly set. A volume that needs ltfsck because a session of ours died on it is checked
// first, unless Config.CheckByHand says no; what else needs it is ErrNeedsCheck.
func (le *Lease) Mount(ctx context.Context, r MountRequest) (*Volume, error) {
	v, err := le.mount(ctx, r)
	if r.UUID == "" || !errors.Is(err, ErrNeedsCheck) {
		return v, err
	}
	le.loading = time.Time{} // a check takes longer than any load
	if done, err := le.recoverVolume(ctx, r.UUID, err); !done {
		return nil, err
	}
	if v, err = le.mount(ctx, r); err != nil {
		return nil, err
	}
	if err := le.l.toldChecked(ctx, v, le.label(ctx)); err != nil {
		return nil, err
	}
	return v, nil
}

// mount is Mount of a volume that needs no check.
func (le *Lease) mount(ctx context.Context, r MountRequest) (*Volume, error) {
	op := "mount the tape in drive " + le.d.Serial
	if err := le.settle(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if le.vol != nil {
		return nil, fail(op, fmt.Errorf("%w: it is mounted already", ErrBusy), "")
	}
	if err := le.l.unused(le.d); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	dir := le.l.mountPoint(le.d)
	if err := le.freeMountPoint(ctx, dir); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	unnote := func() {}
	if !r.ReadOnly && r.UUID != "" {
		unnote = le.begin(le.label(ctx), r.UUID)
	}
	c, err := le.l.startLtfs(ctx, le.d, r.ReadOnly, dir)
	if err != nil {
		unnote()
		return nil, fail(op, err, notFound(err))
	}
	limited, cancel := context.WithTimeoutCause(ctx, le.l.cfg.MountTimeout, fmt.Errorf("no mount after %s", le.l.cfg.MountTimeout))
	defer cancel()
	m, err := le.awaitMount(limited, c, dir)
	var early *endedError
	switch {
	case errors.As(err, &early):
		log := c.output()
		if c.signal() == nil {
			unnote() // it gave up by itself
		}
		if c.cmd.ProcessState.ExitCode() == 0 {
			return nil, fail(op, fmt.Errorf("ltfs ended well but mounted nothing: %w", c.failure()), "see "+c.log)
		}
		err := le.ltfsFail(ctx, op, c.failure(), log, le.label(ctx))
		if !errors.Is(err, ErrNotFormatted) && !errors.Is(err, ErrNoMedium) && !errors.Is(err, ErrBusy) {
			le.readWear(ctx, "") // the drive may know why
		}
		return nil, err
	case err != nil:
		pid := c.cmd.Process.Pid
		gone := le.leave(c, dir)
		switch {
		case ctx.Err() != nil && gone:
			return nil, fail(op, fmt.Errorf("%w: %w", ErrUnknown, err), "")
		case ctx.Err() != nil:
			return nil, fail(op, fmt.Errorf("%w: %w: ltfs (pid %d) goes on, and whoever uses the drive next unmounts it", ErrUnknown, err, pid), "see "+c.log)
		case gone:
			return nil, fail(op, fmt.Errorf("%w: %w; ltfs (pid %d) was told to end, and did", ErrStuck, err, pid), "see "+c.log)
		}
		return nil, fail(op, fmt.Errorf("%w: %w; ltfs (pid %d) was told to end, and does not", ErrStuck, err, pid),
			"the drive is used again when that process has ended, which switching the drive off and on may bring about; see "+c.log)
	}
	c.mounted, c.readOnly = true, readOnlyMount(m)
	v, err := le.prove(limited, m, c, r)
	if err != nil {
		if killed := c.killed(err); killed != nil {
			err = fmt.Errorf("%w: ltfs (pid %d): %w", err, c.cmd.Process.Pid, killed)
		}
		err = errors.Join(fmt.Errorf("%s: %w", op, err), le.undo(c, dir))
		unnote() // nothing was written
		return nil, le.wrongTape(ctx, op, err)
	}
	if r.UUID != "" {
		le.right = true // the volume that was expected is its own proof
	}
	le.vol, le.turn = v, time.Now()
	le.tellLoaded()
	if c.readOnly {
		unnote()
		le.l.mountedAgain(v.UUID)
	}
	return v, nil
}

// freeMountPoint makes the mount point, and takes a dead mount away from it.
func (le *Lease) freeMountPoint(ctx context.Context, dir string) error {
	if err := le.l.clearDead(ctx, dir); err != nil {
		return err
	}
	m, err := mountAt(dir)
	if err != nil {
		return err
	}
	if m != nil {
		return fmt.Errorf("%w: %s is mounted on %s", ErrBusy, m.Source, dir)
	}
	if err := emptyDir(dir); err != nil {
		return fail("use mount point", err, "nothing belongs into "+dir+": move it away")
	}
	return nil
}

// endedError: the ltfs process ended before it had mounted.
type endedError struct{}

func (*endedError) Error() string { return "ltfs ended" }

// awaitMount waits until ltfs has mounted on our directory, as long as the process lives.
func (le *Lease) awaitMount(ctx context.Context, c *child, dir string) (*mountinfo.Info, error) {
	for p := newPoll(); ; {
		if c.gone() {
			return nil, &endedError{}
		}
		m, err := mountAt(dir)
		if err != nil {
			return nil, err
		}
		if m != nil {
			device, ok := strings.CutPrefix(m.Source, ltfsSource)
			if !ok || !isDevice(le.d, device) {
				return nil, fmt.Errorf("%w: %s was mounted on %s by somebody else", ErrBusy, m.Source, dir)
			}
			return m, nil
		}
		if err := p.wait(ctx); err != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// prove reads who the mounted volume is. Before it returns nothing may be written.
func (le *Lease) prove(ctx context.Context, m *mountinfo.Info, c *child, r MountRequest) (*Volume, error) {
	v := &Volume{Dir: m.Mountpoint, ReadOnly: readOnlyMount(m), le: le, child: c}
	attrs, err := within(ctx, func() (map[string]string, error) {
		uuid, err := v.attr("volumeUUID")
		if err != nil {
			return nil, err
		}
		a := v.Attrs(append(counterAttrs, "volumeName")...)
		a["volumeUUID"] = uuid
		return a, nil
	})
	if err != nil {
		return nil, fmt.Errorf("prove the volume: %w", err)
	}
	v.UUID, v.Name = strings.ToLower(attrs["volumeUUID"]), attrs["volumeName"]
	if v.UUID == "" {
		return nil, fmt.Errorf("prove the volume: %w: it has no UUID", ErrUnknown)
	}
	if r.UUID != "" && !strings.EqualFold(r.UUID, v.UUID) {
		return nil, fail("prove the volume", fmt.Errorf("%w: expected %s, found %s (%q)", ErrWrongVolume, r.UUID, v.UUID, v.Name),
			"labels may have been swapped, or the tape was formatted elsewhere: see tapefs tape info")
	}
	if c.gone() {
		return nil, fmt.Errorf("prove the volume: %w", c.failure())
	}
	counters := countersOf(attrs)
	counters.Time, counters.Drive = time.Now().UTC(), le.d.Serial
	if err := counters.note(le.l.cfg.RunDir, v.UUID); err != nil {
		le.l.log.Warn("note what the tape says of itself", "err", err)
	}
	var st unix.Statfs_t
	if mib := parseCount(attrs["mediaDataPartitionTotalCapacity"]); mib > 0 {
		v.Capacity = mib << 20
	} else if err := unix.Statfs(v.Dir, &st); err == nil {
		v.Capacity = int64(st.Blocks) * st.Bsize
	}
	return v, nil
}

// undo unmounts a volume that was not proved, and to which nothing was written, and waits for its process.
func (le *Lease) undo(c *child, dir string) error {
	pending := le.l.abandon(c, dir)
	limit, stop := le.told(le.l.cfg.UnmountTimeout)
	defer stop()
	select {
	case <-pending:
		return nil
	case <-limit:
		le.pending, le.left = pending, true
		return fmt.Errorf("unmount %s: %w: ltfs (pid %d)", dir, ErrStuck, c.cmd.Process.Pid)
	}
}
