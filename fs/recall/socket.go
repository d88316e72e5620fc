package recall

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// The process that owns the cache answers others on a unix socket: HTTP with JSON, paths below /v1.
//
//	GET  /v1/live        Live
//	GET  /v1/file?id=N   FileUse
//	GET  /v1/content     ?id=N&from=N&bytes=N: a range of a version's bytes
//	POST /v1/prefetch    PrefetchRequest; answered by lines of PrefetchEvent, then one prefetchEnd
//	POST /v1/unpin       PrefetchRequest; answered by unpinned
//
// Whoever holds the cache's lock owns the socket as well: one that lies there is of a process that died.

// Live is what only the owner of the cache knows.
type Live struct {
	PID     int       `json:"pid"`
	Cache   cache.Use `json:"cache"`
	Reading []string  `json:"reading"` // tapes that have a drive, or wait for one
	Waiting []Waiting `json:"waiting"`
	Wanted  []string  `json:"wanted"`
}

type prefetchEnd struct {
	Result *PrefetchResult `json:"result"`
	Error  string          `json:"error,omitempty"`
	Pinned bool            `json:"pinned_too_much,omitempty"` // Error is ErrPinned
}

type unpinned struct {
	Versions int `json:"versions"`
}

// ownEvery is how often a process looks whether it can own the cache.
const ownEvery = time.Second

// eventEvery is how often a caller is told how far a prefetch is.
const eventEvery = 200 * time.Millisecond

// serve answers on the socket from now on, or as soon as this process owns the cache, until the queue is closed.
func (q *Queue) serve(path string) {
	var l net.Listener
	if q.cache.Keeps() {
		if l = q.listen(path); l == nil {
			return
		}
	}
	q.running.Add(1)
	go func() {
		defer q.running.Done()
		if l == nil {
			if !q.becomeOwner() {
				return
			}
			if l = q.listen(path); l == nil {
				return
			}
		}
		server := &http.Server{Handler: q.handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(q.log.Handler(), slog.LevelDebug)}
		q.running.Add(1)
		go func() {
			defer q.running.Done()
			<-q.soft.Done()
			os.Remove(path)
			server.Close()
		}()
		q.running.Add(1)
		go func() {
			defer q.running.Done()
			q.keepSocket(path, server)
		}()
		q.serveOn(l, server)
	}()
}

func (q *Queue) serveOn(l net.Listener, server *http.Server) {
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		q.log.Warn("others cannot ask this process any more", "err", err)
	}
}

// keepSocket makes the socket anew when somebody removed it, with the run folder or alone, until the queue is closed.
func (q *Queue) keepSocket(path string, server *http.Server) {
	look := time.NewTicker(ownEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-q.soft.Done():
			return
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			continue
		}
		q.log.Warn("the socket on which others ask this process was removed, and is made anew", "path", path)
		l := q.listen(path)
		if l == nil {
			look.Reset(time.Minute)
			continue
		}
		q.running.Add(1)
		go func() {
			defer q.running.Done()
			q.serveOn(l, server)
		}()
	}
}

// becomeOwner waits until the cache is ours. False: the queue is closed.
func (q *Queue) becomeOwner() bool {
	look := time.NewTicker(ownEvery)
	defer look.Stop()
	for said := false; ; {
		own, err := q.cache.Acquire()
		if own {
			q.log.Info("the cache is owned by this process now")
			return true
		}
		if err != nil && !said {
			q.log.Warn("take over the cache", "err", err)
			said = true
		}
		select {
		case <-look.C:
		case <-q.soft.Done():
			return false
		}
	}
}

// listen makes the socket, or says why not: reading goes on without.
func (q *Queue) listen(path string) net.Listener {
	l, err := listen(path, q.log)
	if err != nil {
		q.log.Warn("others cannot ask this process for the queue", "err", err)
		return nil
	}
	return l
}

// dirPath names a socket by its folder's descriptor: the names of sockets are short (108 bytes). Close it.
func dirPath(path string) (*os.File, string, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, "", err
	}
	return dir, fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), nil
}

// listen makes the socket. Called by the owner of the cache only.
func listen(path string, log *slog.Logger) (net.Listener, error) {
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the socket of an earlier process: %w", err)
	}
	dir, short, err := dirPath(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // the name is only good while dir is open
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return sameUser{l, log}, nil
}

// sameUser refuses peers of another user, but root.
type sameUser struct {
	*net.UnixListener
	log *slog.Logger
}

func (l sameUser) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peer(c)
		if err == nil && mayAsk(uid) {
			return c, nil
		}
		l.log.Warn("refused to answer a process of another user", "uid", uid, "err", err)
		c.Close()
	}
}

func mayAsk(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

func peer(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, cerr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

func (q *Queue) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/live", func(w http.ResponseWriter, _ *http.Request) { answer(w, q.Live()) })
	mux.HandleFunc("GET /v1/file", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.URL.Query().Get("id"), 10, 64)
		if err != nil {
			http.Error(w, "id is not a number", http.StatusBadRequest)
			return
		}
		answer(w, q.cache.Of(catalog.ID(id)))
	})
	mux.HandleFunc("GET /v1/content", q.serveContent)
	mux.HandleFunc("POST /v1/prefetch", q.servePrefetch)
	mux.HandleFunc("POST /v1/unpin", func(w http.ResponseWriter, r *http.Request) {
		request, ok := decodeRequest(w, r)
		if !ok {
			return
		}
		n, err := q.Unpin(r.Context(), request.IDs)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, unpinned{n})
	})
	return mux
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error is the peer's, who went away
}

// maxRequest bounds a request's body, bytes: a million paths.
const maxRequest = 16 << 20

func decodeRequest(w http.ResponseWriter, r *http.Request) (request PrefetchRequest, ok bool) {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(&request); err != nil {
		http.Error(w, "request: "+err.Error(), http.StatusBadRequest)
		return request, false
	}
	return request, true
}

func (q *Queue) servePrefetch(w http.ResponseWriter, r *http.Request) {
	request, ok := decodeRequest(w, r)
	if !ok {
		return
	}
	var mu sync.Mutex // protects below: several tapes report
	var last time.Time
	out, control := json.NewEncoder(w), http.NewResponseController(w)
	say := func(v any) {
		_ = out.Encode(v)
		_ = control.Flush()
	}
	result, err := q.Prefetch(r.Context(), request, func(e PrefetchEvent) {
		mu.Lock()
		defer mu.Unlock()
		if e.Plan != nil || time.Since(last) > eventEvery {
			last = time.Now()
			say(e)
		}
	})
	end := prefetchEnd{Result: &result}
	if err != nil {
		end.Error, end.Pinned = err.Error(), errors.Is(err, cache.ErrPinned)
	}
	say(end)
}

// Live says what the queue is about.
func (q *Queue) Live() Live {
	l := Live{PID: os.Getpid(), Cache: q.cache.Use(), Reading: []string{}, Waiting: q.Waiting(), Wanted: q.Wanted()}
	q.mu.Lock()
	defer q.mu.Unlock()
	for s := range q.sessions {
		l.Reading = append(l.Reading, s.barcode)
	}
	return l
}
