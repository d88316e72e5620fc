package recall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/tapefs/tapefs/catalog"
)

// contentBuffer is how much of a file is read at once for another process.
const contentBuffer = 1 << 20

// contentQuery is the query of GET /v1/content.
func contentQuery(id catalog.ID, from, size int64) string {
	return fmt.Sprintf("/v1/content?id=%d&from=%d&bytes=%d", id, from, size)
}

// serveContent answers with a range of a version's bytes. What fails before the first of them has a status; what fails later cuts the
// answer short.
func (q *Queue) serveContent(w http.ResponseWriter, r *http.Request) {
	var asked [3]int64
	for i, name := range []string{"id", "from", "bytes"} {
		n, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
		if err != nil || n < 0 {
			http.Error(w, name+" is not a number", http.StatusBadRequest)
			return
		}
		asked[i] = n
	}
	id, from, left := catalog.ID(asked[0]), asked[1], asked[2]
	f, err := q.Open(r.Context(), id)
	if err != nil {
		refuseContent(w, err)
		return
	}
	defer f.Close()
	f.ReadBy("page")
	buf := make([]byte, min(contentBuffer, max(left, 1)))
	w.Header().Set("Content-Length", strconv.FormatInt(left, 10))
	w.Header().Set("Content-Type", "application/octet-stream")
	for begun := false; left > 0; begun = true {
		n, err := f.ReadAt(r.Context(), buf[:min(int64(len(buf)), left)], from)
		if n == 0 && err != nil {
			if !begun {
				w.Header().Del("Content-Length")
				refuseContent(w, err)
				return
			}
			q.log.Debug("content for another process", "version", id, "err", err)
			panic(http.ErrAbortHandler) // the connection ends, and so whoever reads knows that something is missing
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return
		}
		from, left = from+int64(n), left-int64(n)
	}
}

// contentCodes are the statuses by which a reader in another process knows why there are no bytes. 404 is for another version of
// the program.
var contentCodes = []struct {
	err  error
	code int
}{
	{ErrOffline, http.StatusServiceUnavailable},
	{ErrNoBytes, http.StatusGone},
	{ErrDamaged, http.StatusUnprocessableEntity},
	{catalog.ErrNotFound, http.StatusGone},
}

func refuseContent(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	for _, known := range contentCodes {
		if errors.Is(err, known.err) {
			code = known.code
			break
		}
	}
	http.Error(w, err.Error(), code)
}

// statusError is what the owner of the cache answered instead of what it was asked for.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// Is makes the errors of the owner those of this process.
func (e *statusError) Is(target error) bool {
	for _, known := range contentCodes {
		if e.code == known.code && target == known.err {
			return true
		}
	}
	return false
}

// Content streams size bytes of a version from an offset on; they must be within it. The stream ends with io.ErrUnexpectedEOF when the owner cannot
// go on. Only as much is called from tape as is read, and a little ahead. ErrOffline, ErrNoBytes and ErrDamaged are told apart. Close it.
func (o *Owner) Content(ctx context.Context, id catalog.ID, from, size int64) (io.ReadCloser, error) {
	return o.do(ctx, http.MethodGet, contentQuery(id, from, size), nil)
}
