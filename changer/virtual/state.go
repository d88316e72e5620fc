package virtual

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// state is library.json: where every cartridge is. It is read and replaced under the lock file.
type state struct {
	Version    int          `json:"version"`
	Program    []string     `json:"program"`
	Flavor     string       `json:"flavor,omitempty"` // of the LTFS programs; "" is OpenLTFS
	Generation int          `json:"generation"`
	TapeSize   int64        `json:"tape_size"`
	MailSlots  int          `json:"mail_slots"`
	Slots      []string     `json:"slots"` // folder below tapes/ or ""; slot 1 first, mail slots last
	Drives     []driveState `json:"drives"`
}

// driveState is one drive. Block and File are what the tape driver believes, -1 unknown.
type driveState struct {
	Serial  string    `json:"serial"`
	Tape    string    `json:"tape,omitempty"`
	From    int       `json:"from,omitempty"`     // slot that the tape came from, 0 unknown
	Ejected bool      `json:"ejected,omitempty"`  // unthreaded by mt offline; the robot can still take it
	ReadyAt time.Time `json:"ready_at,omitempty"` // until then the drive is becoming ready
	Loads   int64     `json:"loads"`              // tells one stay of a tape from the next
	File    int64     `json:"file"`
	Block   int64     `json:"block"`
	EOD     bool      `json:"eod,omitempty"`
	At      int64     `json:"at,omitempty"` // block address that READ POSITION gives
	Kind    DriveKind `json:"kind,omitzero"`
}

// empty is the drive without a tape.
func (d driveState) empty() driveState {
	return driveState{Serial: d.Serial, Kind: d.Kind, Loads: d.Loads, File: -1, Block: -1}
}

const stateFile = "library.json"

func loadState(dir string) (*state, error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	var st state
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, fmt.Errorf("read %s: %w", stateFile, err)
	}
	if st.Version != 1 {
		return nil, fmt.Errorf("read %s: unknown version %d", stateFile, st.Version)
	}
	if st.MailSlots < 0 || st.MailSlots > len(st.Slots) {
		return nil, fmt.Errorf("read %s: %d mail slots of %d", stateFile, st.MailSlots, len(st.Slots))
	}
	return &st, nil
}

func (st *state) save(dir string) error { return writeJSON(filepath.Join(dir, stateFile), st) }

// writeJSON replaces a file at once.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(b, '\n'), 0o644)
}

// view reads the state. No lock is needed: the file is replaced at once.
func (l *Library) view() (*state, error) { return loadState(l.Dir) }

// change runs f over the state while holding the library's lock, for a moment only.
func (l *Library) change(f func(*state) error) error {
	lock := flock.New(filepath.Join(l.Dir, "lock"))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer lock.Close()
	st, err := loadState(l.Dir)
	if err != nil {
		return err
	}
	if err := f(st); err != nil {
		return err
	}
	return st.save(l.Dir)
}

// lockRobot waits for the robot. The lock is held for one move.
func (l *Library) lockRobot() (*flock.Flock, error) {
	lock := flock.New(filepath.Join(l.Dir, "robot.lock"))
	return lock, lock.Lock()
}

var errBusy = errors.New("device or resource busy")

// holdDrive opens a drive exclusively, as LTFS opens its sg node; errBusy when another program has it.
// The file tells who holds it.
func (l *Library) holdDrive(n int) (*flock.Flock, error) {
	path := l.holderFile(n)
	lock := flock.New(path)
	ok, err := lock.TryLock()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errBusy
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

func (l *Library) holderFile(n int) string {
	return filepath.Join(l.Dir, "drives", fmt.Sprintf("%d.lock", n))
}

// driveHolder is the process that has the drive open exclusively, 0 for none.
func (l *Library) driveHolder(n int) int {
	lock := flock.New(l.holderFile(n))
	ok, err := lock.TryLock()
	if err != nil {
		return 0
	}
	defer lock.Close()
	if ok {
		return 0
	}
	b, err := os.ReadFile(l.holderFile(n))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}
