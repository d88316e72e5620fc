package archiver

import (
	"context"
	"maps"
	"sync"

	"tapefs/catalog"
)

// fetching is what is being fetched into the spool. Safe for concurrent use.
type fetching struct {
	room    sync.Mutex // held while room is looked for: two batches must not find the same
	mu      sync.Mutex // guards the fields below
	batches map[int64]catalog.Batch
	ended   chan struct{} // closed when one is not being fetched any more; nil: nobody waits
}

// admit adds a batch when fits, which is asked for one batch at a time, says so. The caller ends it.
func (a *Archiver) admit(ctx context.Context, b catalog.Batch, fits func(context.Context, catalog.Batch) (bool, error)) (bool, error) {
	f := &a.fetching
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

// end says that a batch is not being fetched any more.
func (f *fetching) end(b catalog.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.batches, b.ID)
	if f.ended != nil {
		close(f.ended)
		f.ended = nil
	}
}

// look counts the batches, and gives a channel that is closed when the next one ends.
func (f *fetching) look() (n int, ended <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended == nil {
		f.ended = make(chan struct{})
	}
	return len(f.batches), f.ended
}

// since is look, and counts what has ended since a channel was given out as well.
func (f *fetching) since(ended <-chan struct{}) (int, <-chan struct{}) {
	select {
	case <-ended:
		return 1, ended
	default:
		return f.look()
	}
}

// all lists the batches.
func (f *fetching) all() map[int64]catalog.Batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.batches)
}
