package recall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
	"github.com/tapefs/tapefs/fs/recall/cache"
	"github.com/tapefs/tapefs/fs/recall/motion"
)

// Errors that callers branch on. They are wrapped with what was attempted.
var (
	ErrOffline = errors.New("tape is outside the library")
	ErrDamaged = errors.New("no good copy")
	ErrNoBytes = errors.New("no bytes of this version anywhere")
	ErrNoKey   = errors.New("key is missing")
	ErrClosed  = errors.New("recall queue is closed")
)

// Options are what the configuration says of reading.
type Options struct {
	CacheDir     string
	CacheMax     int64         // bytes of sealed extents; 0: 16 GiB, below 0: no cache on disk
	CacheReserve int64         // bytes the cache leaves free on its file system; 0: 5 % or 1 GiB, the lesser; below 0: none
	SpoolDir     string        // where batches lie
	IdleUnmount  time.Duration // 0: 5 min; how long a volume stays mounted after the last request
	ReaderSlice  time.Duration // 0: 10 min; how long readers keep a drive that another process waits for
	UserSlice    time.Duration // 0: 2 min; how long a mounted tape is read before it makes room for a user whom nobody serves
	MaxWait      time.Duration // 0: 10 min; how long work on the mounted tape may delay another tape
	OfflineWait  time.Duration // how long a read waits for a tape outside the library; 0: not at all
	// Want is told that a tape outside the library is needed, and that it came back. May be nil.
	Want func(barcode string, wanted bool)
	// Damaged is told of a file on tape that was read badly twice, or is not there (lost), so that it is kept
	// beyond this process. May be nil.
	Damaged func(cp catalog.CopyPart, lost bool, why error)
	// SpoolDamaged is told of a version whose bytes in the spool are not those that were fetched, so that they are fetched
	// again. May be nil.
	SpoolDamaged func(id catalog.ID, why error)
	// Surveyed is told what was learnt of an object of an imported archive when it was first read. May be nil: then it is
	// read whole again by the next process. It is called while a tape is mounted, and may wait for the catalog.
	Surveyed func(catalog.Surveyed)
	// Moved is told what motions of a tape took, when it is given back, so that later processes read it in a better order. May
	// be nil.
	Moved func([]catalog.Move)
	// Timed is told, when a tape's turn is over, how long its reads took. May be nil.
	Timed func(...catalog.Timed)
	// Ahead is how much of the files that come next in a directory is foreseen at least for who reads one after the
	// other, bytes; 0: nothing.
	Ahead int64
	// Socket is where other processes ask this one while it owns the cache; "": nowhere.
	Socket string
	Log    *slog.Logger // nil: nothing is logged
}

// defaultCacheMax holds four thousand extents: a day's reading, and little beside a spool.
const defaultCacheMax = 16 << 30

// A bad extent is tried again after this time, as is a tape that could not be loaded or mounted:
// a cleaned drive or a second try by the operator often helps, a retry for each read never.
const (
	forgetDamage  = 10 * time.Minute
	forgetTrouble = time.Minute
)

// lookForDrive is when a drive that was not there is looked for again.
const lookForDrive = 2 * time.Second

// maxSweep is how long a waiting reader behind the head lets the head run on: a sequential reader
// in front of it would otherwise keep it waiting to the end of the tape.
const maxSweep = 2 * time.Minute

// inventoryAge is how old a reading of the library may be for a decision: mtx status takes about a
// second, and a tree of files on a missing tape asks once for each file.
const inventoryAge = 2 * time.Second

// linger is how long nothing must have been asked of a mounted tape before it makes room for another
// tape or process: between two files of a cp -r nothing waits for a moment, and changing tapes
// there and back would take minutes.
const linger = time.Second

// wantedPoll is how often an idle session looks whether another process wants its drive.
const wantedPoll = 200 * time.Millisecond

// store is what recall asks of the catalog.
type store interface {
	Locate(ctx context.Context, id catalog.ID) (catalog.Location, error)
	PartSums(ctx context.Context, object int64, number int) ([]byte, error)
	TapeByBarcode(ctx context.Context, barcode string) (catalog.Tape, error)
	ForeignMD5(ctx context.Context, object int64) ([]byte, error)
	// ProvedAt says when the bytes of a file on tape were last read and had their sums; zero: never since they were written.
	ProvedAt(ctx context.Context, copyPart int64) (time.Time, error)
	// MovesOf lists the locates of a tape that are remembered, and BestMoved names the tape of a generation of which most are.
	MovesOf(ctx context.Context, tape int64) ([]catalog.Move, error)
	BestMoved(ctx context.Context, generation int) (barcode string, err error)
	// Files calls fn for a file, or for all files below a directory.
	Files(ctx context.Context, id catalog.ID, fn func(*catalog.Version) error) error
	// Next lists files and directories among the next limit entries of a directory, in the order of their ids, behind one.
	Next(ctx context.Context, dir, after catalog.ID, limit int) ([]catalog.Version, error)
	// BytesAt says in which object, and where in its plain stream, a version's bytes lie; object 0: in none.
	BytesAt(ctx context.Context, data catalog.ID) (object, offset int64, err error)
}

// catalogStore is the catalog as the store.
type catalogStore struct {
	*catalog.DB
	locator *catalog.Locator
}

func (c catalogStore) Locate(ctx context.Context, id catalog.ID) (catalog.Location, error) {
	return c.locator.Locate(ctx, id)
}

func (c catalogStore) MovesOf(ctx context.Context, tape int64) ([]catalog.Move, error) {
	return c.Moves().Of(ctx, tape, catalog.MoveLocate)
}

func (c catalogStore) BestMoved(ctx context.Context, generation int) (string, error) {
	return c.Moves().BestKnown(ctx, generation)
}

func (c catalogStore) Files(ctx context.Context, id catalog.ID, fn func(*catalog.Version) error) error {
	top, err := c.Get(ctx, id)
	if err != nil {
		return err
	}
	if top.Kind == catalog.File {
		return fn(&top)
	}
	if top.Kind != catalog.Directory {
		return nil
	}
	return c.Now().Walk(ctx, id, func(_ string, v *catalog.Version) error {
		if v.Kind != catalog.File {
			return nil
		}
		return fn(v)
	})
}

func (c catalogStore) Next(ctx context.Context, dir, after catalog.ID, limit int) ([]catalog.Version, error) {
	var entries []catalog.Version
	err := c.Now().Children(ctx, dir, after, limit, func(v *catalog.Version) error {
		if v.Kind == catalog.Directory || v.Kind == catalog.File && v.InsteadOf == 0 { // an older state lies elsewhere on tape
			entries = append(entries, *v)
		}
		return nil
	})
	return entries, err
}

// keyring is what recall asks of the keys.
type keyring interface {
	Key(fingerprint string) (*crypto.Key, error)
	Foreign(fingerprint string) (passphrase []byte, err error)
}

var (
	_ store   = catalogStore{}
	_ keyring = (*crypto.Keyring)(nil)
)

// Queue answers reads from spool, cache and tape. Safe for concurrent use.
type Queue struct {
	o      Options
	db     store
	keys   keyring
	tapes  tapes // nil: no library
	cache  *cache.Cache
	memory *memory
	log    *slog.Logger

	learner *motion.Learner

	// soft ends when Close is called: waits for drives and for work end with it. hard ends when
	// Close runs out of time: it bounds what should not be cut short, moves and mounts.
	soft, hard       context.Context
	endSoft, endHard context.CancelFunc
	running          sync.WaitGroup
	kick             chan struct{} // capacity 1: wakes the dispatcher

	// The constants above and changer.Patience, but in tests.
	poll, linger, inventoryLifetime, offlinePoll, patience time.Duration
	spoolBounds                                            spoolBounds
	spoolReads                                             chan struct{} // as many as may be under way at once
	spoolSums                                              chan struct{} // files whose block sums are being made
	verifying                                              chan struct{} // cached extents that are verified ahead of their reader

	onRead func(barcode string, at position) // told of each extent before it is read from tape; nil but in tests

	mu           sync.Mutex // protects all below
	closed       bool
	fetches      map[extentKey]*fetch
	sessions     map[*session]struct{}
	objects      map[int64]*object
	idle         []*object  // without an open file, oldest first
	inventory    *inventory // nil: to be read again
	drives       int        // usable ones, as of the last inventory
	damaged      map[badExtent]mark
	damagedParts map[int64]mark // by CopyPart.ID, as the next two
	lostParts    map[int64]mark
	served       map[uint32]time.Time // when a user was last given something from tape, as long as he waits for more
	unread       map[badExtent]trouble
	trouble      map[string]trouble   // by barcode
	short        map[string]time.Time // tapes that cannot be reached for lack of something on this machine, and since when
	following    map[directoryReader]*following
	idleFetches  int             // requests that nobody waits for
	remembered   map[string]bool // tapes whose earlier motions the learner was given, by barcode
	wanted       map[string]bool // tapes outside the library that reads needed
	noDrive      string          // why no drive can read the tape that was tried last: it is not there
	told         chan struct{}   // closed when the last note about a wanted tape was taken
	lookTimer    *time.Timer
	looking      chan struct{} // closed when the reading for Outside ends; nil: none is under way
	looked       *inventory    // what it gave
	lookedAt     time.Time
	spoolFiles   map[catalog.ID]*spoolFile // open ones
	spoolCount   int                       // descriptors that they take
	spoolUsers   map[uint32]int            // of those, by user
}

// New starts the queue. lib may be nil: then only spool and cache are read. Closed by Close.
func New(db *catalog.DB, keys *crypto.Keyring, lib *changer.Library, o Options) (*Queue, error) {
	var t tapes
	if lib != nil {
		t = library{lib}
	}
	var k keyring
	if keys != nil {
		k = keys
	}
	return newQueue(catalogStore{db, db.Locator()}, k, t, o)
}

func newQueue(db store, keys keyring, t tapes, o Options) (*Queue, error) {
	if o.CacheMax == 0 {
		o.CacheMax = defaultCacheMax
	}
	if o.IdleUnmount == 0 {
		o.IdleUnmount = 5 * time.Minute
	}
	if o.ReaderSlice == 0 {
		o.ReaderSlice = 10 * time.Minute
	}
	if o.UserSlice == 0 {
		o.UserSlice = defaultUserSlice
	}
	if o.MaxWait == 0 {
		o.MaxWait = 10 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	kept, err := cache.Open(o.CacheDir, o.CacheMax, o.CacheReserve, o.Log)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	q := &Queue{
		o: o, db: db, keys: keys, tapes: t, cache: kept, memory: &memory{}, log: o.Log, learner: &motion.Learner{}, remembered: map[string]bool{},
		kick: make(chan struct{}, 1), poll: wantedPoll, linger: linger, inventoryLifetime: inventoryAge, offlinePoll: offlinePoll, patience: changer.Patience,
		spoolBounds: spoolBoundsOf(), spoolReads: make(chan struct{}, maxSpoolReads), spoolSums: make(chan struct{}, maxSpoolSums), verifying: make(chan struct{}, 1), spoolFiles: map[catalog.ID]*spoolFile{}, spoolUsers: map[uint32]int{}, served: map[uint32]time.Time{},
		fetches:  map[extentKey]*fetch{},
		sessions: map[*session]struct{}{},
		objects:  map[int64]*object{},
		damaged:  map[badExtent]mark{}, damagedParts: map[int64]mark{}, lostParts: map[int64]mark{},
		unread: map[badExtent]trouble{}, short: map[string]time.Time{},
		trouble: map[string]trouble{}, wanted: map[string]bool{}, following: map[directoryReader]*following{},
	}
	q.soft, q.endSoft = context.WithCancel(context.Background())
	q.hard, q.endHard = context.WithCancel(context.Background())
	if t != nil {
		q.running.Add(1)
		go q.dispatch()
	}
	if o.Socket != "" && q.cache.Caches() {
		q.serve(o.Socket)
	}
	return q, nil
}

// Open finds out where a version's bytes are, for this process's user. It touches no tape.
func (q *Queue) Open(ctx context.Context, id catalog.ID) (*File, error) {
	return q.OpenFor(ctx, id, uint32(os.Geteuid()))
}

// OpenFor is Open for any user: what he has open, and what he waits for, counts as his.
func (q *Queue) OpenFor(ctx context.Context, id catalog.ID, user uint32) (*File, error) {
	f, err := q.open(ctx, id, user)
	if err != nil {
		return nil, fmt.Errorf("open version %d: %w", id, err)
	}
	return f, nil
}

// OpenAt is Open for whoever knows where the bytes are already, from Locate a moment ago: loc.Version is the version whose
// members hold them.
func (q *Queue) OpenAt(ctx context.Context, id catalog.ID, loc catalog.Location) (*File, error) {
	f, err := q.openAt(id, loc, uint32(os.Geteuid()))
	if err != nil {
		return nil, fmt.Errorf("open version %d: %w", id, err)
	}
	return f, nil
}

func (q *Queue) open(ctx context.Context, id catalog.ID, user uint32) (*File, error) {
	loc, err := q.db.Locate(ctx, id)
	if err != nil {
		return nil, err
	}
	return q.openAt(id, loc, user)
}

func (q *Queue) openAt(id catalog.ID, loc catalog.Location, user uint32) (*File, error) {
	q.mu.Lock()
	closed := q.closed
	q.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if loc.Version.Kind != catalog.File {
		return nil, fmt.Errorf("%q is not a file", loc.Version.Name)
	}
	f := &File{q: q, id: id, user: user, size: loc.Version.Size}
	if loc.Version.ID == id {
		f.parent = loc.Version.Parent
	}
	if f.size == 0 {
		return f, nil
	}
	spool, serr := q.shareSpool(loc, user)
	if spool != nil {
		f.spool, f.spoolTime = spool, loc.Version.MTime
		return f, nil
	}
	if changer.FaultOf(serr) == changer.Shortage {
		return nil, serr // no reason to load a tape
	}
	err := f.useObject(loc)
	if err != nil && serr != nil {
		return nil, fmt.Errorf("%w: %w", err, serr)
	}
	if err != nil {
		return nil, err
	}
	if serr != nil {
		q.log.Debug("spool copy not used", "version", id, "err", serr)
	}
	return f, nil
}

// CachedBytes is how many plain bytes of a version are in the cache. It asks neither catalog nor
// disk: it knows versions that were read through this cache, by this or an earlier process, and
// says 0 for all others. A version in the spool has catalog.Version.Batch set.
func (q *Queue) CachedBytes(id catalog.ID) int64 { return q.cache.Cached(id) }

// Close gives up all drives, tapes stay loaded. Readers that wait get ErrClosed. When ctx ends
// first, Close stops waiting for drives and returns its error.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil
	}
	q.closed = true
	if q.lookTimer != nil {
		q.lookTimer.Stop()
	}
	for _, f := range q.fetches {
		if !f.active {
			q.finish(f, nil, ErrClosed)
		}
	}
	q.mu.Unlock()
	q.endSoft()

	done := make(chan struct{})
	go func() {
		q.running.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		q.endHard()
		err = fmt.Errorf("give up drives: %w", ctx.Err())
	}
	q.endHard()
	return errors.Join(err, q.cache.Close())
}
