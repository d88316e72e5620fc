package web

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// Catalog is what the page reads of the catalog.
type Catalog interface {
	View(at time.Time, hideVanished bool) *catalog.View
	Totals(ctx context.Context) (files, bytes int64, err error)
	Losses(ctx context.Context) (versions, current int, bytes int64, err error)
	Tapes(ctx context.Context) ([]catalog.Tape, error)
	TapeProofs(ctx context.Context) (map[int64]catalog.TapeProof, error)
	Wanted(ctx context.Context) ([]catalog.WantedTape, error)
	Debts(ctx context.Context) ([]catalog.Debt, error)
	Damages(ctx context.Context) ([]catalog.Damage, error)
	Runs(ctx context.Context, limit int) ([]catalog.Run, error)
	RunReport(ctx context.Context, id int64) (catalog.RunReport, error)
	Versions(ctx context.Context, parent catalog.ID, name string) ([]catalog.Version, error)
	Path(ctx context.Context, id catalog.ID) (string, error)
	Locate(ctx context.Context, id catalog.ID) (catalog.Location, error)
	Locator() *catalog.Locator
	SearchNames(ctx context.Context, words []string, after catalog.ID, fn func(catalog.NamedEntry) error) error
}

var _ Catalog = (*catalog.DB)(nil)

// Options are what a page shows, and to whom.
type Options struct {
	Catalog   Catalog
	Library   Library  // nil: none is configured
	Queue     Queue    // nil: nothing is known of readers
	Contents  Contents // nil: no file can be downloaded
	Metrics   http.Handler
	Worker    Worker   // nil: nothing can be started
	RestoreTo []string // folders to which visitors may restore
	Pools     []string // names, in the order in which they get their colours

	// Moment reads a time that a visitor typed: a day, a time, or how long ago.
	Moment func(text string) (time.Time, error)
	// Alive reports whether the process of a run that has not ended is still there.
	Alive func(catalog.Run) bool

	// Token lets whoever shows it see and do everything; "": nobody can be more than a reader.
	Token string
	// Hosts are further names by which the page may be asked for, without a port.
	Hosts []string
	// UserHeader is the header in which a reverse proxy says who asks; "": none is believed.
	UserHeader string
	// Proxies are the addresses from which UserHeader is believed, beside the unix socket.
	Proxies []string
	// Closed shows nothing to visitors without a token.
	Closed bool

	Version string
	Log     *slog.Logger // nil: nothing is logged
}

// Server answers the requests of browsers. Safe for concurrent use.
type Server struct {
	o     Options
	pages map[string]*template.Template
	shelf shelfReader
	jobs  jobs
	life  context.Context // of what visitors start: ends when Serve does
}

//go:embed pages static
var embedded embed.FS

// New makes a page. It reads nothing yet.
func New(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, pages: map[string]*template.Template{}, life: context.Background()}
	s.shelf.library = o.Library
	files, err := embedded.ReadDir("pages")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.Name() == "frame.html" || f.Name() == "parts.html" {
			continue
		}
		t, err := template.New("frame.html").Funcs(s.functions()).ParseFS(embedded, "pages/frame.html", "pages/parts.html", "pages/"+f.Name())
		if err != nil {
			return nil, fmt.Errorf("read page %s: %w", f.Name(), err)
		}
		s.pages[strings.TrimSuffix(f.Name(), ".html")] = t
	}
	return s, nil
}

// Handler answers all requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	page := func(pattern string, name string, data func(r *http.Request, v visitor) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, name, data) })
	}
	page("GET /{$}", "overview", s.overview)
	page("GET /live", "live", s.overview)
	page("GET /runs", "runs", s.runs)
	page("GET /runs/{id}", "run", s.run)
	page("GET /tapes", "tapes", s.tapes)
	page("GET /browse", "browse", s.browse)
	page("GET /search", "search", s.search)
	page("GET /entry", "entry", s.entry)
	mux.HandleFunc("GET /file/{id}/{name...}", s.download)
	page("GET /basket", "basket", s.basket)
	mux.HandleFunc("POST /basket", s.changeBasket)
	mux.HandleFunc("POST /prefetch", s.startPrefetch)
	mux.HandleFunc("POST /restore", s.startRestore)
	mux.HandleFunc("POST /import", s.startImport)
	mux.HandleFunc("GET /login", s.askToken)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	mux.Handle("GET /static/", http.StripPrefix("/", http.FileServerFS(embedded)))
	if s.o.Metrics != nil {
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
			if !s.admit(w, s.visitor(r)) {
				return
			}
			s.o.Metrics.ServeHTTP(w, r)
		})
	}
	return s.guard(mux)
}

// Serve answers on l until ctx ends, and is called once. Downloads that are under way then are cut off; what visitors started is waited for.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	life, endLife := context.WithCancel(ctx)
	s.life = life
	defer s.jobs.wait()
	defer endLife()
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       markSocket,
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the page: %w", err)
	}
	return nil
}

// frame is what every page gets.
type frame struct {
	Here    string // path of the request
	Visitor visitor
	Version string
	Login   bool // a token would help
	Data    any
}

// answer makes a page from what data returns.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, name string, data func(*http.Request, visitor) (any, error)) {
	v := s.visitor(r)
	if !s.admit(w, v) {
		return
	}
	d, err := data(r, v)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, name, v, d)
}

func (s *Server) render(w http.ResponseWriter, r *http.Request, code int, name string, v visitor, data any) {
	var text strings.Builder
	block := "frame.html"
	if name == "live" {
		block = "live"
	}
	err := s.pages[pageOf(name)].ExecuteTemplate(&text, block, frame{Here: r.URL.Path, Visitor: v, Version: s.o.Version, Login: s.o.Token != "", Data: data})
	if err != nil {
		s.o.Log.Error("make a page", "page", name, "err", err)
		http.Error(w, "this page cannot be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text.String()) // an error is the browser's, which went away
}

// pageOf is the file that has a page: the live part of the overview is in the overview's.
func pageOf(name string) string {
	if name == "live" {
		return "overview"
	}
	return name
}

// badRequest is an error that the visitor made.
type badRequest struct{ text string }

func (e badRequest) Error() string { return e.text }

// fail answers with an error. What went wrong within is logged, and not told to strangers.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var bad badRequest
	code, text := http.StatusInternalServerError, "something went wrong; the log of tapefs says what"
	switch {
	case errors.As(err, &bad):
		code, text = http.StatusBadRequest, bad.text
	case errors.Is(err, catalog.ErrNotFound):
		code, text = http.StatusNotFound, "there is nothing of that name in the archive"
	case errors.Is(err, errHidden):
		code, text = http.StatusForbidden, "not everybody may read this; it is shown to those who have the token"
	case r.Context().Err() != nil:
		return
	default:
		s.o.Log.Warn("answer a request", "path", r.URL.Path, "err", err)
	}
	s.render(w, r, code, "message", s.visitor(r), text)
}
