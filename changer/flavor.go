package changer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Two families of LTFS programs are in use. They have the same names, read and write the same tapes, and number their messages
// alike where both have one. What differs is in this file: Flavor names a family, and dialect holds what is particular to it.

// Flavor is a family of LTFS programs.
type Flavor string

const (
	FlavorAuto Flavor = "auto"     // ask: ltfs -V tells
	OpenLTFS   Flavor = "openltfs" // OpenLTFS, IBM's, and what was made of them
	HPE        Flavor = "hpe"      // HPE StoreOpen Software
)

// ParseFlavor reads the flavor of a configuration. An empty one is FlavorAuto, and open is an older name of OpenLTFS.
func ParseFlavor(s string) (Flavor, error) {
	switch f := Flavor(s); f {
	case "", FlavorAuto:
		return FlavorAuto, nil
	case "open", OpenLTFS:
		return OpenLTFS, nil
	case HPE:
		return HPE, nil
	}
	return "", fmt.Errorf("%q is not known: auto, openltfs or hpe", s)
}

// Title is the flavor's name for people.
func (f Flavor) Title() string {
	if d, ok := dialects[f]; ok {
		return d.title
	}
	return string(f)
}

// dialect is what one family of LTFS programs does in its own way.
type dialect struct {
	flavor Flavor
	title  string

	syncType   string         // given to ltfs as -o sync_type unless the configuration gives one; "" leaves it to ltfs
	syncRefuse *regexp.Regexp // values of sync_type under which user.ltfs.sync cannot be relied on; nil for none
	syncReason string         // why

	sgOnly bool // takes a device as /dev/sgN and in no other way: neither a tape node nor a symbolic link

	// indexLate is how long after user.ltfs.sync was set without error the new index may still be on its way.
	indexLate time.Duration

	// consistent reports whether ltfsck found the volume good, or made it so, by its exit code and messages.
	consistent func(code int, codes []string) bool

	causes []ltfsCauses // of failures, beside those that both families share

	// fullCodes are the messages of a write that met the end of the tape, for a family that reports it as EIO and EROFS.
	fullCodes []string
}

var dialects = map[Flavor]*dialect{
	OpenLTFS: {
		flavor: OpenLTFS, title: "OpenLTFS",
		// It exits with 1 for a consistent volume, every time, as recorded.
		consistent: func(code int, _ []string) bool { return code == 0 || code == 1 },
	},
	HPE: {
		flavor: HPE, title: "HPE StoreOpen",
		// With its default, time@5, setting user.ltfs.sync only wakes the timer's thread: it returns before the index is written, its
		// errors are reported to nobody, and setting it again and again while files are written locked ltfs up for good.
		syncType:   "unmount",
		syncRefuse: regexp.MustCompile(`^time(@0*[1-9][0-9]*)?$`), // time@0 is another name of unmount
		syncReason: "then ltfs says that it wrote an index before it has, and may hang for good",
		sgOnly:     true,
		indexLate:  10 * time.Second,
		// It exits with 0 for a good volume, for one that it repaired, and also when there is no tape.
		consistent: func(code int, codes []string) bool { return code == 0 && slices.Contains(codes, "16022I") },
		causes: []ltfsCauses{
			{ErrIncompatible, "HPE's LTFS does not take this drive; OpenLTFS may", []string{"20085E"}},
			{ErrIncompatible, "HPE's LTFS wants a newer firmware of the drive", []string{"20014E"}},
			{ErrIncompatible, "LTFS needs media that can be written again", []string{"14116E"}},
			{ErrNeedsCheck, needsCheckHint, []string{"14482E", "14484E", "14486E", "14488E"}},
			{errNotThreaded, "", []string{"14075E", "15044E", "16092E"}},
		},
		fullCodes: []string{"20048W"},
	},
}

// errNotThreaded: the drive holds no tape that can be read, and the program did not say whether it is empty, holds a cleaning
// cartridge or is not ready yet.
var errNotThreaded = errors.New("the drive has no tape ready")

// versionLimit is how long ltfs may take to tell its version.
const versionLimit = 30 * time.Second

// versionHPE is in what HPE's ltfs prints for -V: "HPE StoreOpen Software version 3.5.0 (build 12)", as recorded.
var versionHPE = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\bHPE?\b|StoreOpen`) })

// FlavorOf reads what ltfs -V printed.
func FlavorOf(version string) Flavor {
	if versionHPE().MatchString(version) {
		return HPE
	}
	return OpenLTFS
}

// Flavor is the configured flavor, or that of the installed programs. The error says that ltfs could not be asked; then OpenLTFS
// is taken for now.
func (l *Library) Flavor(ctx context.Context) (Flavor, error) {
	if l.cfg.Flavor != FlavorAuto {
		return l.cfg.Flavor, nil
	}
	l.flavorMu.Lock()
	defer l.flavorMu.Unlock()
	if l.flavor != "" {
		return l.flavor, nil
	}
	f, err := l.askFlavor(ctx)
	if err != nil {
		return OpenLTFS, err
	}
	l.log.Debug("which LTFS is installed", "flavor", f)
	l.flavor = f
	return f, nil
}

func (l *Library) askFlavor(ctx context.Context) (Flavor, error) {
	limited, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	res, err := l.query(limited, l.cfg.Programs.Ltfs, "-V")
	if text := res.stdout + res.stderr; strings.Contains(text, "LTFS") { // whatever its exit code
		return FlavorOf(text), nil
	}
	if err == nil {
		err = errors.New("ltfs -V told no version")
	}
	return "", fail("ask which LTFS is installed", err, notFound(err))
}

// dialect is what the installed LTFS programs do in their own way. A library that nobody can ask speaks as OpenLTFS.
func (l *Library) dialect(ctx context.Context) *dialect {
	f, err := l.Flavor(ctx)
	if err != nil {
		l.log.Debug("which LTFS is installed", "err", err)
	}
	return dialects[f]
}

// ltfsDevice is the name under which the LTFS programs are given a drive.
func (l *Library) ltfsDevice(ctx context.Context, d DriveConfig) (string, error) {
	di := l.dialect(ctx)
	if !di.sgOnly {
		return d.Device, nil
	}
	device := canonical(d.Device)
	if sgNodeName().MatchString(filepath.Base(device)) {
		return device, nil
	}
	hint := "set device: of drive " + d.Serial + " to its sg node, or leave it out"
	if generic := l.genericOf(ctx, d); generic != "" {
		hint = "set device: of drive " + d.Serial + " to " + generic + ", or leave it out"
	}
	return "", fail("use drive "+d.Serial, fmt.Errorf("%s is no sg node, and %s opens nothing but /dev/sgN", d.Device, di.title), hint)
}

// mountOptions are the -o options of ltfs, in order.
func (l *Library) mountOptions(ctx context.Context) ([]string, error) {
	di := l.dialect(ctx)
	given, err := di.givenSyncType(l.cfg.LTFSOptions)
	if err != nil {
		return nil, err
	}
	var options []string
	if di.syncType != "" && !given {
		options = append(options, "sync_type="+di.syncType)
	}
	return append(options, l.cfg.LTFSOptions...), nil
}

// CheckOptions refuses configured -o options of ltfs that cannot be used with a flavor.
func (f Flavor) CheckOptions(options []string) error {
	di, ok := dialects[f]
	if !ok {
		return nil
	}
	_, err := di.givenSyncType(options)
	return err
}

// givenSyncType reports whether options name a sync_type, and refuses one that cannot be relied on.
func (d *dialect) givenSyncType(options []string) (given bool, err error) {
	for _, list := range options {
		for o := range strings.SplitSeq(list, ",") {
			value, is := strings.CutPrefix(o, "sync_type=")
			if is && d.syncRefuse != nil && d.syncRefuse.MatchString(value) {
				return true, fail("use ltfs_options", fmt.Errorf("sync_type=%s must not be used with %s: %s", value, d.title, d.syncReason),
					"leave sync_type out of library.ltfs_options; sync_type="+d.syncType+" is given without it")
			}
			given = given || is
		}
	}
	return given, nil
}
