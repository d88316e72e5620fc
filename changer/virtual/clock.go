package virtual

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// The virtual clock of a drive, in seconds. It is accounted in the log, never slept. The numbers are
// round figures of full-height LTO-8 drives: about 15 s from load to ready, 300 MB/s native streaming,
// a locate over half of the tape about a minute.
const (
	LoadSeconds    = 15.0
	UnloadSeconds  = 15.0
	MountSeconds   = 20.0 // LTFS reads labels and indexes on both partitions
	UnmountSeconds = 10.0 // and writes the index on both
	formatSeconds  = 120.0
	indexSeconds   = 3.0 // file marks and the index itself
	stopSeconds    = 3.0 // stop, go back, start again
	StreamRate     = 300e6
)

// SeekSeconds is the time of a locate of these drives between two places given as fractions of the tape's capacity.
func SeekSeconds(from, to float64) float64 { return roundLTO8.Seconds(from, to) }

// Event is one line of the library's log: what a drive or the robot did.
type Event struct {
	Time    int64   `json:"time"`  // Unix ns
	Clock   float64 `json:"clock"` // virtual seconds this drive has been busy
	Drive   int     `json:"drive"` // -1 the robot
	Kind    string  `json:"kind"`  // load, unload, move, mount, unmount, sync, seek, read, write, format, erase, stop
	Barcode string  `json:"barcode,omitempty"`
	File    string  `json:"file,omitempty"`
	Offset  int64   `json:"offset,omitempty"` // in the file; of a seek: distance in bytes of tape, negative backwards
	Bytes   int64   `json:"bytes,omitempty"`
	Seconds float64 `json:"seconds,omitempty"` // of virtual time that it took
}

const (
	logFile   = "log.jsonl"
	clockSize = 24 // of a drive's clock file: overwritten in place, because truncating it costs a flush on ext4
)

// record appends events of one drive and moves its clock.
func (l *Library) record(events ...Event) error {
	lock := flock.New(filepath.Join(l.Dir, "log.lock"))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	defer lock.Close()
	f, err := os.OpenFile(filepath.Join(l.Dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	defer f.Close()
	var buf []byte
	for _, e := range events {
		if err := l.advance(&e); err != nil {
			return fmt.Errorf("write log: %w", err)
		}
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("write log: %w", err)
		}
		buf = append(append(buf, line...), '\n')
	}
	if _, err := f.Write(buf); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

// advance moves the clock of the event's drive and tells the event. The log is locked.
func (l *Library) advance(e *Event) error {
	f, err := os.OpenFile(filepath.Join(l.Dir, "drives", fmt.Sprintf("%d.clock", e.Drive)), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [clockSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return err
	}
	clock, _ := strconv.ParseFloat(strings.TrimSpace(string(b[:n])), 64) // a new or torn clock starts at 0
	e.Clock = math.Round((clock+e.Seconds)*1e6) / 1e6
	e.Seconds = math.Round(e.Seconds*1e6) / 1e6
	if e.Time == 0 {
		e.Time = time.Now().UnixNano()
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "%*.6f\n", clockSize-1, e.Clock), 0)
	return err
}

// Log reads the library's events from the beginning.
func (l *Library) Log() ([]Event, error) {
	f, err := os.Open(filepath.Join(l.Dir, logFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer f.Close()
	var events []Event
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return events, nil // a line that is being written has no end yet
		}
		if err != nil {
			return events, fmt.Errorf("read log: %w", err)
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return events, fmt.Errorf("read log: line %d: %w", len(events)+1, err)
		}
		events = append(events, e)
	}
}
