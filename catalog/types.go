package catalog

import "time"

// ID is a version's number and, for the mount, its inode number. Never reused.
type ID int64

// Root is the directory that holds the sources.
const Root ID = 1

// ExtentSize is the unit of checksum and caching: sealed bytes of an object are
// summed in pieces of this size (the last one shorter). It never crosses a part.
const ExtentSize = 4 << 20

// Kind is what a path is. The numbers are stored.
type Kind int

const (
	File      Kind = 1
	Directory Kind = 2
	Symlink   Kind = 3
)

// VersionState says whether a version can be read. The numbers are stored.
type VersionState int

const (
	Planned   VersionState = 0 // has an id, not yet fetched: shown nowhere
	Present   VersionState = 1 // fetched: its bytes are in a batch, on tape, or both
	Void      VersionState = 2 // changed while it was read; taken again by a later run
	Forgotten VersionState = 3
)

// Owner is who owned a file at its source. Names are empty where the source gave none.
type Owner struct {
	UID, GID    uint32
	User, Group string // may hold any bytes
}

// Time is a modification time with its full range: seconds may be negative.
type Time struct {
	Sec  int64
	Nsec int32 // 0 to 999999999
}

// Version is one state of a path.
type Version struct {
	ID       ID
	Parent   ID
	Name     string // bytes, possibly not UTF-8
	Kind     Kind
	Mode     uint32 // permission bits, 07777
	Owner    Owner
	Size     int64
	MTime    Time
	Inode    ID // ID, or that of the first of its hard-linked names
	Nlink    uint32
	Data     ID // ID, or the version whose members hold the same bytes
	Target   string
	SHA256   []byte // 32 bytes, nil while unknown
	State    VersionState
	Current  bool
	Since    time.Time
	Until    time.Time // zero while nothing took its place
	Vanished time.Time // zero while the source has it
	Removed  bool      // with Vanished: this program removed it at the source, once it was safe. The archive may have the only copy
	Batch    int64     // 0: no spool batch holds it
	// What a source that is read in place told when the bytes were taken; zero: unknown.
	CTime time.Time // last change of the inode
	Ino   uint64
	Grew  bool // it grew while it was read: these are the bytes up to then

	InsteadOf ID // set by a View: the newer version of the path that cannot be read, in whose place this one is shown
}

// ListedAs is the id by which a listing in order of ids goes on after v.
func (v *Version) ListedAs() ID {
	if v.InsteadOf != 0 {
		return v.InsteadOf
	}
	return v.ID
}

// Source is a named place files come from.
type Source struct {
	ID     int64
	Name   string
	URL    string
	Root   ID
	Listed time.Time // zero: never listed whole
}

// BatchState orders a batch's life. The numbers are stored.
type BatchState int

const (
	Fetching BatchState = 0
	Synced   BatchState = 1
	Released BatchState = 2
)

// FetchSuffix is what the name of the folder ends in that holds what a batch needs beside its files.
const FetchSuffix = ".fetch"

// Batch is the set of files one rsync fetches into one spool directory.
type Batch struct {
	ID     int64
	Run    int64
	Source int64
	Dir    string // below the spool folder; absolute when Local
	Local  bool   // read in place, nothing is spooled
	State  BatchState
	Bytes  int64
}

// SealKey is what the catalog knows of a key: never the secret.
type SealKey struct {
	ID          int64
	Fingerprint string
	Cipher      string
	Iterations  int
	Added       time.Time
	CopySeen    time.Time // zero: no second copy of the key file was ever shown
}

// ObjectState orders an object's life. The numbers are stored.
type ObjectState int

const (
	ObjectPlanned    ObjectState = 0
	ObjectPacked     ObjectState = 1 // salt, sizes and sums are recorded and will not change
	ObjectSuperseded ObjectState = 2
	ObjectDropped    ObjectState = 3
)

// Object is one openssl message: a tar stream of one large file or a bundle.
type Object struct {
	ID          int64
	OID         string // 32 hex digits
	Run         int64
	Source      int64
	Batch       int64
	Key         int64
	Fingerprint string // of Key
	Cipher      string // of Key, as openssl calls it
	Iterations  int    // of Key
	Salt        []byte // 8 bytes; nil while planned, and for what was imported
	PartSize    int64
	PlannedSize int64
	PlainSize   int64
	SealedSize  int64
	State       ObjectState
	Created     time.Time
}

// Part is a whole number of extents of an object: sums of its sealed bytes.
type Part struct {
	Number int // from 0
	Size   int64
	SHA256 []byte // 32 bytes
	Sums   []byte // 32 bytes for each extent, in order
}

// Member places a version in an object's plain tar stream.
type Member struct {
	Version ID
	Header  int64 // offset of its first header block; -1 while planned
	Data    int64 // offset of its bytes; -1 when it has none of its own
}

// CopyState orders a copy's life. The numbers are stored.
type CopyState int

const (
	Owed        CopyState = 0
	Writing     CopyState = 1
	Written     CopyState = 2
	Durable     CopyState = 3
	CopyDamaged CopyState = 4
	CopyDropped CopyState = 5
)

// Copy is one object, whole, on the tapes of one pool.
type Copy struct {
	ID       int64
	Object   int64
	Pool     int64
	State    CopyState
	Verified time.Time
}

// PartState orders the life of one part of a copy. The numbers are stored.
type PartState int

const (
	PartWriting   PartState = 0
	PartWritten   PartState = 1 // closed without error; not safe yet
	PartDurable   PartState = 2 // an index that names it is on tape
	PartAbandoned PartState = 3 // cut off by the end of the tape; lies there for good
	PartDamaged   PartState = 4
	PartLost      PartState = 5 // was not on the tape when it was looked for
)

// CopyPart is one file on one tape.
type CopyPart struct {
	ID         int64
	Copy       int64
	Number     int
	Tape       int64
	Barcode    string
	Name       string // path on the tape
	Size       int64
	StartBlock int64 // -1 unknown
	State      PartState
	Manifest   int64 // 0: none names it yet
}

// Pool is a set of tapes.
type Pool struct {
	ID         int64
	Name       string
	Journalled int64
	Unsnapped  int64
}

// Tape states. Stored as they are.
const (
	TapeOpen       = "open" // takes more
	TapeFull       = "full"
	TapeSuspect    = "suspect"
	TapeSuperseded = "superseded"
	TapeRetired    = "retired"
	TapeForeign    = "foreign"
)

// Stages of a tape. Stored as they are.
const (
	StageFormatting = "formatting" // its format began and was not recorded as done
	StageRepacking  = "repacking"  // superseded: what is needed on it goes to other tapes
	StageRepacked   = "repacked"   // superseded, and nothing on it is needed: what its manifests name is named on other tapes
)

// Tape is a cartridge this catalog knows.
type Tape struct {
	ID              int64
	Barcode         string
	UUID            string // of the LTFS volume
	Pool            int64  // 0: none
	PoolName        string
	Number          int
	Generation      int // LTO generation, 0 unknown
	State           string
	Capacity        int64
	Free            int64
	Used            int64
	Leftover        int64
	IndexGeneration int64
	Formatted       time.Time
	Seen            time.Time
	Loads           int64
	Place           string
	Note            string // for people: nothing is decided by it

	Stage       string // what is under way with it, one of the stages below
	EmptiedUUID string // volume that was let go and may be on it still; "" once it has one again

	Suspected    time.Time // when it became suspect; zero: it is not, or that is over
	Was          string    // its state before
	FoundDamaged bool      // it is suspect because damage was found on it, not because writing failed
	Checked      time.Time // when its volume was last found consistent

	doubtedFrom time.Time // when it becomes suspect: what was read before counts no more; zero: now
}

// Manifest is one entry of a tape's journal.
type Manifest struct {
	ID       int64
	Tape     int64
	Seq      int
	Name     string // path on the tape
	MAC      []byte
	Previous []byte
	After    int64 // last Change that the pool's manifests before it name; what it names comes after
	Upto     int64 // last Change it names
	State    int   // one of the states below
	Written  time.Time
}

// States of manifests and snapshots. The numbers are stored.
const (
	ManifestWritten = 1 // a file on the tape; no index that names it is known to be there
	ManifestDurable = 2
	ManifestLost    = 3
)

// Change is a catalog change without bytes, journalled by the next manifests.
type Change struct {
	ID      int64
	At      time.Time
	Run     int64
	Kind    string // vanished, removed (see ChangeRemoved), revived, directory (made), metadata, moved, link, replaced, forget, lost, found, or a finding
	Version ID
	Detail  string // JSON
}

// Run is one execution of archive, verify, repack or restore.
type Run struct {
	ID      int64
	Kind    string
	Args    []string
	PID     int
	Started time.Time
	Ended   time.Time
	State   string // running, done, partial, failed, interrupted
	Message string
}
