package archiver

import (
	"context"
	"slices"
	"sync"

	"tapefs/archiver/volume"
	"tapefs/changer"
)

// peers is what the writers of one run must know of each other: who has which drive and tape.
type peers struct {
	mu     sync.Mutex // guards the fields below
	drives map[*writer]string
	tapes  map[*writer]changer.Barcode
}

func newPeers() *peers {
	return &peers{drives: map[*writer]string{}, tapes: map[*writer]changer.Barcode{}}
}

// claim reserves a tape; false: another writer of this run has it or is about to.
func (p *peers) claim(w *writer, b changer.Barcode) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, tape := range p.tapes {
		if other != w && tape == b {
			return false
		}
	}
	p.tapes[w] = b
	return true
}

// others lists the drives that other writers of this run have.
func (p *peers) others(w *writer) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var serials []string
	for other, serial := range p.drives {
		if other != w {
			serials = append(serials, serial)
		}
	}
	slices.Sort(serials)
	return serials
}

func (p *peers) drive(w *writer, serial string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drives[w] = serial
}

// avoid lists the drives that this writer must not take: those that are set aside, and those of other
// writers of this run. When no other is left the followers give theirs back.
func (w *writer) avoid(ctx context.Context) ([]string, error) {
	avoid, err := volume.SetAside(ctx, w.a.env)
	if err != nil {
		return nil, err
	}
	all := append(avoid, w.peers.others(w)...)
	for _, d := range w.a.env.Lib.Present() {
		if !slices.Contains(all, d.Serial) {
			return all, nil
		}
	}
	if err := w.stopAll(); err != nil {
		return nil, err
	}
	return append(avoid, w.peers.others(w)...), nil
}

// leave gives back what a writer had.
func (p *peers) leave(w *writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.drives, w)
	delete(p.tapes, w)
}
