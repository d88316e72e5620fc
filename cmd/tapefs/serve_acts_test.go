package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browser is a person with a browser that keeps cookies.
type browser struct {
	t      *testing.T
	at     string
	client *http.Client
}

func newBrowser(t *testing.T, at string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, at, &http.Client{Jar: jar}}
}

func (b *browser) see(path string, want int) string {
	b.t.Helper()
	return fetchPage(b.t, b.client, b.at+path, want)
}

// send fills in a form and returns the page behind it.
func (b *browser) send(path string, want int, form url.Values) string {
	b.t.Helper()
	answer, err := b.client.PostForm(b.at+path, form)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if answer.StatusCode != want {
		b.t.Fatalf("%s: %s\n%s", path, answer.Status, body)
	}
	return string(body)
}

// ends waits until what was started says that it is done, or what went wrong.
func (b *browser) ends(what string) string {
	b.t.Helper()
	line := regexp.MustCompile(`<li>[^<]*` + regexp.QuoteMeta(what) + `.*`)
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if found := line.FindString(b.see("/live", http.StatusOK)); found != "" && !strings.Contains(found, "under way") {
			return found
		}
	}
	b.t.Fatalf("%s does not end", what)
	return ""
}

// A basket is filled, estimated, brought into the cache and restored; what is wanted is taken in. All of it only with the token.
func TestServeActs(t *testing.T) {
	t.Parallel()
	src, own := t.TempDir(), t.TempDir()
	if err := os.Mkdir(src+"/2019", 0o755); err != nil {
		t.Fatal(err)
	}
	writeRandom(t, src+"/2019/a.jpg", 2<<20, 1)
	writeRandom(t, src+"/2019/b.jpg", 1<<20, 2)
	want, err := os.ReadFile(src + "/2019/a.jpg")
	if err != nil {
		t.Fatal(err)
	}
	token, to := own+"/token", own+"/restored"
	if err := os.WriteFile(token, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, "\nweb:\n", "\nweb:\n  token_file: "+token+"\n  restore_to: ["+to+"]\n", 1)
	}, "--slots", "3", "--drives", "1", "--source", "photos="+src)
	a.run("archive")
	if err := os.RemoveAll(src); err != nil {
		t.Fatal(err)
	}
	at := a.servePage()
	stranger, person := newBrowser(t, at), newBrowser(t, at)
	stranger.see("/", http.StatusOK) // the library is read now
	id := regexp.MustCompile(`name="id" value="(\d+)"`).FindStringSubmatch(stranger.see("/browse?path=/photos", http.StatusOK))
	if id == nil {
		t.Fatal("the directory cannot be put into the basket")
	}
	for _, b := range []*browser{stranger, person} {
		page := b.send("/basket", http.StatusOK, url.Values{"id": {id[1]}, "do": {"add"}})
		for _, words := range []string{"/photos/2019/", "2 files, 3.0 MiB", "from 1 tape: about 5 min", "VT0001L8: 3.0 MiB"} {
			if !strings.Contains(page, words) {
				t.Errorf("the basket lacks %q:\n%s", words, page)
			}
		}
	}
	for _, path := range []string{"/prefetch", "/restore", "/import"} {
		stranger.send(path, http.StatusForbidden, url.Values{"to": {to}})
	}
	person.send("/login", http.StatusOK, url.Values{"token": {"0123456789abcdef"}})
	person.send("/restore", http.StatusBadRequest, url.Values{"to": {own}})
	person.send("/restore", http.StatusBadRequest, url.Values{"to": {to + "/../x"}})

	person.send("/prefetch", http.StatusOK, nil)
	if got := person.ends("into the cache"); !strings.Contains(got, ": done") || !strings.Contains(got, "prefetched: ") {
		t.Errorf("the prefetch ends with %s", got)
	}
	person.send("/restore", http.StatusOK, url.Values{"to": {to}})
	if got := person.ends("restore 1 entry"); !strings.Contains(got, ": done") || !strings.Contains(got, "restored: ") {
		t.Errorf("the restore ends with %s", got)
	}
	if got, err := os.ReadFile(filepath.Join(to, "2019/a.jpg")); err != nil || string(got) != string(want) {
		t.Errorf("what was restored is another: %v", err)
	}
	if page := stranger.see("/live", http.StatusOK); strings.Contains(page, "Started here") {
		t.Errorf("a stranger sees what was started:\n%s", page)
	}
	person.send("/import", http.StatusOK, nil)
	if got := person.ends("import from the mail slots"); !strings.Contains(got, "the mail slots are empty") {
		t.Errorf("the import ends with %s", got)
	}
	if page := person.send("/basket", http.StatusOK, url.Values{"id": {id[1]}, "do": {"remove"}}); !strings.Contains(page, "Nothing is in it") {
		t.Errorf("the basket is not empty:\n%s", page)
	}
}
