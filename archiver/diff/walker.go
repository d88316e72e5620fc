package diff

import (
	"context"
	"fmt"

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

const (
	walkPage   = 500 // names of a directory that one query reads
	walkPiece  = 256 // names that are handed over at once
	WalkPieces = 128 // pieces that all walks may be ahead: some 16 MB
)

// walker walks what the catalog shows below a directory in the order of source.PathKey. It reads ahead in a goroutine of its
// own, so that what a listing is compared with is there when it ends. Not safe for concurrent use; close it.
type walker struct {
	pieces chan []walked
	cancel context.CancelFunc
	err    error // of the walk; read when pieces is closed

	piece []walked
	walked
	OK bool // there is a name in hand
}

// walked is one name.
type walked struct {
	Head catalog.Version
	Path string
	Key  []byte
}

// NewWalker begins to walk, so many pieces ahead. Names that come into being meanwhile may be seen or not.
func NewWalker(ctx context.Context, db *catalog.DB, top catalog.ID, ahead int) *walker {
	ctx, cancel := context.WithCancel(ctx)
	w := &walker{pieces: make(chan []walked, ahead), cancel: cancel}
	go func() {
		defer close(w.pieces)
		if top != 0 {
			w.err = (&walk{tree: db.Recorded(), pieces: w.pieces, stack: []level{{dir: top}}}).run(ctx)
		}
	}()
	return w
}

// Advance takes the next name in hand.
func (w *walker) Advance() error {
	w.OK = false
	if len(w.piece) == 0 {
		if w.piece = <-w.pieces; len(w.piece) == 0 {
			return w.err
		}
	}
	w.walked, w.piece, w.OK = w.piece[0], w.piece[1:], true
	return nil
}

// Close ends the walk, wherever it is.
func (w *walker) Close() {
	w.cancel()
	for range w.pieces {
	}
}

// walk is the goroutine's side of a walker. It keeps one page for each level.
type walk struct {
	tree   *catalog.View // the fast way to read it
	pieces chan<- []walked
	stack  []level
	piece  []walked
}

type level struct {
	dir  catalog.ID
	path string
	page []catalog.Version
	last string // name; "" at the start
	end  bool   // no page follows
}

func (w *walk) run(ctx context.Context) error {
	for len(w.stack) > 0 {
		l := &w.stack[len(w.stack)-1]
		if len(l.page) == 0 && !l.end {
			err := w.tree.ChildrenByName(ctx, l.dir, l.last, walkPage, func(v *catalog.Version) error {
				l.page = append(l.page, *v)
				return nil
			})
			if err != nil {
				return fmt.Errorf("walk the catalog: %w", err)
			}
			if l.end = len(l.page) < walkPage; len(l.page) > 0 {
				l.last = l.page[len(l.page)-1].Name
			}
		}
		if len(l.page) == 0 {
			w.stack = w.stack[:len(w.stack)-1]
			continue
		}
		v := l.page[0]
		l.page = l.page[1:]
		path := localfs.JoinPath(l.path, v.Name)
		w.piece = append(w.piece, walked{v, path, source.PathKey(path)})
		if len(w.piece) == walkPiece {
			if err := w.hand(ctx); err != nil {
				return err
			}
		}
		if v.Kind == catalog.Directory {
			w.stack = append(w.stack, level{dir: v.ID, path: path})
		}
	}
	return w.hand(ctx)
}

// hand gives a piece to who reads.
func (w *walk) hand(ctx context.Context) error {
	if len(w.piece) == 0 {
		return nil
	}
	select {
	case w.pieces <- w.piece:
		w.piece = make([]walked, 0, walkPiece)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
