package archiver

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// stock is what the sources of a run have in the spool, or in place, until it is on tape: its batches and objects, what becomes of those
// that the spool lost, and when batches may leave. It knows nothing of tapes and drives.
type stock struct {
	*task
	known  *ledger
	losses *spoolLosses // shared with followers
}

// release removes the spool copies of batches whose copies are all durable.
func (s *stock) release(ctx context.Context) error {
	batches, err := s.a.env.DB.ReleasableBatches(ctx)
	if err != nil {
		return fmt.Errorf("look for batches that are safe: %w", err)
	}
	return s.releaseThese(ctx, batches, s.a.env.DB.ReleaseBatch)
}

// releaseOnce removes, for want of room, also those of which each object has one durable copy. What other pools
// are owed is made from that.
func (s *stock) releaseOnce(ctx context.Context) error {
	batches, err := s.a.env.DB.OnceSafeBatches(ctx)
	if err != nil {
		return fmt.Errorf("look for batches that are safe once: %w", err)
	}
	if len(batches) > 0 {
		s.a.env.Log.Info("the spool is full: files with one durable copy leave it; further copies will be made from tape", "batches", len(batches))
	}
	return s.releaseThese(ctx, batches, s.a.env.DB.ReleaseBatchOnce)
}

func (s *stock) releaseThese(ctx context.Context, batches []catalog.Batch, release func(context.Context, int64) error) error {
	s.a.releasing.Lock()
	defer s.a.releasing.Unlock()
	var errs []error
	for _, b := range batches {
		if _, ours := s.sources[b.Source]; !ours {
			continue
		}
		objects, err := s.a.env.DB.BatchObjects(ctx, b.ID)
		if err != nil {
			return fmt.Errorf("release batch %d: %w", b.ID, err)
		}
		job.Failpoint("release")
		if err := release(ctx, b.ID); err != nil {
			return fmt.Errorf("release batch %d: %w", b.ID, err)
		}
		job.Failpoint("released")
		for _, o := range objects {
			errs = append(errs, s.a.spool.DropLayout(o.OID))
		}
		if err := s.a.spool.RemoveBatch(b); err != nil {
			errs = append(errs, fmt.Errorf("remove batch %d from the spool: %w", b.ID, err))
		}
	}
	return errors.Join(errs...)
}

// heldBatches counts batches of this run's sources that lie in the spool.
func (s *stock) heldBatches(ctx context.Context) (int, error) {
	batches, err := s.a.env.DB.OpenBatches(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for open batches: %w", err)
	}
	n := 0
	for _, b := range batches {
		if _, ours := s.sources[b.Source]; ours && b.State == catalog.Synced {
			n++
		}
	}
	return n, nil
}

func (s *stock) batches(ctx context.Context) (map[int64]catalog.Batch, error) {
	all, err := s.a.env.DB.OpenBatches(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for open batches: %w", err)
	}
	out := map[int64]catalog.Batch{}
	for _, b := range all {
		if b.State == catalog.Synced {
			out[b.ID] = b
		}
	}
	return out, nil
}

func (s *stock) objects(ctx context.Context, batch int64) (map[int64]catalog.PlannedObject, error) {
	all, err := s.a.env.DB.BatchObjects(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("look for the objects of batch %d: %w", batch, err)
	}
	out := map[int64]catalog.PlannedObject{}
	for _, o := range all {
		out[o.Object.ID] = o
	}
	return out, nil
}

// errVoided: of a file that loses its bytes when another one is packed.
var errVoided = errors.New("not archived this time: its bytes, or those of the file that it is a copy of, changed after they were summed")

// noteVoided says which versions became void because bytes are not those that were summed, and counts them. They may
// be of other sources.
func (s *stock) noteVoided(ctx context.Context, ids []catalog.ID) error {
	for _, id := range ids {
		source, file, err := s.a.placeOf(ctx, id)
		if err != nil {
			return err
		}
		s.noted.Add(source, file, errVoided)
		if err := s.a.env.DB.Count(ctx, s.run.ID, source, map[string]int64{"void": 1}); err != nil {
			return err
		}
	}
	return nil
}

// abandon gives up what copies have of an earlier packing of an object that was never completed: its salt is
// not known.
func (s *stock) abandon(ctx context.Context, object int64) error {
	copies, err := s.a.env.DB.ObjectCopies(ctx, object)
	if err != nil {
		return err
	}
	for _, c := range copies {
		parts, err := s.a.env.DB.CopyParts(ctx, c.ID)
		if err != nil {
			return err
		}
		for _, p := range parts {
			if p.State > catalog.PartDurable {
				continue
			}
			if err := s.a.env.DB.PartFailed(ctx, p.ID, catalog.PartAbandoned, p.Size); err != nil {
				return fmt.Errorf("give up a part of an earlier packing: %w", err)
			}
		}
	}
	return nil
}

// spoolLoss is a file that was fetched, and whose bytes the spool lost before they were safe on tape.
type spoolLoss struct {
	version catalog.Version
	source  string
	path    string
	why     error
}

// spoolLosses gathers what the spool lost. Safe for concurrent use.
type spoolLosses struct {
	mu   sync.Mutex
	list []spoolLoss
}

func (s *spoolLosses) add(some []spoolLoss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, some...)
}

func (s *spoolLosses) take() []spoolLoss {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = nil
	return list
}
