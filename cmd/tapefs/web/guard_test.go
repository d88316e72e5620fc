package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

const testToken = "0123456789abcdef0123456789abcdef"

// serve runs a page over real HTTP, with an empty catalog unless the options name one.
func serve(t *testing.T, o Options) *httptest.Server {
	t.Helper()
	if o.Catalog == nil {
		db, err := catalog.Create(t.Context(), filepath.Join(t.TempDir(), "catalog.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		o.Catalog = db
	}
	if o.Alive == nil {
		o.Alive = func(catalog.Run) bool { return true }
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s.Handler())
	server.Config.ConnContext = markSocket
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// ask sends a request and returns the answer's code and body.
func ask(t *testing.T, method, address string, edit func(*http.Request), form url.Values) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if edit != nil {
		edit(r)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

// A name that somebody else had point here is refused; addresses and names of the configuration are not.
func TestHostNames(t *testing.T) {
	server := serve(t, Options{Hosts: []string{"tapes.example.org"}})
	for host, want := range map[string]int{
		"evil.example": http.StatusMisdirectedRequest, "evil.example:9180": http.StatusMisdirectedRequest, "127.0.0.1.evil.example": http.StatusMisdirectedRequest,
		"localhost.evil.example": http.StatusMisdirectedRequest, "tapes.example.org.evil.example": http.StatusMisdirectedRequest,
		"localhost:9180": http.StatusOK, "LOCALHOST.": http.StatusOK, "127.0.0.1:9180": http.StatusOK, "[::1]:9180": http.StatusOK, "192.168.1.20": http.StatusOK,
		"tapes.example.org": http.StatusOK, "Tapes.Example.org:443": http.StatusOK,
	} {
		answer, _ := ask(t, http.MethodGet, server.URL+"/", func(r *http.Request) { r.Host = host }, nil)
		if answer.StatusCode != want {
			t.Errorf("Host %s: %d, want %d", host, answer.StatusCode, want)
		}
	}
}

// Every answer forbids the browser to load anything from elsewhere.
func TestPolicy(t *testing.T) {
	server := serve(t, Options{})
	for _, path := range []string{"/", "/live", "/tapes", "/runs", "/runs/7", "/login", "/static/style.css", "/nowhere"} {
		answer, body := ask(t, http.MethodGet, server.URL+path, nil, nil)
		if got := answer.Header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none';") || strings.Contains(got, "unsafe") {
			t.Errorf("%s has the policy %q", path, got)
		}
		for _, bad := range []string{"<script>", " style=", " onclick=", "http://", "https://"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s holds %q, which the policy forbids", path, bad)
			}
		}
	}
}

// What another site sends by the reader's browser changes nothing.
func TestForeignSite(t *testing.T) {
	server := serve(t, Options{Token: testToken})
	form := url.Values{"token": {testToken}}
	for name, edit := range map[string]func(*http.Request){
		"a foreign origin":   func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"a cross-site fetch": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another port here":  func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:1") },
	} {
		if answer, _ := ask(t, http.MethodPost, server.URL+"/login", edit, form); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", name, answer.StatusCode)
		}
	}
	own := func(r *http.Request) { r.Header.Set("Origin", server.URL) }
	if answer, _ := ask(t, http.MethodPost, server.URL+"/login", own, form); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("the page's own form: %d", answer.StatusCode)
	}
}

func TestToken(t *testing.T) {
	server := serve(t, Options{Token: testToken, Closed: true})
	get := func(edit func(*http.Request)) int {
		answer, _ := ask(t, http.MethodGet, server.URL+"/", edit, nil)
		return answer.StatusCode
	}
	if code := get(nil); code != http.StatusUnauthorized {
		t.Errorf("without the token: %d", code)
	}
	if answer, _ := ask(t, http.MethodPost, server.URL+"/login", nil, url.Values{"token": {testToken + "x"}}); answer.StatusCode != http.StatusForbidden || len(answer.Cookies()) > 0 {
		t.Errorf("a wrong token: %d, cookies %v", answer.StatusCode, answer.Cookies())
	}
	answer, _ := ask(t, http.MethodPost, server.URL+"/login", nil, url.Values{"token": {testToken}})
	cookies := answer.Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("the token gives %v", cookies)
	}
	if strings.Contains(cookies[0].Value, testToken) {
		t.Error("the cookie holds the token")
	}
	if code := get(func(r *http.Request) { r.AddCookie(cookies[0]) }); code != http.StatusOK {
		t.Errorf("with the cookie: %d", code)
	}
	forged := *cookies[0]
	until, mac, _ := strings.Cut(forged.Value, ".")
	forged.Value = until + "0." + mac // lasts ten times as long
	if code := get(func(r *http.Request) { r.AddCookie(&forged) }); code != http.StatusUnauthorized {
		t.Errorf("with a cookie that lasts longer: %d", code)
	}
	if code := get(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+testToken) }); code != http.StatusOK {
		t.Errorf("with the token in a header: %d", code)
	}
}

// A session ends by itself, and with another token.
func TestSessionEnds(t *testing.T) {
	s := &Server{o: Options{Token: testToken}}
	now := time.Now()
	value := s.session(now.Add(time.Hour))
	if !s.isSession(value, now) {
		t.Error("it is not good at once")
	}
	if s.isSession(value, now.Add(time.Hour)) {
		t.Error("it is good after its end")
	}
	if (&Server{o: Options{Token: "another"}}).isSession(value, now) {
		t.Error("it is good with another token")
	}
}

// The header of a reverse proxy is believed only from where it may come.
func TestUserHeader(t *testing.T) {
	named := func(r *http.Request) { r.Header.Set("X-Remote-User", "anna") }
	stranger := serve(t, Options{UserHeader: "X-Remote-User", Closed: true})
	if answer, _ := ask(t, http.MethodGet, stranger.URL+"/", named, nil); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("anybody can name himself: %d", answer.StatusCode)
	}
	proxied := serve(t, Options{UserHeader: "X-Remote-User", Proxies: []string{"127.0.0.1"}, Closed: true})
	if answer, body := ask(t, http.MethodGet, proxied.URL+"/", named, nil); answer.StatusCode != http.StatusOK || !strings.Contains(body, "anna") {
		t.Errorf("the proxy is not believed: %d", answer.StatusCode)
	}
	if answer, _ := ask(t, http.MethodGet, proxied.URL+"/", nil, nil); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("nobody is named, and let in: %d", answer.StatusCode)
	}
}
