package archiver

import (
	"slices"
	"sync"

	"github.com/tapefs/tapefs/changer"
)

// peers is what the writers of one run must know of each other: who has which drive and tape.
type peers struct {
	mu     sync.Mutex // guards the fields below
	drives map[*session]string
	tapes  map[*session]changer.Barcode
}

func newPeers() *peers {
	return &peers{drives: map[*session]string{}, tapes: map[*session]changer.Barcode{}}
}

// claim reserves a tape; false: another writer of this run has it or is about to.
func (p *peers) claim(s *session, b changer.Barcode) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, tape := range p.tapes {
		if other != s && tape == b {
			return false
		}
	}
	p.tapes[s] = b
	return true
}

// others lists the drives that other writers of this run have.
func (p *peers) others(s *session) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var serials []string
	for other, serial := range p.drives {
		if other != s {
			serials = append(serials, serial)
		}
	}
	slices.Sort(serials)
	return serials
}

func (p *peers) drive(s *session, serial string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drives[s] = serial
}

// leave gives back what a writer had.
func (p *peers) leave(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.drives, s)
	delete(p.tapes, s)
}
