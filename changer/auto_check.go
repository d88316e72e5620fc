package changer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Checked says what was found of a volume that was checked because a session of ours died on it.
type Checked struct {
	Barcode    Barcode
	UUID       string
	Generation int64 // of its index
	At         time.Time
}

// OnCheck has f told of each volume that was checked by itself, once it is mounted again and its UUID proved, before anybody
// uses it. An error of f keeps the volume from being written.
func (l *Library) OnCheck(f func(context.Context, Checked) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onCheck = f
}

// recoverVolume checks the loaded volume, which ltfs refuses to mount, when a session of ours died on it: the note of that session
// names the UUID that the catalog expects and the tape that is loaded, and the tape itself, asked without being changed, names
// both as well. Whatever else needs a check is left alone. done reports whether ltfsck made it consistent.
func (le *Lease) recoverVolume(ctx context.Context, uuid string, why error) (done bool, err error) {
	s := le.l.session(uuid)
	b := le.label(ctx)
	if s == nil || le.l.cfg.CheckByHand || b == "" || s.Barcode != b {
		return false, why
	}
	op := "check tape " + string(b)
	byHand := "tapefs tape check " + string(b) + " tries again and tells more"
	if !s.Failed.IsZero() || s.Tries >= maxTries {
		return false, fail(op, fmt.Errorf("%w: %s; it is not tried again", ErrNeedsCheck, s), byHand)
	}
	if err := le.sameVolume(ctx, op, *s); err != nil {
		return false, err
	}
	why = errors.New(s.String())
	s.Check, s.Tries, s.Mounted = time.Now().UTC(), s.Tries+1, time.Time{}
	if err := le.l.keep(*s); err != nil { // or a check that kills the machine would be tried for ever
		return false, fail(op, fmt.Errorf("%w: %w", ErrNeedsCheck, err), byHand)
	}
	le.l.log.Warn("a tape is checked with ltfsck", "tape", b, "drive", le.d.Serial, "why", why, "limit", le.l.cfg.CheckTimeout)
	_, err = le.Check(ctx, false)
	if err == nil {
		le.l.log.Warn("ltfsck made the tape consistent", "tape", b, "after", time.Since(s.Check).Round(time.Second))
		return true, nil
	}
	if !le.gaveUp(ctx, err) {
		if ctx.Err() != nil {
			return false, err
		}
		return false, fail(op, fmt.Errorf("%w: %w", ErrNotChecked, err), "") // it says nothing of the volume: the next one who needs it tries again
	}
	s.Failed, s.Failure = time.Now().UTC(), err.Error()
	if kerr := le.l.keep(*s); kerr != nil {
		le.l.log.Warn("note that a check failed", "err", kerr)
	}
	return false, fail(op, fmt.Errorf("%w: %w", ErrNeedsCheck, err), byHand)
}

// gaveUp reports whether a check failed for what is on the tape, or did not end in its time: neither is worth a second try.
func (le *Lease) gaveUp(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	var still *errStillRuns
	if errors.As(err, &still) {
		return true
	}
	return CheckFailed(err)
}

// CheckFailed reports whether ltfsck found a volume that it could not make consistent: not where the drive, the cartridge or
// the program was the trouble.
func CheckFailed(err error) bool {
	for _, other := range []error{ErrNotFormatted, ErrNoMedium, ErrBusy, ErrUnknown, ErrIncompatible, ErrWriteProtected} {
		if errors.Is(err, other) {
			return false
		}
	}
	var program *ProgramError
	return errors.As(err, &program) && program.Code > 0
}

// volumeUUID and volumeSerial are what ltfsck reads in the label of a volume before it looks at any index, on OpenLTFS
// and HPE's alike: "LTFS16025I Volume UUID     : 0552….", the dot only on OpenLTFS.
var (
	volumeUUID   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)LTFS16025I [^:]*: ([0-9a-fA-F-]{36})\.?\s*$`) })
	volumeSerial = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)LTFS16024I [^:]*: ([A-Za-z0-9]*)\.?\s*$`) })
)

// readLabel finds the label of a volume in what ltfsck printed; "" when it did not come so far.
func readLabel(log string) (uuid, serial string) {
	if m := volumeUUID().FindStringSubmatch(log); m != nil {
		uuid = strings.ToLower(m[1])
	}
	if m := volumeSerial().FindStringSubmatch(log); m != nil {
		serial = m[1]
	}
	return uuid, serial
}

// labelOnTape reads the label of a volume that does not mount. ltfsck -l only lists indexes and writes nothing; of a volume
// that has to be checked it prints the label and gives up, so its exit code does not count.
func (le *Lease) labelOnTape(ctx context.Context, op string) (uuid, serial string, err error) {
	if err := le.mayUse(ctx, op); err != nil {
		return "", "", err
	}
	device, err := le.l.ltfsDevice(ctx, le.d)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", op, err)
	}
	res, pending, err := le.act(ctx, le.l.cfg.CheckTimeout, le.l.cfg.Programs.Ltfsck, "-l", device)
	if pending != nil {
		return "", "", le.leaveCheck(ctx, op, err)
	}
	if uuid, serial = readLabel(res.stdout + "\n" + res.stderr); uuid == "" && err != nil {
		return "", "", le.ltfsFail(ctx, op, err, res.stdout+res.stderr, le.label(ctx))
	}
	return uuid, serial, nil
}

// sameVolume proves that the loaded volume is the one on which the session died.
func (le *Lease) sameVolume(ctx context.Context, op string, s Session) error {
	uuid, serial, err := le.labelOnTape(ctx, op)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		return fail(op, fmt.Errorf("%w: read whose volume it is: %w", ErrNotChecked, err), "")
	case uuid == "":
		return fail(op, fmt.Errorf("%w, and nothing proves whose volume it is: nothing was changed on it", ErrNeedsCheck), "tapefs tape check "+string(s.Barcode)+" checks it all the same")
	case uuid != s.UUID || serial != "" && !strings.EqualFold(serial, s.Barcode.Serial()):
		return fail(op, fmt.Errorf("%w: expected %s (%s), found %s (%s); it needs ltfsck, and nothing was changed on it", ErrWrongVolume, s.UUID, s.Barcode.Serial(), uuid, serial),
			"labels may have been swapped: look for the tape whose volume is "+s.UUID)
	}
	return nil
}

// leaveCheck stops waiting for ltfsck, which is never killed: the drive stays its own until it ends, and nobody else waits for it.
func (le *Lease) leaveCheck(ctx context.Context, op string, err error) error {
	var still *errStillRuns
	if ctx.Err() == nil && errors.As(err, &still) {
		le.l.noteStuck(le.d.Serial, still.pid)
		le.left = true
	}
	return fail(op, err, "ltfsck goes on; never kill it")
}

// toldChecked tells whoever listens that a volume was checked by itself and mounted again.
func (l *Library) toldChecked(ctx context.Context, v *Volume, b Barcode) error {
	l.mu.Lock()
	f := l.onCheck
	l.mu.Unlock()
	if f == nil {
		return nil
	}
	generation, err := v.Generation()
	if err == nil {
		err = f(ctx, Checked{Barcode: b, UUID: v.UUID, Generation: generation, At: time.Now().UTC()})
	}
	if err == nil || v.ReadOnly { // what is read is held against its sums
		if err != nil {
			l.log.Warn("a checked tape is not what it was", "tape", b, "err", err)
		}
		return nil
	}
	return errors.Join(fmt.Errorf("take a checked tape into use: %w", err), v.Unmount(ctx))
}

// says puts what is done into the drive's lock file for a while, where others who wait for it read it.
func (le *Lease) says(what string) (restore func()) {
	f := strings.Fields(signature(le.l.driveLock(le.d.Serial)))
	if le.lock == nil || len(f) < 4 {
		return func() {}
	}
	write := func(words []string) {
		if le.lock == nil {
			return
		}
		if err := sign(le.lock, strings.Join(words, " ")); err != nil {
			le.l.log.Debug("say what the drive is used for", "err", err)
		}
	}
	now := append([]string(nil), f...)
	now[0], now[1], now[2] = fmt.Sprint(os.Getpid()), strings.Join(strings.Fields(what), "-"), time.Now().UTC().Format(time.RFC3339)
	write(now)
	return func() {
		if le.pending == nil { // else it is what the drive is used for still
			write(f)
		}
	}
}

// sessionHere finds out, without a changer, whether the volume in the drive, which does not mount, is one on which a session of ours
// died: Mount checks it, once somebody asks for it by its UUID. "" when it is not.
func (le *Lease) sessionHere(ctx context.Context) Barcode {
	if le.l.cfg.CheckByHand || len(le.l.sessions()) == 0 {
		return ""
	}
	uuid, _, err := le.labelOnTape(ctx, "look which tape is in the drive")
	if err != nil {
		le.l.log.Warn("the tape in the drive needs ltfsck, and does not say which it is", "drive", le.d.Serial, "err", err)
		return ""
	}
	if s := le.l.session(uuid); s != nil {
		return s.Barcode
	}
	return ""
}
