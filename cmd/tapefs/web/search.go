package web

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

const (
	// foundShown is how many hits a search shows.
	foundShown = 200
	// searchPatience bounds one search: ten million names take a few seconds.
	searchPatience = 20 * time.Second
)

// searchPage has the hits of a search.
type searchPage struct {
	place
	Words string
	Rows  []entryRow
	Cut   bool // there may be more
}

// Query is what was searched for.
func (p *searchPage) Query() string { return p.Words }

// errEnough ends a search.
var errEnough = errors.New("enough was found")

// search looks for names that hold all words, in the archive as it is or was.
func (s *Server) search(r *http.Request, v visitor) (any, error) {
	p, err := s.placeOf(r)
	if err != nil {
		return nil, err
	}
	page := &searchPage{place: p, Words: strings.TrimSpace(r.URL.Query().Get("q"))}
	words := strings.Fields(page.Words)
	if len(words) == 0 {
		return page, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), searchPatience)
	defer cancel()
	tree, seen := s.o.Catalog.View(p.time, false), map[string]bool{}
	err = s.o.Catalog.SearchNames(ctx, words, 0, func(e catalog.NamedEntry) error {
		full, err := s.o.Catalog.Path(ctx, e.Parent)
		if err != nil {
			return err
		}
		full = strings.TrimSuffix(full, "/") + "/" + e.Name
		if seen[full] {
			return nil
		}
		seen[full] = true
		shown, err := tree.Lookup(ctx, e.Parent, e.Name)
		if errors.Is(err, catalog.ErrNotFound) {
			return nil // it was not there then
		}
		if err == nil {
			err = s.mayReadChain(ctx, v, &shown)
		}
		if errors.Is(err, errHidden) {
			return nil
		}
		if err != nil {
			return err
		}
		row := p.row(v, full, &shown)
		row.Name = full
		if page.Rows = append(page.Rows, row); len(page.Rows) == foundShown {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || ctx.Err() != nil && r.Context().Err() == nil {
		page.Cut, err = true, nil
	}
	return page, err
}

func hexText(b []byte) string { return hex.EncodeToString(b) }
