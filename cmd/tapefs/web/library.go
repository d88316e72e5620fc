package web

import (
	"context"
	"sync"
	"time"
)

// Library looks at drives and slots. It may take seconds, and waits for the robot.
type Library interface {
	Look(ctx context.Context) (Shelf, error)
}

// Shelf is what a library holds.
type Shelf struct {
	Drives []Drive
	Slots  []Slot
}

// Drive is a drive and the cartridge in it.
type Drive struct {
	Element int
	Serial  string
	Full    bool
	Barcode string // "" when it is empty, or when the label cannot be read
	State   string // one or two words: mounted, loaded, empty
	Holder  string // who uses it; "" when nobody does
	Suspect string // why nothing is written with it
}

// Slot is a place for a cartridge.
type Slot struct {
	Number  int
	Mail    bool
	Full    bool
	Barcode string
	Kind    string // what the cartridge is, if it is no tape of the archive: cleaning, write-once
}

const (
	// shelfAge is how old what is shown of the library may be before it is read again. Each reading runs mtx and mt, and probes
	// the drives' locks: it is not for every page that somebody looks at.
	shelfAge = 10 * time.Second
	// shelfPatience bounds one reading.
	shelfPatience = 2 * time.Minute
)

// shelfReader reads the library now and then, for as long as somebody asks. Whoever asks gets the last reading at once, and waits only
// for the first.
type shelfReader struct {
	library Library // nil: there is none

	mu      sync.Mutex // guards the fields below
	reading chan struct{}
	last    Shelf
	err     error
	at      time.Time // of last or err; zero: none yet
}

// look returns the last reading and when it was made.
func (r *shelfReader) look(ctx context.Context) (Shelf, time.Time, error) {
	r.mu.Lock()
	if r.reading == nil && time.Since(r.at) > shelfAge {
		r.reading = make(chan struct{})
		go r.read(context.WithoutCancel(ctx), r.reading)
	}
	first := r.at.IsZero()
	wait := r.reading
	r.mu.Unlock()
	if first {
		select {
		case <-wait:
		case <-ctx.Done():
			return Shelf{}, time.Time{}, ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.at, r.err
}

func (r *shelfReader) read(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, shelfPatience)
	defer cancel()
	shelf, err := r.library.Look(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last, r.err, r.at, r.reading = shelf, err, time.Now(), nil; err != nil {
		r.last = Shelf{}
	}
	close(done)
}

// inside are the barcodes that the last reading found, those that nobody read yet left out.
func (r *shelfReader) inside() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string]bool{}
	for _, d := range r.last.Drives {
		found[d.Barcode] = true
	}
	for _, s := range r.last.Slots {
		found[s.Barcode] = true
	}
	delete(found, "")
	return found
}

// drives is how many drives the last reading found.
func (s *Server) drives() int {
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	return len(s.shelf.last.Drives)
}
