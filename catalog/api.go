package catalog

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound: no such row. Wrapped with what was looked for.
var ErrNotFound = errors.New("not in the catalog")

// ErrNewer: the file was written by a newer tapefs.
var ErrNewer = errors.New("catalog has a newer schema")

type DB struct{}

func Create(ctx context.Context, path string) (*DB, error)       { panic("unwritten") }
func Open(ctx context.Context, path string) (*DB, error)         { panic("unwritten") }
func OpenReadOnly(ctx context.Context, path string) (*DB, error) { panic("unwritten") }
func (db *DB) Close() error                                      { panic("unwritten") }
func (db *DB) UUID() string                                      { panic("unwritten") }

// DataVersion changes whenever another connection or process committed (PRAGMA data_version).
func (db *DB) DataVersion(ctx context.Context) (int64, error) { panic("unwritten") }

// Snapshot writes a consistent copy (VACUUM INTO) to a path that must not exist.
func (db *DB) Snapshot(ctx context.Context, path string) error { panic("unwritten") }

// ---- sources and the tree

func (db *DB) EnsureSource(ctx context.Context, name, url string) (Source, error) { panic("unwritten") }
func (db *DB) Sources(ctx context.Context) ([]Source, error)                      { panic("unwritten") }
func (db *DB) SetListed(ctx context.Context, source int64, at time.Time) error    { panic("unwritten") }

func (db *DB) Get(ctx context.Context, id ID) (Version, error) { panic("unwritten") }
func (db *DB) Lookup(ctx context.Context, parent ID, name string) (Version, error) {
	panic("unwritten")
}

// Children calls fn for the current versions in a directory with id > after, in order of id,
// at most limit (0: all). The Version is reused between calls. One short query, no open transaction.
func (db *DB) Children(ctx context.Context, parent, after ID, limit int, fn func(*Version) error) error {
	panic("unwritten")
}

// ChildrenByName is Children in byte order of names greater than after ("" starts).
func (db *DB) ChildrenByName(ctx context.Context, parent ID, after string, limit int, fn func(*Version) error) error {
	panic("unwritten")
}

// Resolve finds the current version at "/source/dir/name"; "/" is Root.
func (db *DB) Resolve(ctx context.Context, path string) (Version, error) { panic("unwritten") }

// Path is Resolve's inverse.
func (db *DB) Path(ctx context.Context, id ID) (string, error) { panic("unwritten") }

// Walk calls fn for everything below id (not id itself), depth first, by name; path is relative to id.
func (db *DB) Walk(ctx context.Context, id ID, fn func(path string, v *Version) error) error {
	panic("unwritten")
}

// Versions lists every version of a path, oldest first, planned ones left out.
func (db *DB) Versions(ctx context.Context, parent ID, name string) ([]Version, error) {
	panic("unwritten")
}

// Totals counts current files and their bytes.
func (db *DB) Totals(ctx context.Context) (files, bytes int64, err error) { panic("unwritten") }

// Meta is what a listing or a fetched file says of a path.
type Meta struct {
	Mode  uint32
	Owner Owner
	MTime Time
}

// EnsureDir returns the id of a directory, made or brought up to date. A file or symlink that
// stood there until now is ended.
func (db *DB) EnsureDir(ctx context.Context, run int64, parent ID, name string, m Meta) (ID, error) {
	panic("unwritten")
}

// MarkVanished marks versions (directories too) that a complete listing no longer had; Revive takes
// the mark away. Both are journalled as changes. Marked versions stay current and readable.
func (db *DB) MarkVanished(ctx context.Context, run int64, ids []ID, at time.Time) error {
	panic("unwritten")
}
func (db *DB) Revive(ctx context.Context, run int64, ids []ID) error { panic("unwritten") }

// ---- planning and fetching

// NewVersion is a file or symlink to be fetched, or a directory whose entry is to be written.
type NewVersion struct {
	Existing ID // a directory that has an id already; the fields below are then ignored
	Parent   ID
	Name     string
	Kind     Kind
	Size     int64
	Meta
}

// NewObject is planned with its members in order; ids are given in that order.
type NewObject struct {
	OID         string
	Key         int64
	PartSize    int64
	PlannedSize int64
	Members     []NewVersion
	Pools       []int64 // a copy is owed in each
}

// PlannedObject is an Object with its members' versions, in order.
type PlannedObject struct {
	Object
	Versions []Version
}

// PlanBatch records a batch in state Fetching with its objects, members, planned versions and owed copies.
func (db *DB) PlanBatch(ctx context.Context, b Batch, objects []NewObject) (Batch, []PlannedObject, error) {
	panic("unwritten")
}

// OpenBatches lists batches that are not released, oldest first.
func (db *DB) OpenBatches(ctx context.Context) ([]Batch, error) { panic("unwritten") }

// BatchObjects lists a batch's objects in order of id, with versions (void and planned ones too).
func (db *DB) BatchObjects(ctx context.Context, batch int64) ([]PlannedObject, error) {
	panic("unwritten")
}

// Fetched is what the fetched file itself said.
type Fetched struct {
	Version ID
	Gone    bool // could not be fetched: the planned version is dropped
	Size    int64
	Target  string
	Inode   ID // of the first of its hard-linked names in this batch; 0: itself
	Nlink   uint32
	Meta
}

// MarkFetched makes planned versions present and current and ends those they replace. The spool
// must have been synced. Call it in pieces; then SetBatchState(Synced).
func (db *DB) MarkFetched(ctx context.Context, run int64, batch int64, files []Fetched, at time.Time) error {
	panic("unwritten")
}
func (db *DB) SetBatchState(ctx context.Context, batch int64, s BatchState, bytes int64) error {
	panic("unwritten")
}

// DropObject removes a planned object that lost all its members.
func (db *DB) DropObject(ctx context.Context, object int64) error { panic("unwritten") }

// DrawSalt returns 8 random bytes that this key never used, recorded before they are returned.
func (db *DB) DrawSalt(ctx context.Context, key int64, purpose string) ([]byte, error) {
	panic("unwritten")
}

// ---- writing

// AddCopyPart records, in state writing, that a part is about to be written.
func (db *DB) AddCopyPart(ctx context.Context, p CopyPart) (CopyPart, error) { panic("unwritten") }

// ClosedPart is what is known when a part's file was closed without error.
type ClosedPart struct {
	CopyPart   int64
	StartBlock int64
	Part       Part // Number, Size and sums
}

// Packing is what the last part of an object adds.
type Packing struct {
	Object     int64
	Salt       []byte
	PlainSize  int64
	SealedSize int64
	Members    []PackedMember
}

// PackedMember places a member and carries its content's sum.
type PackedMember struct {
	Member
	SHA256 []byte // nil for directories, symlinks, links and void members
	Void   bool
}

// PartClosed records a part as written, with its sums. An object that is packed already must have
// the very same sums: anything else is an error and changes nothing. packing is nil but with the
// last part of the first copy; then the object becomes packed, in the same transaction. When all
// parts of the copy are written the copy is.
func (db *DB) PartClosed(ctx context.Context, p ClosedPart, packing *Packing) error {
	panic("unwritten")
}

// PartFailed moves a part to abandoned, damaged or lost; its copy is owed again if the part was
// not durable. An object none of whose parts is written any more and that is not packed loses its
// part rows and salt, so that it is packed anew.
func (db *DB) PartFailed(ctx context.Context, copyPart int64, s PartState, size int64) error {
	panic("unwritten")
}

// PartProved makes a written part durable after its bytes were read back (recovery).
func (db *DB) PartProved(ctx context.Context, copyPart int64) error { panic("unwritten") }

// UnsafeParts lists parts in state writing or written, by tape and id.
func (db *DB) UnsafeParts(ctx context.Context) ([]CopyPart, error) { panic("unwritten") }

// OwedCopy is a copy to be made, with its object.
type OwedCopy struct {
	Copy
	Object Object
}

// OwedCopies lists copies in state owed or writing whose object has a synced batch, in order of object id.
func (db *DB) OwedCopies(ctx context.Context, pool int64) ([]OwedCopy, error) { panic("unwritten") }

// Parts lists an object's parts with their sums; CopyParts a copy's files, abandoned ones too.
func (db *DB) Parts(ctx context.Context, object int64) ([]Part, error)       { panic("unwritten") }
func (db *DB) CopyParts(ctx context.Context, copy int64) ([]CopyPart, error) { panic("unwritten") }

// ManifestPart is a part that no manifest of its tape names yet, with all it takes to describe it.
type ManifestPart struct {
	CopyPart
	Object PlannedObject // with placed members
	Member []PackedMember
	Parts  []Part
	Others []CopyPart // the other parts of this copy, wherever they are
}

// Unmanifested calls fn for each written part on a tape that no manifest names, in order of id;
// abandoned parts of the copies concerned, on this or other tapes, are among Others.
func (db *DB) Unmanifested(ctx context.Context, tape int64, fn func(*ManifestPart) error) error {
	panic("unwritten")
}

// Changes lists journal entries with id > after, in order.
func (db *DB) Changes(ctx context.Context, after int64, fn func(*Change) error) error {
	panic("unwritten")
}

// LastManifest returns the newest manifest of a tape that is not lost; ErrNotFound when there is none.
func (db *DB) LastManifest(ctx context.Context, tape int64) (Manifest, error) { panic("unwritten") }

// AddManifest records a manifest as written and that it names these parts.
func (db *DB) AddManifest(ctx context.Context, m Manifest, copyParts []int64) (Manifest, error) {
	panic("unwritten")
}

// LoseManifests marks written (not durable) manifests of a tape as lost; what they named is unnamed again.
func (db *DB) LoseManifests(ctx context.Context, tape int64) error { panic("unwritten") }

// MarkDurable is called after a proved sync of a tape: its written parts and manifests are durable,
// copies all of whose parts are become durable, the pool's journal position moves.
func (db *DB) MarkDurable(ctx context.Context, tape int64, indexGeneration, free int64, at time.Time) error {
	panic("unwritten")
}

// ReleasableBatches lists synced batches all of whose objects have all copies durable.
func (db *DB) ReleasableBatches(ctx context.Context) ([]Batch, error) { panic("unwritten") }

// ReleaseBatch forgets a batch's bytes: call it before its directory is removed.
func (db *DB) ReleaseBatch(ctx context.Context, batch int64) error { panic("unwritten") }

// AddSnapshot records a catalog snapshot on a tape and resets the pool's unsnapped bytes.
func (db *DB) AddSnapshot(ctx context.Context, tape int64, name string, size int64, mac []byte) error {
	panic("unwritten")
}

// ---- reading

// Place is one copy with its live parts in order.
type Place struct {
	Copy
	Parts []CopyPart
}

// Location says where a version's bytes are.
type Location struct {
	Version Version // whose members hold the bytes (Version.Data of what was asked for)
	Batch   *Batch  // synced spool batch that has them, or nil
	Path    string  // below the batch's Dir: the path within the source
	Object  Object  // zero ID: not packed yet
	Data    int64   // offset of the bytes in the plain stream
	Places  []Place // durable and written copies
}

func (db *DB) Locate(ctx context.Context, id ID) (Location, error) { panic("unwritten") }

// PartSums returns the extent sums of one part.
func (db *DB) PartSums(ctx context.Context, object int64, number int) ([]byte, error) {
	panic("unwritten")
}

// ObjectCopies lists an object's copies, dropped ones too.
func (db *DB) ObjectCopies(ctx context.Context, object int64) ([]Copy, error) { panic("unwritten") }

// ---- keys, pools, tapes

func (db *DB) EnsureKey(ctx context.Context, fingerprint, cipher string, iterations int) (SealKey, error) {
	panic("unwritten")
}
func (db *DB) Keys(ctx context.Context) ([]SealKey, error) { panic("unwritten") }
func (db *DB) SetKeyCopySeen(ctx context.Context, fingerprint string, at time.Time) error {
	panic("unwritten")
}

func (db *DB) EnsurePool(ctx context.Context, name string) (Pool, error) { panic("unwritten") }
func (db *DB) Pools(ctx context.Context) ([]Pool, error)                 { panic("unwritten") }

func (db *DB) Tapes(ctx context.Context) ([]Tape, error)                       { panic("unwritten") }
func (db *DB) TapeByBarcode(ctx context.Context, barcode string) (Tape, error) { panic("unwritten") }
func (db *DB) TapeByUUID(ctx context.Context, uuid string) (Tape, error)       { panic("unwritten") }

// AddTape records a cartridge; a zero Number gets the next one.
func (db *DB) AddTape(ctx context.Context, t Tape) (Tape, error) { panic("unwritten") }

// UpdateTape changes one tape in a transaction. fn must not call the DB.
func (db *DB) UpdateTape(ctx context.Context, id int64, fn func(*Tape) error) (Tape, error) {
	panic("unwritten")
}

// TapeObjects counts the objects and live bytes on a tape.
func (db *DB) TapeObjects(ctx context.Context, tape int64) (objects int, bytes int64, err error) {
	panic("unwritten")
}

// ---- runs and status

func (db *DB) StartRun(ctx context.Context, kind string, args []string) (Run, error) {
	panic("unwritten")
}

// Count adds to a run's counters.
func (db *DB) Count(ctx context.Context, run int64, source string, counts map[string]int64) error {
	panic("unwritten")
}
func (db *DB) AddRunError(ctx context.Context, run int64, source, path, message string) error {
	panic("unwritten")
}
func (db *DB) AddRunTape(ctx context.Context, run, tape int64, bytes int64, parts int) error {
	panic("unwritten")
}
func (db *DB) FinishRun(ctx context.Context, run int64, state, message string) error {
	panic("unwritten")
}

// Runs lists the newest runs first, at most limit.
func (db *DB) Runs(ctx context.Context, limit int) ([]Run, error) { panic("unwritten") }

// RunReport is all a run left behind.
type RunReport struct {
	Run
	Counts map[string]map[string]int64 // by source, by name
	Errors []RunError
	Tapes  []RunTape
}
type RunError struct{ Source, Path, Message string }
type RunTape struct {
	Barcode string
	Bytes   int64
	Parts   int
}

func (db *DB) RunReport(ctx context.Context, id int64) (RunReport, error) { panic("unwritten") }

// Debt is what a pool owes.
type Debt struct {
	Pool   string
	Copies int
	Bytes  int64 // planned or sealed
}

func (db *DB) Debts(ctx context.Context) ([]Debt, error) { panic("unwritten") }
