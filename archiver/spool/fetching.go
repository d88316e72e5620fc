package spool

import (
	"context"
	"maps"
	"sync"

	"github.com/tapefs/tapefs/catalog"
)

// InFlight is what is being fetched into the spool. Safe for concurrent use.
type InFlight struct {
	room    sync.Mutex // held while room is looked for: two batches must not find the same
	mu      sync.Mutex // guards the fields below
	batches map[int64]catalog.Batch
	ended   chan struct{} // closed when one is not being fetched any more; nil: nobody waits
}

// Admit adds a batch when fits, which is asked for one batch at a time, says so. The caller ends it.
func (s *Spool) Admit(ctx context.Context, b catalog.Batch, fits func(context.Context, catalog.Batch) (bool, error)) (bool, error) {
	f := &s.Fetching
	f.room.Lock()
	defer f.room.Unlock()
	ok, err := fits(ctx, b)
	if !ok || err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.batches == nil {
		f.batches = map[int64]catalog.Batch{}
	}
	f.batches[b.ID] = b
	return true, nil
}

// End says that a batch is not being fetched any more.
func (f *InFlight) End(b catalog.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.batches, b.ID)
	if f.ended != nil {
		close(f.ended)
		f.ended = nil
	}
}

// Look counts the batches, and gives a channel that is closed when the next one ends.
func (f *InFlight) Look() (n int, ended <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended == nil {
		f.ended = make(chan struct{})
	}
	return len(f.batches), f.ended
}

// Since is look, and counts what has ended since a channel was given out as well.
func (f *InFlight) Since(ended <-chan struct{}) (int, <-chan struct{}) {
	select {
	case <-ended:
		return 1, ended
	default:
		return f.Look()
	}
}

// All lists the batches.
func (f *InFlight) All() map[int64]catalog.Batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.batches)
}
