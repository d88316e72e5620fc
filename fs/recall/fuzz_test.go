package recall

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tapefs/catalog"
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

// FuzzCacheNotes: what lies in the cache's folder under the names of its notes counts or is passed over, and nothing of it costs more
// than it says.
func FuzzCacheNotes(f *testing.F) {
	f.Add([]byte("1 0 4194304\n"), []byte("1 0 4194304\n"))
	f.Add([]byte("1 0 9223372036854775807\n-1 5 5\n"), []byte("2 70368744177664 1\n"))
	f.Add([]byte("1 2\nx\n\x00\n1 4194303 2\n"), []byte("18446744073709551616 1 1\n"))
	dir := f.TempDir()
	oid := fmt.Sprintf("%032x", 7)
	object := filepath.Join(dir, oid[:2], oid)
	if err := os.MkdirAll(object, 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, versions, pinned []byte) {
		for name, text := range map[string][]byte{"versions": versions, "pinned": pinned, "000000": []byte("an extent")} {
			if err := os.WriteFile(filepath.Join(object, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := OpenCache(dir, 1<<30, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for id := range catalog.ID(4) {
			if use := c.Of(id); use.Cached < 0 || use.Cached > es {
				t.Fatalf("%d bytes of version %d are cached, of one extent", use.Cached, id)
			}
		}
	})
}
