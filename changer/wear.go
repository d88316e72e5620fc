package changer

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"strconv"
	"time"
)

// Wear is what a drive says of itself and of the cartridge in it: its TapeAlert flags and what both count over their lives. Numbers are
// -1 where the drive does not say.
type Wear struct {
	At      time.Time
	Drive   string  // serial
	Barcode Barcode // "" unknown
	UUID    string  // of the volume that was mounted, "" none
	Alerts  []TapeAlert

	Tape struct {
		Loads                     int64
		MBWritten, MBRead         int64 // 10^6 bytes
		WriteRetries, ReadRetries int64 // errors that were corrected by trying again
		WriteErrors, ReadErrors   int64 // those that were not
	}
	Own struct { // of the drive
		Loads, Cleanings          int64
		PoweredHours, MovingHours int64
		MetresMoved               int64
	}
}

// OnWear has f told what drives and cartridges say of themselves, after each session. f is called in the middle of a job, and must
// not fail it.
func (l *Library) OnWear(f func(Wear)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onWear = f
}

// wearTimeout bounds the programs that ask a drive: it is idle then, and answers in a moment.
const wearTimeout = 30 * time.Second

// readWear asks the leased drive, which nobody uses now, for its log pages. Whatever goes wrong is no more than a line in the log:
// no job depends on it. Reading the TapeAlert page lowers its flags, so it is read once, by who is told.
func (le *Lease) readWear(ctx context.Context, uuid string) {
	l := le.l
	l.mu.Lock()
	f, missing := l.onWear, l.noSgLogs
	l.mu.Unlock()
	if f == nil || missing || ctx.Err() != nil || le.pending != nil || le.vol != nil {
		return
	}
	if err := l.unused(le.d); err != nil {
		l.log.Debug("leave the drive's log pages alone", "drive", le.d.Serial, "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, wearTimeout)
	defer cancel()
	w := Wear{At: time.Now().UTC().Truncate(time.Second), Drive: le.d.Serial, Barcode: le.tape, UUID: uuid}
	alerts, err := le.logPage(ctx, pageTapeAlert)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		l.mu.Lock()
		l.noSgLogs = true
		l.mu.Unlock()
	}
	if err != nil {
		l.log.Debug("read the drive's log pages", "drive", le.d.Serial, "err", err)
		return
	}
	w.Alerts = alertsIn(alerts)
	tape := le.otherPage(ctx, pageVolumeStatistics)
	if tape.number(0) == 0 { // "page valid"
		tape = nil
	}
	w.Tape.Loads, w.Tape.MBWritten, w.Tape.MBRead = tape.number(0x01), tape.number(0x10), tape.number(0x11)
	w.Tape.WriteRetries, w.Tape.WriteErrors = tape.number(0x03), tape.number(0x04)
	w.Tape.ReadRetries, w.Tape.ReadErrors = tape.number(0x08), tape.number(0x09)
	own := le.otherPage(ctx, pageDeviceStatistics)
	w.Own.Loads, w.Own.Cleanings, w.Own.PoweredHours = own.number(0x00), own.number(0x01), own.number(0x02)
	w.Own.MovingHours, w.Own.MetresMoved = own.number(0x03), own.number(0x04)
	for _, a := range w.Alerts {
		if a.About() != AboutNeither {
			l.log.Warn("the drive raises a flag", "drive", le.d.Serial, "tape", le.tape, "flag", a.String(), "todo", a.Todo())
		}
	}
	f(w)
}

// otherPage is a page that not every drive has; an empty one then.
func (le *Lease) otherPage(ctx context.Context, page byte) logPage {
	p, err := le.logPage(ctx, page)
	if err != nil {
		le.l.log.Debug("read a log page of the drive", "drive", le.d.Serial, "err", err)
	}
	return p
}

func (le *Lease) logPage(ctx context.Context, page byte) (logPage, error) {
	res, err := le.l.query(ctx, le.l.cfg.Programs.SgLogs, "--raw", "--page=0x"+strconv.FormatUint(uint64(page), 16), le.d.Device)
	if err != nil {
		return nil, err
	}
	return parseLogPage(page, res.stdout)
}
