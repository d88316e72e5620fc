package recall

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // the only sum that imported archives have
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// Objects of imported archives have an MD5 of the whole sealed file, and nothing else. Before the first byte
// of such a file is served it is read whole once: a survey. Then it has sums like any other.

// surveyExtent is the number of the fetch that is a survey.
const surveyExtent = -1

// errUnsurveyed: an imported object was never read whole.
var errUnsurveyed = errors.New("it was never read whole")

// SumForeign reads size bytes and returns the sums of a part that has them; it fails unless they have the MD5. Each extent is
// given to each, which must not keep it. ErrDamaged: the bytes have another MD5.
func SumForeign(ctx context.Context, r io.ReaderAt, size int64, want []byte, each func(n int64, extent []byte) error) (catalog.Part, error) {
	p := catalog.Part{Size: size}
	whole, old := sha256.New(), md5.New() //nolint:gosec // as above
	buf := make([]byte, catalog.ExtentSize)
	for n := int64(0); n*catalog.ExtentSize < size; n++ {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		at := n * catalog.ExtentSize
		b := buf[:min(size-at, catalog.ExtentSize)]
		if _, err := r.ReadAt(b, at); err != nil {
			return p, fmt.Errorf("read at %d: %w", at, err)
		}
		var sums sync.WaitGroup
		sums.Go(func() { whole.Write(b) })
		sums.Go(func() { old.Write(b) })
		sum := sha256.Sum256(b)
		sums.Wait()
		p.Sums = append(p.Sums, sum[:]...)
		if err := each(n, b); err != nil {
			return p, err
		}
	}
	p.SHA256 = whole.Sum(nil)
	if got := old.Sum(nil); !bytes.Equal(got, want) {
		return p, fmt.Errorf("%w: %w: its MD5 is %x, and the archive's database has %x", ErrDamaged, changer.ErrAltered, got, want)
	}
	return p, nil
}

// surveyed waits until an imported object has sums.
func (q *Queue) surveyed(ctx context.Context, user uint32, o *object) error {
	for {
		_, err := o.sum(ctx, q.db, 0)
		if !errors.Is(err, errUnsurveyed) {
			return err
		}
		f, err := q.join(o, surveyExtent, [sha256.Size]byte{}, reader, user)
		if err != nil {
			return err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			q.waited(f, user)
			q.leaveFor(f, user)
			return ctx.Err()
		}
		q.waited(f, user)
		if f.err != nil {
			return f.err
		}
	}
}

// survey reads an imported object whole from the mounted tape, and learns its sums and the tape's UUID.
func (s *session) survey(f *fetch, cp catalog.CopyPart) error {
	q := s.q
	part, err := s.surveyFile(f, cp)
	if err != nil && q.soft.Err() == nil && f.stop.Err() == nil && changer.FaultOf(err) == changer.Damaged && s.volumeGone(err) == nil {
		q.log.Warn("imported file read badly, trying again", "barcode", s.barcode, "file", cp.Name, "err", err)
		part, err = s.surveyFile(f, cp)
	}
	if err == nil {
		if err = f.o.checkEnd(q, s, cp); err != nil {
			// The bytes are what they were, so no other copy helps: it is the passphrase.
			q.mu.Lock()
			defer q.mu.Unlock()
			q.finish(f, nil, fmt.Errorf("object %s: %w", f.o.oid, err))
			return nil
		}
		f.o.setSums(0, part.Sums)
		s.good++
		s.proved = true
		if q.o.Surveyed != nil {
			q.o.Surveyed(catalog.Surveyed{Object: f.o.id, CopyPart: cp.ID, Part: part, Tape: s.barcode, UUID: s.uuid, At: time.Now()})
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		q.finish(f, nil, nil)
		return nil
	}
	gone := s.volumeGone(err)
	q.mu.Lock()
	defer q.mu.Unlock()
	if f.stop.Err() != nil || q.soft.Err() != nil {
		q.putBack(f)
		return nil
	}
	q.putBack(f)
	if gone != nil {
		return fmt.Errorf("read tape %s: %w", s.barcode, gone)
	}
	if changer.FaultOf(err) == changer.Missing && !s.proved {
		// The label is all that says that this is the tape: it may be another one.
		q.lostParts[cp.ID] = noted(forgetDamage)
		if len(q.usable(f, nil)) == 0 {
			q.finish(f, nil, q.hopeless(f, nil))
		}
		q.wake()
		return nil
	}
	return s.judge(f, cp, err)
}

func (s *session) surveyFile(f *fetch, cp catalog.CopyPart) (catalog.Part, error) {
	s.closeFile() // a second try must not see the first one's pages
	var file *os.File
	err := changer.WithPatience(f.stop, s.q.patience, func() (err error) {
		file, err = s.open(cp.Name)
		return err
	})
	if err != nil {
		return catalog.Part{}, err
	}
	_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)
	info, err := file.Stat()
	if err != nil {
		return catalog.Part{}, err
	}
	if info.Size() != f.o.sealed {
		return catalog.Part{}, fmt.Errorf("%s has %d bytes, not %d: %w: %w", cp.Name, info.Size(), f.o.sealed, ErrDamaged, changer.ErrAltered)
	}
	md5, err := s.q.db.ForeignMD5(s.q.hard, f.o.id)
	if err != nil {
		return catalog.Part{}, err
	}
	// What goes into the cache is proved by no sum yet: each extent is checked when it is first used.
	defer s.q.cache.Doubt(f.o.oid)
	return SumForeign(f.stop, file, f.o.sealed, md5, func(n int64, b []byte) error {
		if f.o.sealed <= s.q.cache.RoomForSurvey() {
			s.q.cache.Put(f.o.oid, n, b)
		}
		_ = unix.Fadvise(int(file.Fd()), n*catalog.ExtentSize, int64(len(b)), unix.FADV_DONTNEED)
		return s.q.soft.Err()
	})
}

// checkEnd proves that the passphrase opens an object whose sealed bytes are right: its end is padded as it should be.
func (o *object) checkEnd(q *Queue, s *session, cp catalog.CopyPart) error {
	file, err := s.open(cp.Name)
	if err != nil {
		return err
	}
	_, err = o.reader(file)
	return err
}

// reader opens an imported object, read from at. The key is derived once.
func (o *object) reader(at io.ReaderAt) (*crypto.ForeignReader, error) {
	o.mu.Lock()
	opened := o.opened
	o.mu.Unlock()
	if opened != nil {
		return opened.With(at), nil
	}
	opened, err := o.foreign.NewReaderAt(at, o.sealed)
	if err != nil {
		return nil, fmt.Errorf("open it with the passphrase of its archive: %w", err)
	}
	if opened.Size() != o.plain {
		return nil, fmt.Errorf("open it with the passphrase of its archive: it gives %d bytes, not %d: %w", opened.Size(), o.plain, crypto.ErrWrongKey)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened = opened.With(nil)
	return opened, nil
}

func (o *object) setSums(part int, sums []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sums[part] = sums
}

// sealedBytes reads an object's sealed bytes, each extent verified. It is one reader's, for the time of one call.
type sealedBytes struct {
	ctx context.Context
	q   *Queue
	who asker
	o   *object
}

// ReadAt is that of io.ReaderAt.
func (s sealedBytes) ReadAt(p []byte, off int64) (int, error) {
	for done := 0; done < len(p); {
		at := off + int64(done)
		if at >= s.o.sealed {
			return done, io.EOF
		}
		n, in := at/catalog.ExtentSize, at%catalog.ExtentSize
		_, _, size := s.o.extent(n)
		piece := p[done:min(int64(len(p)), int64(done)+size-in)]
		if err := s.q.readExtent(s.ctx, s.who, s.o, n, piece, in); err != nil {
			return done, err
		}
		done += len(piece)
	}
	return len(p), nil
}
