package job

import (
	"errors"
	"log/slog"
	"path"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

var (
	// ErrPartial: done, but some files or sources failed. They are in the run's errors.
	ErrPartial = errors.New("some files were not archived")
	// ErrNeedsOperator: no tape to write to; wrapped with what is needed.
	ErrNeedsOperator = errors.New("an operator is needed")
	// ErrLocked: another run holds the source.
	ErrLocked = errors.New("another run holds the lock")
)

// Source is one entry of the configuration's sources.
type Source struct {
	Name      string
	URL       string   // user@host:/path, rsync://host/module/path, or a local path
	Copies    []string // pool names
	SSH       []string // further arguments of ssh: -p 2222 -i FILE …
	RsyncPath string   // program on the far side
	Exclude   []string // rsync patterns
	Include   []string

	// Inbox: files are removed there at the end of a run that archived them, once they were read back from all pools.
	Inbox bool

	OneFileSystem bool // what is mounted below the source is left out

	BundleBelow int64 // files smaller than this are bundled; 0: 64 MiB
	BundleSize  int64 // 0: 4 GiB

	DedupMin int64 // files of at least this size are written once for all paths with their content; 0: 64 MiB

	Bandwidth int64 // bytes a second that fetching takes, all streams together; 0: no limit
	Streams   int   // rsyncs that fetch one batch; 0: 1
	// StallTimeout is how long nothing may come from the source before it is given up for a run; 0: DefaultStall.
	StallTimeout time.Duration
	MinAge       time.Duration // files modified more recently are left for a later run; 0: none are

	Keep Keep
}

// Keep says what of a source is forgotten at the end of a run that listed it whole. The zero value forgets nothing.
type Keep struct {
	Versions int           // of each path, those older than so many that can be read; 0: none
	Vanished time.Duration // paths that the source has had no more for so long; 0: none
}

// Pool is one entry of the configuration's pools.
type Pool struct {
	Name        string
	Include     []string // barcode patterns, path.Match
	Exclude     []string
	FormatBlank bool
	// VerifyAfterWrite is the share of what a run wrote that is read back after it; 0 nothing, 1 all.
	VerifyAfterWrite float64
	KeepFree         int64 // bytes; 0: max(2 %, min(5 GiB, 5 % of the tape))

	// No tape is mounted while less than MinBatch bytes are owed and none of them longer than MaxAge.
	MinBatch int64         // 0: every byte is worth a mount
	MaxAge   time.Duration // 0: seven days
}

// Config wires an Archiver.
type Config struct {
	DB         *catalog.DB
	Keys       *crypto.Keyring
	Library    *changer.Library
	SpoolDir   string
	SpoolMax   int64 // bytes; 0: leave 10 % of the spool's file system
	RunDir     string
	ReceiptDir string   // files that say what was removed at sources; "": none are written
	Own        []string // folders with files of the archive itself, which no source is to hold
	Sources    []Source
	Pools      []Pool
	Rsync, SSH string        // programs; "" the usual names
	SyncBytes  int64         // 0: 32 GiB
	SyncEvery  time.Duration // 0: 10 min
	// A second copy that is written at the same time may be so far behind the first, then it is detached and
	// written from the spool.
	BehindBytes int64         // 0: 1 GiB, or an eighth of the memory
	BehindTime  time.Duration // 0: 60 s
	// WriterSlice is how long a run that waited for its drive keeps it, once its tape is mounted, from others who wait; 0: two minutes.
	WriterSlice time.Duration
	// Waits is told of each wait for another run that lasts, see changer.Config.Waits. May be nil.
	Waits    func(changer.Waiting)
	Log      *slog.Logger
	Progress Progress // may be nil
	Version  string   // of tapefs, for README.txt and manifests
	// RequireKeyCopy refuses to write to any tape until a second copy of the key was seen.
	RequireKeyCopy bool
}

// Progress is told what happens, for bars and log lines. Calls come from several goroutines.
type Progress interface {
	Stage(stage string, done, total int64) // list, fetch, write: bytes or files so far; total 0 unknown
	Note(text string)                      // "loading VT0001L8 into drive 0"
}

// Options of one run.
type Options struct {
	DryRun bool
	Limit  int64     // bytes to fetch at most; 0 no limit
	Until  time.Time // start nothing new after; zero: no end
	Heal   bool      // make damaged copies again, too
	Now    bool      // write what is owed, however little: pools' MinBatch does not count
	Names  bool      // write a manifest also for changes alone that none names yet
	// Checksum compares the content of all files, not only of those whose size and time leave it open.
	Checksum bool
	// AcceptDeletions marks as vanished whatever a whole listing lacks. Without it, one that lacks
	// more than a tenth of a source's files marks nothing.
	AcceptDeletions bool

	Lanes int // sources that share the memory for sorting; 0: one
}

// Summary is what a run did.
type Summary struct {
	Run     int64
	Counts  map[string]map[string]int64
	Tapes   []string
	Skipped int // sockets, fifos, devices
	Held    []Held
	Pending []Pending

	Forecast []Forecast // of a dry run
}

// Held is what a pool is owed and a run left in the spool: not yet worth the mount of a tape.
type Held struct {
	Pool     string    `json:"pool"`
	Copies   int       `json:"copies"`
	Bytes    int64     `json:"bytes"` // of sealed objects, about
	MinBatch int64     `json:"-"`     // the pool's
	Until    time.Time `json:"until"` // when it is written however little it is
}

// Forecast is what a dry run expects a pool to get, with what it is owed already, and on which tapes.
type Forecast struct {
	Pool  string   `json:"pool"`
	Bytes int64    `json:"bytes"`           // about
	Tapes []string `json:"tapes"`           // in the order in which they would be filled
	Short int64    `json:"short,omitempty"` // bytes for which the library has no tape
}

// Pending is what no manifest on a pool's tapes names yet: changes of the catalog without any bytes, as names that vanished, were
// forgotten or have bytes from other names. No tape is loaded for them alone, unless Options.Names asks for it.
type Pending struct {
	Pool  string
	Kinds map[string]int64 // how many of each kind of change
}

// ErrDamaged: a verify found bytes that are not what was written.
var ErrDamaged = errors.New("damage was found")

// Takes reports whether a tape may belong to the pool, by its barcode.
func (p Pool) Takes(b changer.Barcode) bool {
	any := func(patterns []string) bool {
		for _, pattern := range patterns {
			for _, spelling := range b.Spellings() {
				if ok, err := path.Match(pattern, string(spelling)); err == nil && ok {
					return true
				}
			}
		}
		return false
	}
	return !b.Cleaning() && any(p.Include) && !any(p.Exclude)
}
