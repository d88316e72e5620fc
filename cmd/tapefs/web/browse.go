package web

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// errHidden says that not everybody may read something, and that the visitor is just anybody.
var errHidden = errors.New("not everybody may read this")

// Modes of files and directories that let anybody in.
const (
	othersRead = 0o004
	othersLook = 0o005
)

// mayRead reports whether a visitor may read an entry, wherever it lies: anybody may what its mode says of others.
func (v visitor) mayRead(e *catalog.Version) bool {
	switch {
	case v.Trusted, e.ID == catalog.Root, e.Kind == catalog.Symlink:
		return true
	case e.Kind == catalog.Directory:
		return e.Mode&othersLook == othersLook
	}
	return e.Mode&othersRead != 0
}

// mayReadChain returns errHidden where a visitor may not read an entry, or not get to it.
func (s *Server) mayReadChain(ctx context.Context, v visitor, e *catalog.Version) error {
	tree, at := s.now(), *e
	for {
		if !v.mayRead(&at) {
			return errHidden
		}
		if v.Trusted || at.ID == catalog.Root {
			return nil
		}
		var err error
		if at, err = tree.Get(ctx, at.Parent); err != nil {
			return err
		}
	}
}

func (s *Server) now() *catalog.View { return s.o.Catalog.View(time.Time{}, false) }

// place is a path at a time, as links name it.
type place struct {
	Path string // clean, with one leading slash
	At   string // as it was typed; "" for now
	time time.Time
}

// placeOf reads path and time from the query.
func (s *Server) placeOf(r *http.Request) (place, error) {
	q := r.URL.Query()
	named := q.Get("path")
	if text := q.Get("path64"); text != "" { // of a form: browsers change what is no UTF-8 in other fields, and line ends
		bytes, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return place{}, badRequest{"path64 is no base64"}
		}
		named = string(bytes)
	}
	p := place{Path: path.Clean("/" + named), At: strings.TrimSpace(q.Get("at"))}
	if p.At == "" || s.o.Moment == nil {
		p.At = ""
		return p, nil
	}
	var err error
	if p.time, err = s.o.Moment(p.At); err != nil {
		return p, badRequest{err.Error()}
	}
	return p, nil
}

// link is a page about a path. Names are bytes, and stand in links as such.
func (p place) link(page, of string) string {
	q := url.Values{"path": {of}}
	if p.At != "" {
		q.Set("at", p.At)
	}
	return page + "?" + q.Encode()
}

// Now is the same path as it is.
func (p place) Now() string { return place{}.link("/browse", p.Path) }

// Path64 is the path as a form can carry it.
func (p place) Path64() string { return base64.RawURLEncoding.EncodeToString([]byte(p.Path)) }

// Query is what was searched for: nothing, on pages that are no search.
func (p place) Query() string { return "" }

// find resolves a path step by step, and stops where the visitor may not go on.
func (s *Server) find(ctx context.Context, v visitor, p place) (catalog.Version, error) {
	tree := s.o.Catalog.View(p.time, false)
	at, err := tree.Get(ctx, catalog.Root)
	for name := range strings.SplitSeq(strings.Trim(p.Path, "/"), "/") {
		if err != nil || name == "" {
			break
		}
		if at, err = tree.Lookup(ctx, at.ID, name); err == nil && !v.mayRead(&at) {
			err = errHidden
		}
	}
	return at, err
}

// entryRow is a file, directory or symlink in a list.
type entryRow struct {
	Name, Link string
	Kind       string // dir, file, link
	Size       int64
	Modified   time.Time
	Vanished   time.Time
	Removed    bool // with Vanished
	Target     string
	Hidden     bool // not everybody may read it
	ID         catalog.ID
}

func (p place) row(v visitor, full string, e *catalog.Version) entryRow {
	row := entryRow{Name: e.Name, Size: e.Size, Modified: time.Unix(e.MTime.Sec, int64(e.MTime.Nsec)), Vanished: e.Vanished, Removed: e.Removed, Target: e.Target, Hidden: !v.mayRead(e), ID: e.ID}
	switch e.Kind {
	case catalog.Directory:
		row.Kind, row.Link = "dir", p.link("/browse", full)
	case catalog.Symlink:
		row.Kind = "link"
	default:
		row.Kind, row.Link = "file", p.link("/entry", full)
	}
	if row.Hidden {
		row.Link = ""
	}
	return row
}

// crumb is a directory above.
type crumb struct{ Name, Link string }

func (p place) crumbs() []crumb {
	list := []crumb{{"archive", p.link("/browse", "/")}}
	full := ""
	for name := range strings.SplitSeq(strings.Trim(p.Path, "/"), "/") {
		if name != "" {
			full += "/" + name
			list = append(list, crumb{name, p.link("/browse", full)})
		}
	}
	return list
}

// browsePage is a directory.
type browsePage struct {
	place
	Crumbs []crumb
	Rows   []entryRow
	More   string // link to the next part; "" at the end
}

// entriesShown is how many entries of a directory are on one page.
const entriesShown = 500

func (s *Server) browse(r *http.Request, v visitor) (any, error) {
	p, err := s.placeOf(r)
	if err != nil {
		return nil, err
	}
	dir, err := s.find(r.Context(), v, p)
	if err != nil {
		return nil, err
	}
	if dir.Kind != catalog.Directory {
		return nil, badRequest{"that is no directory"}
	}
	page := browsePage{place: p, Crumbs: p.crumbs()}
	after, n := r.URL.Query().Get("after"), 0
	err = s.o.Catalog.View(p.time, false).ChildrenByName(r.Context(), dir.ID, after, entriesShown, func(e *catalog.Version) error {
		n++
		after = strings.Clone(e.Name)
		row := p.row(v, path.Join(p.Path, e.Name), e)
		row.Name = strings.Clone(e.Name)
		page.Rows = append(page.Rows, row)
		return nil
	})
	if n == entriesShown {
		page.More = p.link("/browse", p.Path) + "&after=" + url.QueryEscape(after)
	}
	return page, err
}

// entryPage is all that is known of a file.
type entryPage struct {
	place
	Crumbs   []crumb
	Name     string
	Versions []versionRow // the newest first
}

// versionRow is one state of a file, and where it is.
type versionRow struct {
	ID           catalog.ID
	Number       int // 1 is the oldest
	Shown        bool
	Size         int64
	Modified     time.Time
	Since, Until time.Time
	Vanished     time.Time
	Removed      bool   // with Vanished
	Link         string // "" where there are no bytes
	Play         string // video, audio, or ""
	Kind         string
	SHA256       string
	Tapes        []string
	Spooled      bool
}

func (s *Server) entry(r *http.Request, v visitor) (any, error) {
	ctx := r.Context()
	p, err := s.placeOf(r)
	if err != nil {
		return nil, err
	}
	shown, err := s.find(ctx, v, p)
	if err != nil {
		return nil, err
	}
	if shown.Kind != catalog.File {
		return nil, badRequest{"that is no file"}
	}
	list, err := s.o.Catalog.Versions(ctx, shown.Parent, shown.Name)
	if err != nil {
		return nil, err
	}
	page := entryPage{place: p, Crumbs: p.crumbs()[:len(p.crumbs())-1], Name: shown.Name}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Kind != catalog.File || !v.mayRead(&list[i]) {
			continue
		}
		row, err := s.versionRow(ctx, &list[i])
		if err != nil {
			return nil, err
		}
		row.Number, row.Shown = i+1, list[i].ID == shown.ID
		page.Versions = append(page.Versions, row)
	}
	return page, nil
}

func (s *Server) versionRow(ctx context.Context, e *catalog.Version) (versionRow, error) {
	row := versionRow{ID: e.ID, Size: e.Size, Modified: time.Unix(e.MTime.Sec, int64(e.MTime.Nsec)), Since: e.Since, Until: e.Until, Vanished: e.Vanished, Removed: e.Removed}
	if len(e.SHA256) > 0 {
		row.SHA256 = hexText(e.SHA256)
	}
	loc, err := s.o.Catalog.Locate(ctx, e.ID)
	if err != nil {
		return row, err
	}
	row.Spooled = loc.Batch != nil
	seen := map[string]bool{}
	for _, place := range loc.Places {
		for _, part := range place.Parts {
			if !seen[part.Barcode] {
				seen[part.Barcode] = true
				row.Tapes = append(row.Tapes, part.Barcode)
			}
		}
	}
	if e.State == catalog.Present && s.o.Contents != nil && (row.Spooled || len(row.Tapes) > 0 || e.Size == 0) {
		row.Link = "/file/" + strconv.FormatInt(int64(e.ID), 10) + "/" + url.PathEscape(e.Name)
		row.Play = playable(e.Name)
		row.Kind, _ = contentType(e.Name)
	}
	return row, nil
}
