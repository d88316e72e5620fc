package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// Queue tells what readers wait for.
type Queue interface {
	// Waiting lists what is to be read from tape, the oldest first. ErrNoMount: nobody reads.
	Waiting(ctx context.Context) ([]Waiting, error)
}

// Waiting is what the queue has to read of one object.
type Waiting struct {
	Object  string
	Tapes   string
	Extents int
	Readers int
	Since   time.Time
	Files   []WaitingFile
}

// WaitingFile is a file that a reader waits for.
type WaitingFile struct {
	ID      catalog.ID
	User    uint32
	Program string // "" where it is not known
	Path    string // filled in by the page, for those who may see it
}

// overview is the first page.
type overview struct {
	Files, Bytes int64
	Lost         int
	Debts        []catalog.Debt
	Damages      []catalog.Damage

	Library    bool // one is configured
	Problem    string
	At         time.Time // of the reading of the library
	Drives     []driveCard
	Mail       []slotCard
	Slots      []slotCard
	Pools      []poolLegend
	Wanted     []catalog.WantedTape
	Waiting    []Waiting
	QueueError string
	Running    []runRow
	Started    []work // from the page
	May        bool   // the visitor may start things
}

// poolLegend explains a colour.
type poolLegend struct {
	Name  string
	Class string
}

// driveCard is a drive as it is drawn.
type driveCard struct {
	Drive
	Tape *tapeCard
}

// slotCard is a slot as it is drawn.
type slotCard struct {
	Slot
	Tape   *tapeCard // nil: empty, or no tape of the archive
	Wanted bool
}

// tapeCard is a tape as it is drawn.
type tapeCard struct {
	Barcode, Pool, State string
	Class                string // of its pool's colour
	Full                 int    // percent of its capacity
	Free                 int64
	Place                string
}

func (s *Server) overview(r *http.Request, v visitor) (any, error) {
	ctx := r.Context()
	o := &overview{Library: s.o.Library != nil, May: v.Trusted && s.o.Worker != nil}
	if v.Trusted { // what a job says names files
		o.Started = s.jobs.all()
	}
	var err error
	if o.Files, o.Bytes, err = s.o.Catalog.Totals(ctx); err != nil {
		return nil, err
	}
	if o.Lost, _, _, err = s.o.Catalog.Losses(ctx); err != nil {
		return nil, err
	}
	if o.Debts, err = s.o.Catalog.Debts(ctx); err != nil {
		return nil, err
	}
	if o.Damages, err = s.o.Catalog.Damages(ctx); err != nil {
		return nil, err
	}
	if o.Wanted, err = s.o.Catalog.Wanted(ctx); err != nil {
		return nil, err
	}
	if err := s.draw(ctx, o); err != nil {
		return nil, err
	}
	if s.o.Queue != nil {
		if o.Waiting, err = s.o.Queue.Waiting(ctx); err != nil {
			o.QueueError = err.Error()
		}
		if err := s.nameWaiting(ctx, v, o.Waiting); err != nil {
			return nil, err
		}
	}
	o.Running, err = s.running(ctx)
	return o, err
}

// nameWaiting finds the paths of files that readers wait for, and leaves out those that the visitor may not see.
func (s *Server) nameWaiting(ctx context.Context, v visitor, list []Waiting) error {
	for i := range list {
		shown := list[i].Files[:0]
		for _, f := range list[i].Files {
			entry, err := s.now().Get(ctx, f.ID)
			if err == nil {
				err = s.mayReadChain(ctx, v, &entry)
			}
			if errors.Is(err, errHidden) || errors.Is(err, catalog.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if f.Path, err = s.o.Catalog.Path(ctx, f.ID); err != nil {
				return err
			}
			shown = append(shown, f)
		}
		list[i].Files = shown
	}
	return nil
}

// draw fills in drives and slots, with what the catalog knows of the tapes in them.
func (s *Server) draw(ctx context.Context, o *overview) error {
	if s.o.Library == nil {
		return nil
	}
	tapes, err := s.cards(ctx)
	if err != nil {
		return err
	}
	shelf, at, err := s.shelf.look(ctx)
	if err != nil {
		o.Problem = err.Error()
	}
	o.At = at
	for _, d := range shelf.Drives {
		o.Drives = append(o.Drives, driveCard{d, tapes[d.Barcode]})
	}
	wanted := map[string]bool{}
	for _, w := range o.Wanted {
		wanted[w.Barcode] = true
	}
	for _, slot := range shelf.Slots {
		card := slotCard{slot, tapes[slot.Barcode], wanted[slot.Barcode]}
		if slot.Mail {
			o.Mail = append(o.Mail, card)
		} else {
			o.Slots = append(o.Slots, card)
		}
	}
	for _, name := range s.o.Pools {
		o.Pools = append(o.Pools, poolLegend{name, s.poolClass(name)})
	}
	return nil
}

// cards are the catalog's tapes by barcode.
func (s *Server) cards(ctx context.Context) (map[string]*tapeCard, error) {
	tapes, err := s.o.Catalog.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	cards := map[string]*tapeCard{}
	for _, t := range tapes {
		cards[t.Barcode] = &tapeCard{Barcode: t.Barcode, Pool: t.PoolName, State: t.State, Class: s.poolClass(t.PoolName),
			Full: percentFull(t), Free: freeOf(t), Place: t.Place}
	}
	return cards, nil
}

// freeOf is what can still be written to a tape: what it said when it was last mounted, less what was written since.
func freeOf(t catalog.Tape) int64 {
	if t.Capacity <= 0 {
		return t.Free
	}
	return max(min(t.Free, t.Capacity-t.Used-t.Leftover), 0)
}

// percentFull never shows a tape as empty that holds something, or as full that takes more.
func percentFull(t catalog.Tape) int {
	if t.Capacity <= 0 {
		return 0
	}
	n := int(100 * float64(t.Capacity-freeOf(t)) / float64(t.Capacity))
	if t.Used > 0 {
		n = max(n, 1)
	}
	return min(n, 100)
}

// colours is how many colours the style has for pools.
const colours = 6

// poolClass names the colour of a pool in the style. A pool that is in no configuration has none of its own.
func (s *Server) poolClass(name string) string {
	i := slices.Index(s.o.Pools, name)
	if i < 0 {
		return "pool-other"
	}
	return "pool-" + string(rune('0'+i%colours))
}

// running are the runs that are under way.
func (s *Server) running(ctx context.Context) ([]runRow, error) {
	runs, err := s.o.Catalog.Runs(ctx, 20)
	if err != nil {
		return nil, err
	}
	var rows []runRow
	for _, r := range runs {
		if r.Ended.IsZero() && r.State == stateRunning && s.o.Alive(r) {
			rows = append(rows, runRow{ID: r.ID, Kind: r.Kind, Started: r.Started, State: r.State})
		}
	}
	slices.SortFunc(rows, func(a, b runRow) int { return cmp.Compare(b.ID, a.ID) })
	return rows, nil
}
