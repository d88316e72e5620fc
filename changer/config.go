package changer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// DriveConfig names one drive.
type DriveConfig struct {
	Serial  string
	Device  string // sg node for ltfs, mkltfs, ltfsck; "" finds it by serial in /dev/tape/by-id and /sys
	Tape    string // nst node for mt; "" likewise
	Element int    // data transfer element of the changer

	Proved Proof // what the configuration says of when it was proved; see Library.Proof
}

// Config is the library section of the configuration.
type Config struct {
	Changer           string // device; "none" for a single drive without changer
	Drives            []DriveConfig
	RunDir            string // locks, mount points, logs of ltfs
	Programs          Programs
	Flavor            Flavor   // of the LTFS programs; "" is FlavorAuto
	LTFSOptions       []string // further -o options of ltfs
	EjectBeforeUnload bool
	MoveTimeout       time.Duration // 0: 10 min; at the limit we stop waiting, never kill
	ReadyTimeout      time.Duration // from load to ready; 0: as the kind of medium needs, see Lease.readyTimeout
	MountTimeout      time.Duration // 0: 60 min (recovery of an index may take long)
	UnmountTimeout    time.Duration // 0: 60 min
	CheckTimeout      time.Duration // 0: 3 h; how long ltfsck is waited for
	CheckByHand       bool          // a volume on which a session died is left to Lease.Check, see Lease.Mount

	// Waits is told of each wait for a drive or the robot that lasts, and again now and then while it does. It may be called
	// from any goroutine, and may be nil.
	Waits func(Waiting)
}

// Programs are paths, or names that FindProgram finds; empty ones get their usual name.
type Programs struct{ Mtx, Mt, Mkltfs, Ltfs, Ltfsck, Lsscsi, SgReadAttr, SgLogs string }

// None as Config.Changer is a single drive without changer.
const None = "none"

// queryTimeout bounds programs that only look: mtx status may stand behind a move of another host.
const queryTimeout = 5 * time.Minute

func (c Config) withDefaults() Config {
	duration := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	duration(&c.MoveTimeout, 10*time.Minute)
	duration(&c.MountTimeout, time.Hour)
	duration(&c.UnmountTimeout, time.Hour)
	duration(&c.CheckTimeout, 3*time.Hour)
	name := func(p *string, otherwise string) {
		if *p == "" {
			*p = otherwise
		}
	}
	if c.Flavor == "" {
		c.Flavor = FlavorAuto
	}
	name(&c.Programs.Mtx, "mtx")
	name(&c.Programs.Mt, "mt")
	name(&c.Programs.Mkltfs, "mkltfs")
	name(&c.Programs.Ltfs, "ltfs")
	name(&c.Programs.Ltfsck, "ltfsck")
	name(&c.Programs.Lsscsi, "lsscsi")
	name(&c.Programs.SgReadAttr, "sg_read_attr")
	name(&c.Programs.SgLogs, "sg_logs")
	return c
}

// Library is one changer with its drives. Safe for concurrent use.
type Library struct {
	cfg   Config
	log   *slog.Logger
	roots roots
	id    string // of this Library among all that use the drives, in all processes

	readySoon time.Duration // what a drive may take to become ready without a word about it

	flavorMu sync.Mutex // protects flavor, also while ltfs is asked
	flavor   Flavor     // of the installed programs, "" until ltfs was asked

	mu         sync.Mutex                               // protects what follows
	generation map[string]int                           // LTO generation of a drive by serial, as inquiry said
	names      func(context.Context) ([]Barcode, error) // lists the known tapes; nil: there are none
	knows      []Barcode                                // what it said
	asked      time.Time                                // when
	readAs     map[Barcode]Barcode                      // of the last inventory
	onCheck    func(context.Context, Checked) error     // see OnCheck; nil: nobody listens
	onWear     func(Wear)                               // see OnWear; nil: nobody listens
	onLoaded   func(time.Duration)                      // see OnLoaded; nil: nobody listens
	noSgLogs   bool                                     // sg_logs is not installed
	atWork     []*program                               // see AtWork
	found      []DriveConfig                            // the configured drives with the nodes that they had last
	away       map[string]error                         // by serial: drives that are not there, see lookForDrives
	silent     map[string]time.Time                     // by serial: those that have nodes, and since when they do not answer

	alone Barcode // without a changer: what a mount proved to be in the drive when we looked last
}

// serialForm keeps serials usable as names of files.
var serialForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`) })

// Open checks the configuration; it moves nothing.
func Open(cfg Config, log *slog.Logger) (*Library, error) {
	return open(cfg, log, roots{dev: "/dev", sys: "/sys", proc: "/proc"})
}

func open(cfg Config, log *slog.Logger, r roots) (*Library, error) {
	const op = "open library"
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg = cfg.withDefaults()
	cfg.Drives = append([]DriveConfig(nil), cfg.Drives...)
	switch {
	case cfg.Changer == "":
		return nil, fail(op, errors.New("no changer given"), "set library.changer to the changer's device (see: lsscsi -g), or to none for a single drive")
	case len(cfg.Drives) == 0:
		return nil, fail(op, errors.New("no drives given"), "list the drives by serial under library.drives")
	case cfg.Changer == None && len(cfg.Drives) != 1:
		return nil, fail(op, fmt.Errorf("%d drives without a changer", len(cfg.Drives)), "with changer: none there is exactly one drive")
	case cfg.Flavor != FlavorAuto && dialects[cfg.Flavor] == nil:
		return nil, fail(op, fmt.Errorf("flavor %q is not known", cfg.Flavor), "library.flavor is auto, openltfs or hpe")
	case !filepath.IsAbs(cfg.RunDir):
		return nil, fail(op, fmt.Errorf("run directory %q is not an absolute path", cfg.RunDir), "")
	}
	serials, elements := map[string]bool{}, map[int]bool{}
	for i := range cfg.Drives {
		d := cfg.Drives[i]
		switch {
		case !serialForm().MatchString(d.Serial):
			return nil, fail(op, fmt.Errorf("drive serial %q: letters, digits, dot, dash and underscore", d.Serial), "see: ls -l /dev/tape/by-id")
		case serials[d.Serial]:
			return nil, fail(op, fmt.Errorf("drive %s is listed twice", d.Serial), "")
		case elements[d.Element]:
			return nil, fail(op, fmt.Errorf("two drives have element %d", d.Element), "mtx status numbers the drives: give each its data transfer element")
		}
		serials[d.Serial], elements[d.Element] = true, true
	}
	if err := os.MkdirAll(filepath.Join(cfg.RunDir, "ltfs"), 0o700); err != nil {
		return nil, fail(op, err, "")
	}
	// mountinfo has resolved paths, and ours are compared with it
	dir, err := filepath.EvalSymlinks(cfg.RunDir)
	if err != nil {
		return nil, fail(op, err, "")
	}
	cfg.RunDir = dir
	l := &Library{cfg: cfg, log: log, roots: r, id: fmt.Sprintf("%x-%x", os.Getpid(), rand.Uint64()), readySoon: readySoon, generation: map[string]int{},
		found: slices.Clone(cfg.Drives), away: map[string]error{}, silent: map[string]time.Time{}}
	l.lookForDrives()
	if missing := l.Away(); len(missing) == len(cfg.Drives) && !slices.ContainsFunc(l.drives(), func(d DriveConfig) bool { return d.Tape != "" && d.Device != "" }) {
		return nil, fmt.Errorf("%s: %w", op, missing[cfg.Drives[0].Serial]) // it has a hint of its own
	}
	return l, nil
}

func (l *Library) none() bool { return l.cfg.Changer == None }

// drive gives the configured drive of a serial.
func (l *Library) drive(serial string) (DriveConfig, bool) {
	for _, d := range l.drives() {
		if d.Serial == serial {
			return d, true
		}
	}
	return DriveConfig{}, false
}

func (l *Library) mountPoint(d DriveConfig) string {
	return filepath.Join(l.cfg.RunDir, "ltfs", d.Serial)
}
