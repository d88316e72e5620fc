package recall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// sequentialBytes is how much must be read in one go before anything is asked for ahead: more than
// what looks at a file's head or tail.
const sequentialBytes = 512 << 10

// nearBytes is how far from the end of the last read the next one may begin and still go on with
// it: several reads of one reader may arrive in another order.
const nearBytes = 1 << 20

// File is one open version. Safe for concurrent use; closed by Close.
type File struct {
	q    *Queue
	id   catalog.ID
	user uint32 // who opened it
	size int64  // bytes

	parent catalog.ID // the directory; 0: another name has the bytes

	mu        sync.Mutex // protects all below
	closed    bool
	program   string     // that reads it; "" where that is not known
	spool     *spoolFile // nil: read from the object
	spoolTime catalog.Time
	left      *spoolFile // a spool copy no longer used
	object    *object
	start     int64      // of the bytes in the object's plain stream
	data      catalog.ID // the version they are a member of
	held      *cache.Held

	next    int64            // where the last read ended
	run     int64            // bytes read in one go
	extent  int64            // where the reader is
	window  int64            // how many extents to ask for ahead
	asked   int64            // the last extent asked for
	pending map[int64]*fetch // asked for ahead

	total    int64 // bytes read
	followed bool
}

// useObject makes the file read from its object. Called before the file is shared, or locked.
func (f *File) useObject(loc catalog.Location) error {
	o, err := f.q.openObject(loc)
	if err != nil {
		return err
	}
	if loc.Version.Size != f.size {
		f.q.closeObject(o)
		return fmt.Errorf("version has %d bytes, not %d", loc.Version.Size, f.size)
	}
	f.object, f.start, f.data = o, loc.Data, loc.Version.ID
	first, last := f.extents()
	if len(loc.Places) == 0 && f.q.cache.Missing(o.oid, first, last) {
		f.q.closeObject(o)
		f.object = nil
		return ErrNoBytes
	}
	return nil
}

// extents are the first and last extent that hold bytes of the file.
func (f *File) extents() (first, last int64) {
	from := f.start + crypto.HeaderSize
	return from / catalog.ExtentSize, (from + f.size - 1) / catalog.ExtentSize
}

// ReadAt follows io.ReaderAt and may be called from several goroutines. It waits for a tape when
// bytes are missing, and returns early with ctx's error when that ends.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read version %d: negative offset %d", f.id, off)
	}
	if off >= f.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > f.size-off {
		p, end = p[:f.size-off], io.EOF
	}
	ok, err := f.readSpool(ctx, p, off)
	if err != nil {
		return 0, fmt.Errorf("read version %d: %w", f.id, err)
	}
	if ok {
		return len(p), end
	}
	n, err := f.readObject(ctx, p, off)
	if err != nil {
		return n, fmt.Errorf("read version %d: %w", f.id, err)
	}
	f.mu.Lock()
	f.total += int64(n)
	whole := f.total >= f.size && off+int64(n) == f.size
	f.mu.Unlock()
	if whole {
		f.follow(ctx)
	}
	return n, end
}

func (f *File) readObject(ctx context.Context, p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return 0, os.ErrClosed
	}
	o, start, data := f.object, f.start, f.data
	who := asker{f.user, f.id, f.program}
	f.mu.Unlock()

	if o.foreign != nil {
		return f.readForeign(ctx, who, o, data, p, off)
	}
	done := 0
	for done < len(p) {
		at := start + crypto.HeaderSize + off + int64(done)
		n, in := at/catalog.ExtentSize, at%catalog.ExtentSize
		piece := p[done:]
		if rest := catalog.ExtentSize - in; int64(len(piece)) > rest {
			piece = piece[:rest]
		}
		f.readAhead(ctx, off+int64(done), int64(len(piece)), n, (at+int64(len(p)-done)-1)/catalog.ExtentSize)
		if err := f.q.readExtent(ctx, who, o, n, piece, in); err != nil {
			return done, err
		}
		f.q.cache.Note(f.id, o.oid, start+crypto.HeaderSize, f.size)
		if data != f.id {
			f.q.cache.Note(data, o.oid, start+crypto.HeaderSize, f.size)
		}
		if err := o.unseal(piece, start+off+int64(done)); err != nil {
			clear(piece)
			return done, err
		}
		done += len(piece)
	}
	return done, nil
}

// readForeign is readObject for an object of an imported archive, which holds one file and nothing else.
func (f *File) readForeign(ctx context.Context, who asker, o *object, data catalog.ID, p []byte, off int64) (int, error) {
	if err := f.q.surveyed(ctx, f.user, o); err != nil {
		return 0, err
	}
	at := crypto.HeaderSize + off
	f.readAhead(ctx, off, int64(len(p)), at/catalog.ExtentSize, (at+int64(len(p))-1)/catalog.ExtentSize)
	r, err := o.reader(sealedBytes{ctx, f.q, who, o})
	if err != nil {
		return 0, fmt.Errorf("object %s: %w", o.oid, err)
	}
	n, err := r.ReadAt(p, off)
	if errors.Is(err, io.EOF) && n == len(p) {
		err = nil
	}
	if err != nil {
		clear(p)
		return 0, err
	}
	for _, id := range []catalog.ID{f.id, data} {
		f.q.cache.Note(id, o.oid, crypto.HeaderSize, f.size)
	}
	return n, nil
}

// readAhead follows the reader, who is about to read size bytes at off, in extent n, and asks for
// the rest of the read, which ends in extent end, and for what a sequential reader will want next.
func (f *File) readAhead(ctx context.Context, off, size, n, end int64) {
	limit := f.q.cache.Window()
	f.mu.Lock()
	if off > f.next+nearBytes || off < f.next-nearBytes {
		f.run, f.window, f.asked = 0, 0, n
	} else if f.next > 0 {
		f.run += size
	}
	f.next = max(off+size, f.next)
	if f.run == 0 {
		f.next = off + size
	}
	if f.run >= sequentialBytes && (f.window == 0 || n > f.extent) {
		f.window = max(1, 2*f.window)
	}
	f.extent = n
	_, last := f.extents()
	f.window = min(f.window, limit)
	until := min(max(n+f.window, min(end, n+limit)), last)

	var leave []*fetch
	for k, w := range f.pending {
		if k < n || k > until {
			leave = append(leave, w)
			delete(f.pending, k)
		}
	}
	var ask []int64
	for k := max(n, f.asked) + 1; k <= until; k++ {
		ask = append(ask, k)
	}
	f.asked = max(f.asked, until)
	o := f.object
	f.mu.Unlock()

	for _, k := range ask {
		w := f.q.ask(ctx, f.user, o, k)
		if w == nil {
			continue // there already, or not to be had: who reads it gets the error
		}
		f.mu.Lock()
		if f.closed || f.pending[k] != nil || k < f.extent {
			leave = append(leave, w)
		} else {
			if f.pending == nil {
				f.pending = map[int64]*fetch{}
			}
			f.pending[k] = w
		}
		f.mu.Unlock()
	}
	for _, w := range leave {
		f.q.leaveFor(w, f.user)
	}
}

// Complete tells whether all bytes are on disk and verified, so that no read will wait for a tape.
// Once it said so, the cache keeps them until the file is closed.
func (f *File) Complete() bool {
	if f.size == 0 {
		return true
	}
	f.mu.Lock()
	spool := f.spool
	f.mu.Unlock()
	if spool != nil {
		return spool.summed()
	}
	if !f.complete() {
		return false
	}
	f.follow(f.q.soft) // whoever reads it now may do so without asking us
	return true
}

func (f *File) complete() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.object == nil || f.closed {
		return false
	}
	if f.held == nil {
		first, last := f.extents()
		f.held = f.q.cache.Hold(f.object.oid, first, last)
	}
	return f.held != nil
}

// Close drops what was asked for ahead. Reads under way should have returned.
func (f *File) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return os.ErrClosed
	}
	f.closed = true
	pending, o, held := f.pending, f.object, f.held
	f.pending, f.held = nil, nil
	var err error
	for _, s := range []*spoolFile{f.spool, f.left} {
		if s != nil {
			err = errors.Join(err, f.q.leaveShared(s, f.user))
		}
	}
	f.mu.Unlock()

	for _, w := range pending {
		f.q.leaveFor(w, f.user)
	}
	f.q.cache.Release(held)
	if o != nil {
		f.q.closeObject(o)
	}
	return err
}
