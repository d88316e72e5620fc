package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// Worker does what a visitor starts. Each call returns when it is done, says now and then how far it is, and ends early, with the tapes
// in order, when ctx ends.
type Worker interface {
	// Prefetch brings files, and all below directories, into the cache.
	Prefetch(ctx context.Context, ids []catalog.ID, say func(string)) error
	// Restore brings items into a folder of the server.
	Restore(ctx context.Context, items []RestoreItem, to string, say func(string)) error
	// Import takes in what lies in the mail slots.
	Import(ctx context.Context, say func(string)) error
}

// RestoreItem is a path, or one version of it.
type RestoreItem struct {
	Path    string
	Version catalog.ID // 0: what the path shows
}

// work is something that a visitor started.
type work struct {
	ID             int
	What           string
	Started, Ended time.Time
	Last           string // what it said last
	Problem        string // why it failed; "" while it runs, and when all was done
}

// jobs are what visitors started, the last ones at least.
type jobs struct {
	running sync.WaitGroup

	mu   sync.Mutex // guards the fields below
	last int
	list []*work // the newest first
	over bool    // nothing begins any more
}

const (
	// jobsAtOnce bounds what runs: a tape library has few drives.
	jobsAtOnce = 4
	// jobsKept bounds what is remembered.
	jobsKept = 20
)

// start begins a job. It ends with ctx, not with the request that started it.
func (j *jobs) start(ctx context.Context, what string, do func(ctx context.Context, say func(string)) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	busy := 0
	for _, w := range j.list {
		if w.Ended.IsZero() {
			busy++
		}
	}
	if busy >= jobsAtOnce || j.over {
		return badRequest{fmt.Sprintf("%d jobs run already; wait until one has ended", busy)}
	}
	j.last++
	w := &work{ID: j.last, What: what, Started: time.Now()}
	j.list = append([]*work{w}, j.list...)
	if len(j.list) > jobsKept {
		if i := slices.IndexFunc(j.list[jobsKept:], func(w *work) bool { return w.Ended.IsZero() }); i < 0 {
			j.list = j.list[:jobsKept]
		}
	}
	j.running.Add(1)
	go func() {
		defer j.running.Done()
		err := do(ctx, func(text string) {
			j.mu.Lock()
			defer j.mu.Unlock()
			w.Last = text
		})
		j.mu.Lock()
		defer j.mu.Unlock()
		if w.Ended = time.Now(); err != nil {
			w.Problem = err.Error()
		}
	}()
	return nil
}

// all are copies of the jobs, the newest first.
func (j *jobs) all() []work {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]work, len(j.list))
	for i, w := range j.list {
		out[i] = *w
	}
	slices.SortStableFunc(out, func(a, b work) int { return cmp.Compare(b.ID, a.ID) })
	return out
}

// wait lets nothing begin any more, and returns when all has ended.
func (j *jobs) wait() {
	j.mu.Lock()
	j.over = true
	j.mu.Unlock()
	j.running.Wait()
}

// begin starts a job for a visitor who may, and sends the browser to where it is shown.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, what string, do func(ctx context.Context, say func(string)) error) {
	if err := s.jobs.start(s.life, what, do); err != nil {
		s.fail(w, r, err)
		return
	}
	s.o.Log.Info("started from the page", "what", what, "by", s.visitor(r).Name, "from", r.RemoteAddr)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// mayAct reports whether a visitor may start things, and answers if not.
func (s *Server) mayAct(w http.ResponseWriter, r *http.Request) bool {
	if s.visitor(r).Trusted && s.o.Worker != nil {
		return true
	}
	s.render(w, r, http.StatusForbidden, "message", s.visitor(r), "only those who have the token may start things here")
	return false
}

func (s *Server) startImport(w http.ResponseWriter, r *http.Request) {
	if s.mayAct(w, r) {
		s.begin(w, r, "import from the mail slots", s.o.Worker.Import)
	}
}

func (s *Server) startPrefetch(w http.ResponseWriter, r *http.Request) {
	if !s.mayAct(w, r) {
		return
	}
	ids := basketOf(r)
	if len(ids) == 0 {
		s.fail(w, r, badRequest{"the basket is empty"})
		return
	}
	s.begin(w, r, "bring "+countText(len(ids), "entry", "entries")+" of the basket into the cache", func(ctx context.Context, say func(string)) error {
		return s.o.Worker.Prefetch(ctx, ids, say)
	})
}

func (s *Server) startRestore(w http.ResponseWriter, r *http.Request) {
	if !s.mayAct(w, r) {
		return
	}
	to := r.PostFormValue("to")
	if !slices.Contains(s.o.RestoreTo, to) {
		s.fail(w, r, badRequest{"that is none of the folders that web.restore_to in the configuration names"})
		return
	}
	var items []RestoreItem
	for _, id := range basketOf(r) {
		v, err := s.now().Get(r.Context(), id)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		full, err := s.o.Catalog.Path(r.Context(), id)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		item := RestoreItem{Path: full}
		if v.Kind == catalog.File && !v.Current {
			item.Version = id
		}
		items = append(items, item)
	}
	if len(items) == 0 {
		s.fail(w, r, badRequest{"the basket is empty"})
		return
	}
	s.begin(w, r, "restore "+countText(len(items), "entry", "entries")+" of the basket to "+to, func(ctx context.Context, say func(string)) error {
		return s.o.Worker.Restore(ctx, items, to, say)
	})
}
