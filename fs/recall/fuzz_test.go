package recall

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequest: whatever another process sends to the owner of the cache is answered, and nothing but a request that is one changes pins.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/v1/live", "")
	f.Add("GET", "/v1/file?id=1", "")
	f.Add("GET", "/v1/file?id=x", "")
	f.Add("POST", "/v1/prefetch", `{"ids":[1],"pin":true}`)
	f.Add("POST", "/v1/prefetch", `{"ids":[1,1,99,-1],"pin":false}`)
	f.Add("POST", "/v1/unpin", `{"ids":[1]}`)
	f.Add("POST", "/v1/unpin", `{"ids":[9223372036854775808]}`)
	f.Add("DELETE", "/../v1/live", `[[[[`)
	w := newWorld(f, 1, "A")
	o := w.seal(es, es)
	w.version(1, o, 0, es, w.place(o, 0, "A"))
	q := w.queue(Options{})
	handler := q.handler()
	f.Fuzz(func(t *testing.T, method, path, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return // net/http refuses it
		}
		r := (&http.Request{Method: method, URL: u, Body: http.NoBody, Header: http.Header{}}).WithContext(t.Context())
		if body != "" {
			r.Body = http.MaxBytesReader(nil, readCloser{strings.NewReader(body)}, int64(len(body)))
		}
		before := q.cache.Use().Pinned
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		if answer.Code < 200 || answer.Code > 599 {
			t.Fatalf("%s %s %q: %d", method, path, body, answer.Code)
		}
		if after := q.cache.Use().Pinned; after != before && answer.Code != http.StatusOK {
			t.Fatalf("%s %s %q is refused with %d, and pinned %d bytes where %d were", method, path, body, answer.Code, after, before)
		}
	})
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
