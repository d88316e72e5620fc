package changer

import (
	"context"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A drive may be switched off, or away for repair, while the others work. Its nodes are gone then, and may have other numbers when it
// comes back: so they are looked for anew whenever a drive is chosen. Only what needs the missing drive fails, and says so.

// silentFor is how long a drive that has nodes, and behind which nobody answered, is left alone.
const silentFor = 5 * time.Second

// drives are the configured drives, with the nodes that were found for them last.
func (l *Library) drives() []DriveConfig {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.found)
}

// Away are the configured drives that are not there, by serial number, and why each is believed not to be.
func (l *Library) Away() map[string]error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.away)
}

// Present lists the configured drives that are there, as Configured does all of them.
func (l *Library) Present() []DriveConfig {
	l.lookForDrives()
	away := l.Away()
	return slices.DeleteFunc(l.drives(), func(d DriveConfig) bool { return away[d.Serial] != nil })
}

// awayError is why a drive cannot be used because it is not there; nil when it is there, as far as we know.
func (l *Library) awayError(d DriveConfig) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.away[d.Serial]
}

// lookForDrives finds the nodes that the configured drives have now. It logs once when a drive goes away or comes back.
func (l *Library) lookForDrives() {
	var news []func() // what to log once all drives were looked for
	for i, d := range l.cfg.Drives {
		err := l.roots.discover(&d)
		named := err == nil
		if named {
			err = missingNode(d)
		}
		l.mu.Lock()
		if named {
			l.found[i] = d
		}
		was, silent := l.away[d.Serial], l.silent[d.Serial]
		switch {
		case err == nil && silent.IsZero():
			delete(l.away, d.Serial)
		case err == nil && time.Since(silent) > silentFor:
			delete(l.away, d.Serial) // the next lease asks the drive again
		case err != nil && was == nil:
			l.away[d.Serial] = awayFor(d, err)
		}
		l.mu.Unlock()
		switch {
		case err == nil && was != nil && silent.IsZero():
			news = append(news, func() { l.cameBack(d) })
		case err != nil && was == nil:
			news = append(news, func() { l.wentAway(d, err) })
		}
	}
	for _, tell := range news {
		tell()
	}
}

// awayFor is the error of a drive that is not there, and why. It is ErrNoDrive and ErrDriveAway, too.
func awayFor(d DriveConfig, why error) error {
	hint := "is the drive switched on? see: lsscsi -g; ls -l /dev/tape/by-id"
	var own *Error
	if errors.As(why, &own) && own.Hint != "" {
		hint = own.Hint
	}
	return fail(nameOf(d)+" is not there", noDriveError{why}, hint)
}

// noDriveError makes an error ErrNoDrive and ErrDriveAway without their words.
type noDriveError struct{ error }

func (e noDriveError) Unwrap() []error { return []error{e.error, ErrNoDrive, ErrDriveAway} }

// wentAway logs that a drive is not there. When none is there, whatever needs a drive fails and says so.
func (l *Library) wentAway(d DriveConfig, why error) {
	if len(l.Away()) < len(l.cfg.Drives) {
		l.log.Warn("a drive is not there, and the others go on without it: is it switched on?", "drive", d.Serial, "element", d.Element, "err", why)
	}
}

func (l *Library) cameBack(d DriveConfig) {
	l.log.Info("the drive is there again", "drive", d.Serial, "element", d.Element)
}

// missingNode is the error of a drive that has no tape or sg node.
func missingNode(d DriveConfig) error {
	for _, node := range []string{d.Tape, d.Device} {
		if _, err := os.Stat(node); err != nil {
			return err
		}
	}
	return nil
}

// noSuchDevice is how a program says that nobody answers behind a node: ENOENT, ENXIO, ENODEV.
var noSuchDevice = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`No such (file or directory|device)`) })

// answers asks a drive for its state, and notes when nobody is there: one that was switched off may keep its nodes. What else is
// wrong with it shows when it is used.
func (l *Library) answers(ctx context.Context, d DriveConfig) error {
	_, err := l.mtStatus(ctx, d)
	var failed *ProgramError
	gone := errors.As(err, &failed) && noSuchDevice().MatchString(strings.Join(failed.Stderr, "\n"))
	l.mu.Lock()
	was := l.silent[d.Serial]
	if gone {
		l.silent[d.Serial], l.away[d.Serial] = time.Now(), awayFor(d, err)
	} else {
		delete(l.silent, d.Serial)
	}
	now := l.away[d.Serial]
	l.mu.Unlock()
	switch {
	case gone && was.IsZero():
		l.wentAway(d, err)
	case !gone && !was.IsZero():
		l.cameBack(d)
	}
	if gone {
		return now
	}
	return nil
}
