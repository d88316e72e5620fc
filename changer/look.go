package changer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"
)

// Content is what a look at a loaded tape proved.
type Content int

const (
	ContentUnknown Content = iota // an error, or something that is not LTFS
	ContentBlank                  // no LTFS label and end of data at the first record
	ContentLTFS
	ContentForeign // data that is not LTFS
)

func (c Content) String() string {
	switch c {
	case ContentBlank:
		return "blank"
	case ContentLTFS:
		return "an LTFS volume"
	case ContentForeign:
		return "data that is not LTFS"
	}
	return "unknown"
}

// Look finds out what is on the loaded tape without changing it. Blank needs two proofs: ltfs finds a
// medium without partitions, and the end of data is at the first record. Whatever else goes wrong is
// ContentUnknown with the error, never blank.
func (le *Lease) Look(ctx context.Context) (Content, error) {
	const op = "look at the tape"
	if err := le.settle(ctx); err != nil {
		return ContentUnknown, fmt.Errorf("%s: %w", op, err)
	}
	if le.vol != nil {
		return ContentLTFS, nil
	}
	st, err := le.l.mtStatus(ctx, le.d)
	switch {
	case err != nil:
		return ContentUnknown, fmt.Errorf("%s: %w", op, err)
	case st.DoorOpen:
		return ContentUnknown, fail(op, ErrNoMedium, "")
	case !st.Online:
		return ContentUnknown, fail(op, fmt.Errorf("%w: the drive is not ready", ErrUnknown), "it may be cleaning; see tapefs drive status")
	}
	v, err := le.Mount(ctx, MountRequest{ReadOnly: true})
	if err == nil {
		if err := v.Unmount(ctx); err != nil {
			return ContentUnknown, fmt.Errorf("%s: %w", op, err)
		}
		return ContentLTFS, nil
	}
	if !errors.Is(err, ErrNotFormatted) {
		return ContentUnknown, fmt.Errorf("%s: %w", op, err)
	}
	return le.endOfData(ctx, op)
}

// endOfData finds where the data of a tape without LTFS ends.
func (le *Lease) endOfData(ctx context.Context, op string) (Content, error) {
	if _, err := le.mt(ctx, "rewind"); err != nil {
		return ContentUnknown, fmt.Errorf("%s: %w", op, err)
	}
	_, eodErr := le.mt(ctx, "eod")
	if le.pending != nil {
		return ContentUnknown, fmt.Errorf("%s: %w", op, eodErr)
	}
	st, err := le.l.mtStatus(ctx, le.d)
	if err != nil {
		return ContentUnknown, fmt.Errorf("%s: %w", op, err)
	}
	if st.EOD && st.File == 0 && st.Block == 0 { // some drives refuse to space on a blank tape, and say so
		return ContentBlank, nil
	}
	if eodErr != nil {
		return ContentUnknown, fmt.Errorf("%s: %w: %w", op, ErrUnknown, eodErr)
	}
	out, err := le.mt(ctx, "tell")
	if err != nil {
		return ContentUnknown, fmt.Errorf("%s: %w", op, err)
	}
	at, err := parseTell(out)
	if err != nil {
		return ContentUnknown, fmt.Errorf("%s: %w: %w", op, ErrUnknown, err)
	}
	if at == 0 {
		return ContentBlank, nil
	}
	return ContentForeign, nil
}

// mt runs an operation on a drive that is known to be ready.
func (le *Lease) mt(ctx context.Context, word string) (string, error) {
	return le.mtWithin(ctx, cmp.Or(le.l.cfg.ReadyTimeout, usualReady), word)
}

// mtWithin is mt for what takes its own time.
func (le *Lease) mtWithin(ctx context.Context, limit time.Duration, words ...string) (string, error) {
	args := append([]string{le.l.cfg.Programs.Mt, "-f", le.d.Tape}, words...)
	res, _, err := le.act(ctx, limit, args...)
	return res.stdout, err
}

// FormatRequest names the new volume. Erase formats over what is there; without it only a tape
// proved blank is formatted.
type FormatRequest struct {
	Barcode Barcode
	Erase   bool
	Unasked bool         // whatever barcode the cartridge's own memory holds
	Begin   func() error // called when nothing speaks against it, just before mkltfs is started; its error ends it. May be nil
}

var tapeSerial = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]{6}$`) })

// Format makes an LTFS volume and returns its UUID, as mkltfs printed it and a mount proved it. The tape
// must be loaded. Refuses cleaning, write-protected and too old cartridges, and another tape than named.
func (le *Lease) Format(ctx context.Context, r FormatRequest) (uuid string, err error) {
	op := "format tape " + string(r.Barcode)
	le.loading = time.Time{}
	if err := le.settle(ctx); err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	if err := le.mayFormat(ctx, op, r); err != nil {
		return "", err
	}
	if !r.Erase {
		c, err := le.Look(ctx)
		switch {
		case err != nil && c != ContentBlank:
			return "", fmt.Errorf("%s: %w", op, err)
		case c == ContentUnknown:
			return "", fail(op, ErrUnknown, "a tape is formatted only when it is proved blank")
		case c != ContentBlank:
			return "", fail(op, fmt.Errorf("%w: it holds %s", ErrNotBlank, c), "say --erase "+string(r.Barcode)+" to format over it")
		}
	}
	if err := le.l.unused(le.d); err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	device, err := le.l.ltfsDevice(ctx, le.d)
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	if r.Begin != nil {
		if err := r.Begin(); err != nil {
			return "", fmt.Errorf("%s: %w", op, err)
		}
	}
	args := []string{le.l.cfg.Programs.Mkltfs, "-d", device, "-s", r.Barcode.Serial(), "-n", string(r.Barcode)}
	if r.Erase {
		args = append(args, "-f")
	}
	res, pending, err := le.act(ctx, le.l.cfg.MountTimeout, args...)
	if pending != nil {
		return "", fail(op, err, "mkltfs goes on; look at the tape again when it has ended")
	}
	if err != nil {
		return "", le.ltfsFail(ctx, op, err, res.stdout+res.stderr, r.Barcode)
	}
	uuid = formattedUUID(res.stdout + res.stderr)
	if uuid == "" {
		return "", fail(op, fmt.Errorf("%w: mkltfs named no volume UUID", ErrUnknown), "look at the tape: tapefs tape info "+string(r.Barcode))
	}
	v, err := le.Mount(ctx, MountRequest{UUID: uuid, ReadOnly: true})
	if err != nil {
		return "", fmt.Errorf("%s: look at the new volume: %w", op, err)
	}
	if err := v.Unmount(ctx); err != nil {
		return "", fmt.Errorf("%s: look at the new volume: %w", op, err)
	}
	le.l.forgetOthers(r.Barcode, uuid)
	if le.l.none() {
		le.proved = r.Barcode
	}
	return uuid, nil
}

// mayFormat refuses what must not or cannot be formatted, whatever is on it.
func (le *Lease) mayFormat(ctx context.Context, op string, r FormatRequest) error {
	switch {
	case le.vol != nil:
		return fail(op, fmt.Errorf("%w: a volume is mounted", ErrBusy), "")
	case r.Barcode.Cleaning():
		return fail(op, fmt.Errorf("it is a cleaning cartridge: %w", ErrIncompatible), "")
	case r.Barcode.WriteOnce():
		return fail(op, fmt.Errorf("it is write-once media: %w", ErrIncompatible), "LTFS writes its index again and again: take a cartridge that can be overwritten")
	case !r.Barcode.formattable():
		return fail(op, fmt.Errorf("its barcode does not begin with 6 letters and digits, as LTFS wants: %w", ErrIncompatible), "put a standard label on it")
	}
	return le.mayOverwrite(ctx, op, r.Barcode, r.Unasked)
}
