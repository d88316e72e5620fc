package virtual

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	humanize "github.com/dustin/go-humanize"
	"github.com/gofrs/flock"
)

// faults are the faults in force: kind to arguments.
type faults map[string][]string

func (f faults) has(kind string) bool { return len(f[kind]) > 0 }

func (f faults) duration(kind string, otherwise time.Duration) time.Duration {
	if len(f[kind]) == 0 {
		return otherwise
	}
	d, err := time.ParseDuration(f[kind][len(f[kind])-1])
	if err != nil {
		return otherwise
	}
	return d
}

// size of enospc-after, -1 without.
func (f faults) size(kind string) int64 {
	if len(f[kind]) == 0 {
		return -1
	}
	n, err := humanize.ParseBytes(f[kind][len(f[kind])-1])
	if err != nil {
		return -1
	}
	return int64(n)
}

// hits tells whether one of the places BARCODE:OFFSET lies in [from, to) of the tape.
func (f faults) hits(kind, barcode string, from, to int64) bool {
	for _, a := range f[kind] {
		b, o, _ := strings.Cut(a, ":")
		off, err := parseSize(o)
		if err == nil && b == barcode && from <= off && off < to {
			return true
		}
	}
	return false
}

// slow is how long a fault of the form BARCODE:DURATION lasts for a tape.
func (f faults) slow(kind, barcode string) (d time.Duration) {
	for _, a := range f[kind] {
		if b, text, _ := strings.Cut(a, ":"); b == barcode {
			d, _ = time.ParseDuration(text) // checked when it was set
		}
	}
	return d
}

func (f faults) names(kind, arg string) bool {
	for _, a := range f[kind] {
		if a == arg {
			return true
		}
	}
	return false
}

// tag is the barcode that the changer reads on the tape from a slot.
func (f faults) tag(slot int, barcode string) string {
	for _, a := range f["wrong-barcode"] {
		s, tag, _ := strings.Cut(a, ":")
		if s == strconv.Itoa(slot) {
			return tag
		}
	}
	return barcode
}

func parseSize(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<62 {
		return 0, fmt.Errorf("%q is not a size such as 64MiB", s)
	}
	return int64(n), nil
}

func checkFault(kind, arg string) error {
	k, ok := kindOf(kind)
	if !ok {
		return fmt.Errorf("unknown fault %q; tapefs virtual fault --help lists them", kind)
	}
	var err error
	switch k.form {
	case "":
		if arg != "" {
			err = errors.New("takes no argument")
		}
	case "DURATION":
		_, err = time.ParseDuration(arg)
	case "SIZE":
		_, err = parseSize(arg)
	case "BARCODE:OFFSET":
		b, o, ok := strings.Cut(arg, ":")
		if _, err = parseSize(o); err == nil && (!ok || b == "") {
			err = errors.New("wants BARCODE:OFFSET")
		}
	case "BARCODE:DURATION":
		b, d, ok := strings.Cut(arg, ":")
		if _, err = time.ParseDuration(d); err == nil && (!ok || b == "") {
			err = errors.New("wants BARCODE:DURATION")
		}
	case "BARCODE:TEXT":
		if b, text, _ := strings.Cut(arg, ":"); b == "" || text == "" {
			err = errors.New("wants BARCODE:TEXT")
		}
	case "BARCODE:FLAG", "DRIVE:FLAG":
		_, flag, _ := strings.Cut(arg, ":")
		if n, bad := strconv.Atoi(flag); bad != nil || n < 1 || n > 64 {
			err = errors.New("wants the number of a TapeAlert flag, 1 to 64, after the colon")
		}
	case "BARCODE:COUNT":
		b, n, _ := strings.Cut(arg, ":")
		if _, err = strconv.ParseUint(n, 10, 40); err == nil && b == "" {
			err = errors.New("wants BARCODE:COUNT")
		}
	case "SLOT:TAG":
		s, _, ok := strings.Cut(arg, ":")
		if _, err = strconv.Atoi(s); err == nil && !ok {
			err = errors.New("wants SLOT:TAG")
		}
	case "DRIVE":
		_, err = strconv.Atoi(arg)
	case "DRIVE:DRIVE":
		if _, _, ok := drivePair(arg); !ok {
			err = errors.New("wants the numbers of two drives: DRIVE:DRIVE")
		}
	case "BARCODE":
		if arg == "" {
			err = errors.New("wants a barcode")
		}
	}
	if err != nil {
		return fmt.Errorf("fault %s=%s: %w", kind, arg, err)
	}
	return nil
}

const faultsFile = "faults.json"

// loadFaults gives no faults when the file is missing.
func (l *Library) loadFaults() (faults, error) {
	b, err := os.ReadFile(filepath.Join(l.Dir, faultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return faults{}, nil
	}
	if err != nil {
		return nil, err
	}
	f := faults{}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("read %s: %w", faultsFile, err)
	}
	return f, nil
}

// Fault sets faults ("slow-load=20s"), ends them all ("clear") or one kind ("clear=slow-load"), or kills
// the library's ltfs processes ("kill-ltfs"). Running programs see the change at their next step.
func (l *Library) Fault(kinds ...string) error {
	lock := flock.New(filepath.Join(l.Dir, "lock"))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("set fault: %w", err)
	}
	defer lock.Close()
	f, err := l.loadFaults()
	if err != nil {
		return fmt.Errorf("set fault: %w", err)
	}
	kill, before := false, maps.Clone(f)
	for _, k := range kinds {
		kind, arg, hasArg := strings.Cut(k, "=")
		switch {
		case kind == "clear" && arg == "":
			f = faults{}
		case kind == "clear":
			delete(f, arg)
		case kind == "kill-ltfs":
			kill = true
		default:
			if err := checkFault(kind, arg); err != nil {
				return err
			}
			k, _ := kindOf(kind) // checked
			if hasArg && (k.form == "DURATION" || k.form == "SIZE") || k.form == "" {
				f[kind] = nil
			}
			f[kind] = append(f[kind], arg)
		}
	}
	if err := writeJSON(filepath.Join(l.Dir, faultsFile), f); err != nil {
		return fmt.Errorf("set fault: %w", err)
	}
	if err := l.linkSerials(f); err != nil {
		return fmt.Errorf("set fault: %w", err)
	}
	if err := l.switchDrives(before, f); err != nil {
		return fmt.Errorf("set fault: %w", err)
	}
	if kill {
		return l.killLtfs()
	}
	return nil
}

// endFault ends one fault of a kind that may be there several times.
func (l *Library) endFault(kind, arg string) error {
	lock := flock.New(filepath.Join(l.Dir, "lock"))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer lock.Close()
	f, err := l.loadFaults()
	if err != nil {
		return err
	}
	f[kind] = slices.DeleteFunc(f[kind], func(a string) bool { return a == arg })
	return writeJSON(filepath.Join(l.Dir, faultsFile), f)
}

// killLtfs sends SIGKILL to every process that holds a drive of this library.
func (l *Library) killLtfs() error {
	for i := range l.Drives {
		if pid := l.driveHolder(i); pid != 0 && pid != os.Getpid() {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill ltfs of drive %d: %w", i, err)
			}
		}
	}
	return nil
}

// watched reads a file that others replace; it is parsed again only when it is another file.
// A missing file gives the zero value.
type watched[T any] struct {
	path string
	load func() (T, error)

	mu   sync.Mutex
	seen syscall.Stat_t
	v    T
	ok   bool
}

func (w *watched[T]) get() (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var st syscall.Stat_t
	if err := syscall.Stat(w.path, &st); err != nil {
		st = syscall.Stat_t{}
	}
	if w.ok && st.Ino == w.seen.Ino && st.Mtim == w.seen.Mtim && st.Size == w.seen.Size {
		return w.v, nil
	}
	v, err := w.load()
	if err != nil {
		return w.v, err
	}
	w.v, w.seen, w.ok = v, st, true
	return v, nil
}
