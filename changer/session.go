package changer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// A volume that is mounted read-write is noted in the run directory before ltfs is started, in session.UUID. The note goes once
// ltfs has written its last index and said so. What remains is a session of ours that died: by kill -9, a power cut, or a drive that
// went away. Only such a volume is ever checked without being asked for, see Lease.recoverVolume.

// Session is a read-write mount that was not seen to end in order, or has not ended yet.
type Session struct {
	Barcode Barcode   `json:"barcode"`
	UUID    string    `json:"uuid"`
	Drive   string    `json:"drive"` // serial
	Since   time.Time `json:"since"`
	PID     int       `json:"pid"`     // of the process that mounted it
	Started string    `json:"started"` // start time of that process, as the kernel counts

	Ended   time.Time `json:"ended,omitzero"`    // when ltfs was seen to end without its last index
	Mounted time.Time `json:"mounted,omitzero"`  // when the volume mounted again all the same: nothing is wrong with it
	Check   time.Time `json:"checking,omitzero"` // when ltfsck was last started over it
	Tries   int       `json:"tries,omitempty"`   // how often that was
	Failed  time.Time `json:"failed,omitzero"`   // when ltfsck gave up on it; it is not tried again
	Failure string    `json:"failure,omitempty"`
}

// maxTries bounds how often a volume is checked by itself while no check came to an end, as when the machine dies each time.
const maxTries = 3

// uuidForm keeps UUIDs usable as names of files.
var uuidForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$`) })

const sessionPrefix = "session."

func (l *Library) sessionFile(uuid string) string {
	return filepath.Join(l.cfg.RunDir, sessionPrefix+uuid)
}

// session is the note of a volume, nil when there is none.
func (l *Library) session(uuid string) *Session {
	uuid = strings.ToLower(uuid)
	if !uuidForm().MatchString(uuid) {
		return nil
	}
	text, err := os.ReadFile(l.sessionFile(uuid))
	if err != nil {
		return nil
	}
	var s Session
	if err := json.Unmarshal(text, &s); err != nil || s.UUID != uuid {
		l.log.Warn("a note of a session cannot be read", "file", l.sessionFile(uuid), "err", err)
		return nil
	}
	return &s
}

// keep writes a note so that it outlives a power cut.
func (l *Library) keep(s Session) error {
	if !uuidForm().MatchString(s.UUID) {
		return fmt.Errorf("note the session of %s: %q is no UUID", s.Barcode, s.UUID)
	}
	text, err := json.Marshal(s)
	if err == nil {
		err = renameio.WriteFile(l.sessionFile(s.UUID), append(text, '\n'), 0o600)
	}
	if err == nil {
		err = syncDir(l.cfg.RunDir)
	}
	if err != nil {
		return fmt.Errorf("note the session of %s: %w", s.Barcode, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// forget takes the note of a volume away.
func (l *Library) forget(uuid string) {
	uuid = strings.ToLower(uuid)
	if !uuidForm().MatchString(uuid) {
		return
	}
	if err := os.Remove(l.sessionFile(uuid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("take the note of a session away", "volume", uuid, "err", err)
	}
}

// forgetOthers takes the notes of volumes away that were on a tape before: it holds the one of this UUID now, or none.
func (l *Library) forgetOthers(b Barcode, uuid string) {
	for _, s := range l.sessions() {
		if s.Barcode == b && s.UUID != strings.ToLower(uuid) {
			l.forget(s.UUID)
		}
	}
}

// sessions reads all notes, the oldest first.
func (l *Library) sessions() []Session {
	names, err := filepath.Glob(filepath.Join(l.cfg.RunDir, sessionPrefix+"*"))
	if err != nil {
		return nil
	}
	var out []Session
	for _, name := range names {
		if s := l.session(strings.TrimPrefix(filepath.Base(name), sessionPrefix)); s != nil {
			out = append(out, *s)
		}
	}
	slices.SortFunc(out, func(a, b Session) int { return a.Since.Compare(b.Since) })
	return out
}

// Died lists the sessions that died, of volumes that may have to be checked: not those whose process goes on, nor of
// volumes that mounted again since.
func (l *Library) Died() []Session {
	return slices.DeleteFunc(l.sessions(), func(s Session) bool {
		alive := s.Ended.IsZero() && l.startTime(s.PID) == s.Started
		return alive || s.Mounted.After(s.Since)
	})
}

// Checking reports whether ltfsck works on the volume now.
func (s Session) Checking() bool {
	return !s.Check.IsZero() && s.Failed.IsZero()
}

// String says what happened, for people: since when, in which drive, and what became of it.
func (s Session) String() string {
	at := func(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }
	text := fmt.Sprintf("its session of %s in drive %s ended without an unmount", at(s.Since), s.Drive)
	switch {
	case !s.Failed.IsZero():
		return fmt.Sprintf("%s, and ltfsck could not mend it on %s: %s", text, at(s.Failed), s.Failure)
	case !s.Check.IsZero():
		return fmt.Sprintf("%s; ltfsck was started on %s", text, at(s.Check))
	}
	return text
}

// begin notes that a volume is about to be mounted read-write. undo puts back what was noted before: for an ltfs that ended
// without having mounted anything.
func (le *Lease) begin(b Barcode, uuid string) (undo func()) {
	l := le.l
	s := Session{Barcode: b, UUID: strings.ToLower(uuid), Drive: le.d.Serial, Since: time.Now().UTC(), PID: os.Getpid()}
	s.Started = l.startTime(s.PID)
	before := l.session(s.UUID)
	if err := l.keep(s); err != nil { // only its check by itself is lost with that
		l.log.Warn("a session is not noted: should it die, its tape has to be checked by hand", "tape", b, "err", err)
	}
	return func() {
		if before == nil {
			l.forget(s.UUID)
			return
		}
		if err := l.keep(*before); err != nil {
			l.log.Warn("a note was not put back", "err", err)
		}
	}
}

// indexLost are what ltfs says of an index that it could not write.
var indexLost = []string{"11083E", "11084E", "11326E", "12045E"}

// unmounted is what ltfs says once all is on tape, at the end of its log.
const unmounted = "11034I"

// wroteIndex reports whether the log of an ltfs that ended says that all is on tape.
func wroteIndex(log string) bool {
	codes := ltfsCodes(log)
	return slices.Contains(codes, unmounted) && !slices.ContainsFunc(indexLost, func(code string) bool { return slices.Contains(codes, code) })
}

// end takes the note of a volume away whose ltfs ended well and said that it wrote its last index; else it notes that it did not.
func (v *Volume) end() {
	if v.ReadOnly {
		return
	}
	l := v.le.l
	if v.child.gone() && v.child.err == nil && wroteIndex(v.child.output()) {
		l.forget(v.UUID)
		return
	}
	s := l.session(v.UUID)
	if s == nil || !v.child.gone() {
		return
	}
	s.Ended = time.Now().UTC()
	if err := l.keep(*s); err != nil {
		l.log.Warn("note the end of a session", "err", err)
	}
}

// ltfsStarts is the first message of each ltfs process in the log of a drive.
const ltfsStarts = "LTFS14000I"

// endedLeftover takes the note of a session away whose process died, and whose ltfs went on and has now ended in order.
func (l *Library) endedLeftover(d DriveConfig) {
	shortenLog(l.ltfsLog(d))
	log, err := os.ReadFile(l.ltfsLog(d))
	if err != nil {
		return
	}
	last := string(log[max(0, bytes.LastIndex(log, []byte(ltfsStarts))):])
	if !wroteIndex(last) {
		return
	}
	for _, s := range l.Died() {
		if s.Drive == d.Serial && s.Check.IsZero() && s.Ended.IsZero() {
			l.forget(s.UUID)
		}
	}
}

// mountedAgain notes of a session that died that its volume mounts all the same.
func (l *Library) mountedAgain(uuid string) {
	s := l.session(uuid)
	if s == nil || !s.Mounted.IsZero() {
		return
	}
	s.Mounted, s.Check, s.Tries, s.Failed, s.Failure = time.Now().UTC(), time.Time{}, 0, time.Time{}, ""
	if err := l.keep(*s); err != nil {
		l.log.Warn("note that a volume mounts again", "err", err)
	}
}
