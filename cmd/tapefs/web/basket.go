package web

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// The basket is a list of versions and directories that the browser keeps: it says nothing that its owner could not ask for anyway.
const (
	basketCookie = "tapefs_basket"
	basketMost   = 200
	basketLasts  = 7 * 24 * time.Hour
)

func basketOf(r *http.Request) []catalog.ID {
	c, err := r.Cookie(basketCookie)
	if err != nil {
		return nil
	}
	var ids []catalog.ID
	for word := range strings.SplitSeq(c.Value, ".") {
		id, err := strconv.ParseInt(word, 10, 64)
		if err == nil && id > 0 && len(ids) < basketMost && !slices.Contains(ids, catalog.ID(id)) {
			ids = append(ids, catalog.ID(id))
		}
	}
	return ids
}

func setBasket(w http.ResponseWriter, ids []catalog.ID) {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.FormatInt(int64(id), 10)
	}
	c := &http.Cookie{Name: basketCookie, Value: strings.Join(words, "."), Path: "/", MaxAge: int(basketLasts.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if len(ids) == 0 {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// changeBasket adds or takes out what a form names.
func (s *Server) changeBasket(w http.ResponseWriter, r *http.Request) {
	if !s.admit(w, s.visitor(r)) {
		return
	}
	if err := r.ParseForm(); err != nil {
		s.fail(w, r, badRequest{"the form cannot be read"})
		return
	}
	ids := basketOf(r)
	for _, word := range r.PostForm["id"] {
		id, err := strconv.ParseInt(word, 10, 64)
		if err != nil || id <= 0 {
			s.fail(w, r, badRequest{"an entry has a number"})
			return
		}
		ids = slices.DeleteFunc(ids, func(have catalog.ID) bool { return have == catalog.ID(id) })
		if r.PostForm.Get("do") != "remove" {
			ids = append(ids, catalog.ID(id))
		}
	}
	if r.PostForm.Get("do") == "clear" {
		ids = nil
	}
	if len(ids) > basketMost {
		s.fail(w, r, badRequest{"a basket holds 200 entries; put in the directory instead of its files"})
		return
	}
	setBasket(w, ids)
	http.Redirect(w, r, "/basket", http.StatusSeeOther)
}

// basketPage is what was put in, and what it would take to bring it.
type basketPage struct {
	place
	Rows      []basketRow
	Estimate  estimate
	RestoreTo []string
	May       bool // the visitor may start it
}

type basketRow struct {
	ID   catalog.ID
	Path string
	Dir  bool
	Size int64
	Old  bool // not what the path shows now
}

func (s *Server) basket(r *http.Request, v visitor) (any, error) {
	ctx := r.Context()
	page := basketPage{RestoreTo: s.o.RestoreTo, May: v.Trusted && s.o.Worker != nil}
	e := s.newEstimator()
	for _, id := range basketOf(r) {
		entry, err := s.now().Get(ctx, id)
		if errors.Is(err, catalog.ErrNotFound) || err == nil && entry.State == catalog.Forgotten {
			continue
		}
		if err == nil {
			err = s.mayReadChain(ctx, v, &entry)
		}
		if errors.Is(err, errHidden) {
			continue
		}
		if err != nil {
			return nil, err
		}
		full, err := s.o.Catalog.Path(ctx, id)
		if err != nil {
			return nil, err
		}
		page.Rows = append(page.Rows, basketRow{ID: id, Path: full, Dir: entry.Kind == catalog.Directory, Size: entry.Size, Old: !entry.Current && entry.Kind == catalog.File})
		if err := e.add(ctx, v, &entry); err != nil {
			return nil, err
		}
	}
	page.Estimate = e.sum(s.drives(), s.readRate(ctx))
	return page, nil
}

// estimate says what bringing files back takes, if nothing of them is cached.
type estimate struct {
	Files   int64
	Bytes   int64
	Tapes   []tapeEstimate // the most bytes first
	Lost    int64          // files without bytes anywhere
	Minutes int
	Cut     bool // there is more than was counted
}

type tapeEstimate struct {
	Barcode string
	Bytes   int64
	Away    bool // not in the library, as far as is known
}

const (
	// estimateFiles and estimatePatience bound what is counted: a page is not to be waited for.
	estimateFiles    = 50_000
	estimatePatience = 5 * time.Second
	// changeOfTape is what each tape costs beside its bytes: moves, threading, mounting LTFS, winding.
	changeOfTape = 4 * time.Minute
	// usualRate is how fast a tape is read where no run says anything, bytes a second: LTO-6, and what a network gives.
	usualRate = 150e6
)

// estimator adds up files by tape.
type estimator struct {
	s       *Server
	until   time.Time
	inside  map[string]bool // barcodes in the library
	locator *catalog.Locator
	tapes   map[string]int64
	estimate
}

func (s *Server) newEstimator() *estimator {
	return &estimator{s: s, until: time.Now().Add(estimatePatience), inside: s.shelf.inside(), locator: s.o.Catalog.Locator(), tapes: map[string]int64{}}
}

// errCut ends a walk that takes too long.
var errCut = errors.New("enough was counted")

func (e *estimator) add(ctx context.Context, v visitor, top *catalog.Version) error {
	var err error
	switch top.Kind {
	case catalog.File:
		err = e.file(ctx, top)
	case catalog.Directory:
		err = e.s.now().Walk(ctx, top.ID, func(_ string, f *catalog.Version) error {
			if f.Kind != catalog.File || !v.mayRead(f) {
				return nil
			}
			return e.file(ctx, f)
		})
	}
	if errors.Is(err, errCut) {
		e.Cut, err = true, nil
	}
	return err
}

func (e *estimator) file(ctx context.Context, f *catalog.Version) error {
	if e.Files >= estimateFiles || time.Now().After(e.until) {
		return errCut
	}
	e.Files++
	e.Bytes += f.Size
	if f.Size == 0 {
		return nil
	}
	loc, err := e.locator.Locate(ctx, f.ID)
	if err != nil {
		return err
	}
	if loc.Batch != nil {
		return nil // in the spool
	}
	if len(loc.Places) == 0 {
		e.Lost++
		return nil
	}
	best := loc.Places[0]
	for _, p := range loc.Places {
		if !slices.ContainsFunc(p.Parts, func(part catalog.CopyPart) bool { return !e.inside[part.Barcode] }) {
			best = p
			break
		}
	}
	e.spread(&loc, best, f.Size)
	return nil
}

// spread gives a file's bytes to the tapes that have them.
func (e *estimator) spread(loc *catalog.Location, place catalog.Place, size int64) {
	from, to := loc.Data, loc.Data+size
	for _, part := range place.Parts {
		begin, end := int64(0), int64(math.MaxInt64)
		if step := loc.Object.PartSize; step > 0 {
			begin, end = int64(part.Number)*step, int64(part.Number+1)*step
		}
		if n := min(to, end) - max(from, begin); n > 0 {
			e.tapes[part.Barcode] += n
		}
	}
}

// sum makes the estimate. The tapes are shared by the drives, and no drive is done before its longest tape.
func (e *estimator) sum(drives int, rate float64) estimate {
	var whole, longest time.Duration
	for barcode, bytes := range e.tapes {
		e.Tapes = append(e.Tapes, tapeEstimate{barcode, bytes, !e.inside[barcode]})
		took := changeOfTape + time.Duration(float64(bytes)/rate*float64(time.Second))
		whole, longest = whole+took, max(longest, took)
	}
	slices.SortFunc(e.Tapes, func(a, b tapeEstimate) int {
		if a.Bytes != b.Bytes {
			return int(min(max(b.Bytes-a.Bytes, -1), 1))
		}
		return strings.Compare(a.Barcode, b.Barcode)
	})
	e.Minutes = int(math.Ceil(max(whole/time.Duration(max(drives, 1)), longest).Minutes()))
	return e.estimate
}

// readRate is how fast the drives of this machine are, bytes a second: the median of the last runs that wrote.
func (s *Server) readRate(ctx context.Context) float64 {
	rows, err := s.runRows(ctx, runsShown)
	if err != nil {
		return usualRate
	}
	var rates []float64
	for _, r := range rows {
		if r.Rate > 0 {
			rates = append(rates, r.Rate)
		}
	}
	if len(rates) == 0 {
		return usualRate
	}
	slices.Sort(rates)
	return rates[len(rates)/2]
}
