package changer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Volume is a mounted LTFS volume. Closed by Unmount.
type Volume struct {
	Dir      string // the mount point
	UUID     string
	Name     string
	ReadOnly bool  // also when ltfs chose it: write-protected or full
	Capacity int64 // bytes of the data partition

	le    *Lease
	child *child
}

// getxattr reads an extended attribute; padding blanks are cut off.
func getxattr(path, name string) (string, error) {
	buf := make([]byte, 256)
	for {
		n, err := unix.Getxattr(path, name, buf)
		switch {
		case errors.Is(err, unix.ERANGE) && len(buf) < 1<<20:
			buf = make([]byte, 4*len(buf))
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return "", fmt.Errorf("read %s of %s: %w", name, path, err)
		default:
			return strings.TrimRight(string(buf[:n]), " \x00"), nil
		}
	}
}

func (v *Volume) attr(name string) (string, error) { return getxattr(v.Dir, "user.ltfs."+name) }

// Attrs reads the user.ltfs.* attributes by name that exist, without the prefix.
func (v *Volume) Attrs(names ...string) map[string]string {
	out := make(map[string]string, len(names))
	for _, n := range names {
		if value, err := v.attr(n); err == nil {
			out[n] = value
		}
	}
	return out
}

// parseCount is a count that is not negative, -1 otherwise.
func parseCount(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// Generation is the index generation that the mount shows now.
func (v *Volume) Generation() (int64, error) {
	s, err := v.attr("indexGeneration")
	if err != nil {
		return 0, err
	}
	n := parseCount(s)
	if n < 0 {
		return 0, fmt.Errorf("read index generation of %s: %q is no number", v.Dir, s)
	}
	return n, nil
}

// freshGeneration is that of the index which mkltfs writes.
const freshGeneration = 1

// Fresh tells whether the volume is as mkltfs made it: named after the cartridge, its first index, and
// nothing in it. Nothing is lost with such a volume, and nothing was ever taken off it.
func (v *Volume) Fresh(b Barcode) (bool, error) {
	generation, err := v.Generation()
	if err != nil {
		return false, err
	}
	entries, err := os.ReadDir(v.Dir)
	if err != nil {
		return false, fmt.Errorf("read the root of %s: %w", v.Dir, err)
	}
	return generation == freshGeneration && len(entries) == 0 && v.Name == string(b), nil
}

// Free is the space left, bytes: a guide only.
func (v *Volume) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(v.Dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", v.Dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// StartBlock is where a file begins on the data partition, -1 for an empty one. The name is relative to
// the volume's root.
func (v *Volume) StartBlock(name string) (int64, error) {
	if !filepath.IsLocal(name) {
		return 0, fmt.Errorf("start block of %q: the name leads out of the volume", name)
	}
	path := filepath.Join(v.Dir, name)
	s, err := getxattr(path, "user.ltfs.startblock")
	if errors.Is(err, unix.ENODATA) {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return 0, fmt.Errorf("start block of %q: %w", name, err)
		}
		if st.Size > 0 {
			return 0, fmt.Errorf("start block of %q: it has %d bytes and no place on tape yet", name, st.Size)
		}
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	n := parseCount(s)
	if n < 0 {
		return 0, fmt.Errorf("start block of %q: %q is no number", name, s)
	}
	return n, nil
}

// Touch makes the index differ from the one on tape, so that the next sync has to write one: it sets
// the time of the root directory.
func (v *Volume) Touch() error {
	now := unix.NsecToTimespec(time.Now().UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, v.Dir, []unix.Timespec{now, now}, 0); err != nil {
		return fmt.Errorf("touch the root of %s: %w", v.Dir, err)
	}
	return nil
}

// Sync writes the index and proves it: the generation rose, still mounted read-write, same UUID.
// Returns the new generation. Any doubt is ErrSync.
//
// ltfs writes no index when nothing changed since the last one, and its own timer may have written one
// just before: then the generation stands still and proves nothing about what is on tape. Such a volume
// is touched and synced once more; only a generation that rose during this call is ever accepted.
func (v *Volume) Sync(ctx context.Context) (int64, error) {
	limit := v.le.l.cfg.UnmountTimeout
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("ltfs wrote no index within %s", limit))
	defer cancel()
	n, err := within(limited, func() (int64, error) { return v.sync(limited) })
	if err != nil {
		if !errors.Is(err, ErrSync) {
			err = fmt.Errorf("%w: %w", ErrSync, err)
		}
		return 0, fail("sync volume "+v.UUID, err, "what was written since the last sync counts as lost; see "+v.child.log)
	}
	return n, nil
}

func (v *Volume) sync(ctx context.Context) (int64, error) {
	if v.ReadOnly {
		return 0, ErrReadOnly
	}
	before, err := v.Generation()
	if err != nil {
		return 0, err
	}
	after, err := v.writeIndex()
	if err == nil && after == before {
		if err = v.Touch(); err == nil {
			after, err = v.writeIndex()
		}
		if err == nil && after == before {
			after, err = v.lateIndex(ctx, before)
		}
	}
	if err != nil {
		return 0, err
	}
	if after <= before {
		return 0, fmt.Errorf("the index generation went from %d to %d", before, after)
	}
	return after, v.still()
}

// writeIndex asks ltfs to write the index and gives the generation that it shows then.
func (v *Volume) writeIndex() (int64, error) {
	if err := setSync(v.Dir); err != nil {
		return 0, err
	}
	return v.Generation()
}

// lateIndex waits for an index that ltfs has agreed to write and not written yet, as long as the flavor may take for it.
func (v *Volume) lateIndex(ctx context.Context, before int64) (int64, error) {
	end := time.Now().Add(v.le.l.dialect(ctx).indexLate)
	for p := newPoll(); ; {
		after, err := v.Generation()
		if err != nil || after != before || !time.Now().Before(end) {
			return after, err
		}
		if err := p.wait(ctx); err != nil {
			return after, err
		}
	}
}

// WriteFault explains an error of writing to the volume. A family of LTFS programs that reports the end of the tape as an
// error of the medium, and then as a file system that cannot be written, says so in its log: that is ENOSPC.
func (v *Volume) WriteFault(err error) error {
	if !errors.Is(err, unix.EIO) && !errors.Is(err, unix.EROFS) {
		return err
	}
	full := v.le.l.dialect(context.Background()).fullCodes
	if len(full) == 0 {
		return err
	}
	for _, code := range ltfsCodes(v.child.output()) {
		if slices.Contains(full, code) {
			return fmt.Errorf("%w: %w", unix.ENOSPC, err)
		}
	}
	return err
}

// killedSettles is how long an ltfs that was killed may take until the kernel tells: readers and writers hear of it first.
const killedSettles = 2 * time.Second

// Killed reports whether the ltfs of the volume was ended by a signal, after an error of the volume: then neither the tape nor the
// drive is at fault.
func (v *Volume) Killed(why error) bool { return v.child.killed(why) != nil }

func setSync(dir string) error {
	for {
		err := unix.Setxattr(dir, "user.ltfs.sync", []byte("1"), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("set user.ltfs.sync on %s: %w", dir, err)
		}
		return nil
	}
}

// still proves that the mount is the one that was proved when it began: ours, read-write, same UUID.
func (v *Volume) still() error {
	if v.child.gone() {
		return fmt.Errorf("the ltfs process ended: %w", v.child.failure())
	}
	m, err := mountAt(v.Dir)
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("nothing is mounted on %s any more", v.Dir)
	}
	if device, ok := strings.CutPrefix(m.Source, ltfsSource); !ok || !isDevice(v.le.d, device) {
		return fmt.Errorf("%s is mounted on %s now", m.Source, v.Dir)
	}
	if readOnlyMount(m) {
		return ErrReadOnly
	}
	uuid, err := v.attr("volumeUUID")
	if err != nil {
		return err
	}
	if !strings.EqualFold(uuid, v.UUID) {
		return fmt.Errorf("%w: expected %s, found %s", ErrWrongVolume, v.UUID, uuid)
	}
	return nil
}

// busyGrace is how long unmounting is tried again while somebody has a file of the volume open.
const busyGrace = 10 * time.Second

// Unmount unmounts and waits until the ltfs process is gone: it writes the index after umount has
// returned. It does not prove anything written. While somebody uses the volume it is tried for 10 s and
// then an error: the volume stays mounted. When ctx ends while the process still works, the error says
// so and the lease stays busy until it is gone.
func (v *Volume) Unmount(ctx context.Context) error {
	op := "unmount volume " + v.UUID
	if v.le.vol != v {
		return nil // done before
	}
	died := v.child.gone()
	limit := v.le.l.cfg.UnmountTimeout
	timer := time.NewTimer(limit)
	defer timer.Stop()
	late := make(<-chan struct{}) // for a volume that nothing was written to: also when the command is told to end
	if v.ReadOnly {
		told, stop := v.le.told(limit)
		defer stop()
		late = told
	}
	unmounted := make(chan error, 1)
	go func() { unmounted <- unmountDir(ctx, v.Dir, died) }() // it may hang in the kernel
	var err error
	var exited, interrupted <-chan struct{} // once it is unmounted; before that unmountDir heeds ctx
	for {
		select {
		case uerr := <-unmounted:
			if uerr != nil {
				return fail(op, uerr, "see who uses it: fuser -vm "+v.Dir)
			}
			v.le.vol, exited, interrupted, unmounted = nil, v.child.exited, ctx.Done(), nil
			select { // when it has ended already, it does not matter that ctx has, too
			case <-exited:
			default:
				if !v.ReadOnly {
					v.le.l.works(v.child.cmd.Args, v.child.cmd.Process.Pid, exited)
				}
				continue
			}
		case <-exited:
		case <-interrupted:
			err = ctx.Err()
		case <-timer.C:
			err = fmt.Errorf("no end after %s", limit)
		case <-late:
			err = errors.New("no end yet")
		}
		break
	}
	v.le.vol = nil
	if err != nil {
		return v.leave(ctx, op, err)
	}
	v.end()
	v.le.readWear(ctx, v.UUID)
	if died || v.child.err != nil {
		hint := "what was written since the last sync counts as lost; see " + v.child.log
		if v.ReadOnly {
			hint = "nothing was written to the tape; why it ended may stand in " + v.child.log
		}
		return fail(op, fmt.Errorf("the ltfs process ended before its time: %w", v.child.failure()), hint)
	}
	return nil
}

// leave stops waiting for the ltfs process of an unmounted volume. One that may be writing is left alone; one that only read
// is told to end.
func (v *Volume) leave(ctx context.Context, op string, why error) error {
	pid := v.child.cmd.Process.Pid
	v.le.doing = v.child.cmd.Args
	switch {
	case v.ReadOnly:
		v.le.l.terminate(v.le.d, pid)
		if v.le.leave(v.child, v.Dir) {
			return nil
		}
		v.le.l.noteStuck(v.le.d.Serial, pid)
	case ctx.Err() != nil:
		v.le.pending = v.child.exited
	default:
		v.le.l.noteStuck(v.le.d.Serial, pid)
		v.le.pending, v.le.left = v.child.exited, true
	}
	return fail(op, fmt.Errorf("ltfs (pid %d) does not end: %w: %w", pid, ErrUnknown, why), "the drive stays in use until the process has ended; see "+v.child.log)
}
