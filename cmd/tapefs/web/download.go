package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// Contents brings the bytes of files.
type Contents interface {
	// Content streams size bytes of a version from an offset on, which are within it. Its errors are ErrNoMount, ErrAway, ErrUnreadable, or
	// others. Close it: what was called ahead from tape is given up then.
	Content(ctx context.Context, id catalog.ID, from, size int64) (io.ReadCloser, error)
}

var (
	// ErrNoMount says that no process reads tapes for others.
	ErrNoMount = errors.New("no mount is running")
	// ErrAway says that the tape is outside the library.
	ErrAway = errors.New("its tape is outside the library")
	// ErrUnreadable says that no good copy is left.
	ErrUnreadable = errors.New("it cannot be read from any tape")
)

// download sends a file, or the ranges of it that a player asks for: only these are called from tape.
func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	v := s.visitor(r)
	if !s.admit(w, v) {
		return
	}
	file, err := s.fileToSend(r, v)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	content := &seeker{ctx: r.Context(), from: s.o.Contents, id: file.ID, size: file.Size}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", fmt.Sprintf(`"%d"`, file.ID)) // a version never changes
	kind, shown := contentType(file.Name)
	h.Set("Content-Type", kind)
	disposition := "attachment"
	if shown && !r.URL.Query().Has("save") {
		disposition = "inline"
	}
	h.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": strings.ToValidUTF8(file.Name, "\ufffd")}))
	late := &lateHeader{ResponseWriter: w, code: http.StatusOK}
	http.ServeContent(late, r, "", time.Unix(file.MTime.Sec, int64(file.MTime.Nsec)), content)
	if content.err != nil && !late.sent {
		for _, name := range []string{"Content-Disposition", "Content-Range", "Content-Length", "Accept-Ranges", "ETag", "Last-Modified"} {
			h.Del(name)
		}
		h.Set("Content-Security-Policy", policy)
		s.failDownload(w, r, content.err)
		return
	}
	if content.err != nil {
		s.o.Log.Warn("a download was cut off", "version", file.ID, "err", content.err)
		panic(http.ErrAbortHandler) // the browser must not take what it has for all
	}
	late.send()
}

// failDownload says why there are no bytes.
func (s *Server) failDownload(w http.ResponseWriter, r *http.Request, err error) {
	for _, known := range []error{ErrNoMount, ErrAway, ErrUnreadable} {
		if errors.Is(err, known) {
			text := known.Error()
			if known == ErrNoMount {
				text += ": files can be downloaded while tapefs mount runs"
			}
			s.render(w, r, http.StatusServiceUnavailable, "message", s.visitor(r), text)
			return
		}
	}
	s.fail(w, r, err)
}

// fileToSend is the version that a request names, if the visitor may read it.
func (s *Server) fileToSend(r *http.Request, v visitor) (catalog.Version, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return catalog.Version{}, badRequest{"a version has a number"}
	}
	if s.o.Contents == nil {
		return catalog.Version{}, badRequest{"files cannot be downloaded here"}
	}
	file, err := s.now().Get(r.Context(), catalog.ID(id))
	if err != nil {
		return file, err
	}
	if file.Kind != catalog.File || file.State != catalog.Present {
		return file, catalog.ErrNotFound
	}
	return file, s.mayReadChain(r.Context(), v, &file)
}

// mediaTypes are those that systems know by different names, or not at all.
var mediaTypes = map[string]string{
	".mkv": "video/x-matroska", ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm", ".avi": "video/x-msvideo",
	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".flac": "audio/flac", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav",
	".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".txt": "text/plain; charset=utf-8",
}

// contentType is what a file is by its name, and whether a browser may show it. What could carry a script is only saved.
func contentType(name string) (kind string, shown bool) {
	ext := strings.ToLower(path.Ext(name))
	if kind, ok := mediaTypes[ext]; ok {
		return kind, true
	}
	if kind = mime.TypeByExtension(ext); kind != "" {
		return kind, false
	}
	return "application/octet-stream", false
}

// playable reports whether a browser plays a file, as sound or as a film.
func playable(name string) (tag string) {
	kind, shown := contentType(name)
	switch {
	case shown && strings.HasPrefix(kind, "video/"):
		return "video"
	case shown && strings.HasPrefix(kind, "audio/"):
		return "audio"
	}
	return ""
}

// seeker reads a version in the way of http.ServeContent: it opens a stream at the first read behind a seek.
type seeker struct {
	ctx      context.Context // of the request, which the seeker does not outlive
	from     Contents
	id       catalog.ID
	size, at int64
	stream   io.ReadCloser // nil: none is open
	err      error         // the first one
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	at := offset
	switch whence {
	case io.SeekCurrent:
		at += s.at
	case io.SeekEnd:
		at += s.size
	}
	if at < 0 {
		return 0, fmt.Errorf("seek before the beginning of version %d", s.id)
	}
	if at != s.at {
		s.Close()
	}
	s.at = at
	return at, nil
}

func (s *seeker) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	if s.stream == nil {
		stream, err := s.from.Content(s.ctx, s.id, s.at, s.size-s.at)
		if err != nil {
			s.err = err
			return 0, err
		}
		s.stream = stream
	}
	n, err := s.stream.Read(p)
	s.at += int64(n)
	if errors.Is(err, io.EOF) && s.at < s.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && !errors.Is(err, io.EOF) && s.ctx.Err() == nil {
		s.err = err
	}
	return n, err
}

// Close gives up the stream, if one is open.
func (s *seeker) Close() {
	if s.stream != nil {
		s.stream.Close()
		s.stream = nil
	}
}

// lateHeader keeps the status back until there are bytes, so that a file that cannot be read has another one.
type lateHeader struct {
	http.ResponseWriter
	code int
	sent bool
}

func (l *lateHeader) WriteHeader(code int) { l.code = code }

func (l *lateHeader) Write(p []byte) (int, error) {
	l.send()
	return l.ResponseWriter.Write(p)
}

func (l *lateHeader) send() {
	if !l.sent {
		l.sent = true
		l.ResponseWriter.WriteHeader(l.code)
	}
}
