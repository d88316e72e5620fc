package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What is wrong with a configuration is said with line, column, key and what belongs there, and without a word of Go.
func TestConfigErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"state: [1, 2]", "[1:8] state: a text belongs here"},
		{"sorces: {}", `[1:1] there is no key "sorces" here, did you mean "sources"?`},
		{"sources:\n  src: {ulr: /x}", `[2:9] there is no key "ulr" here, did you mean "url"?`},
		{"sources:\n  src: {url: /x, copies: main}", "[2:26] copies: a list belongs here, not a text"},
		{"sources:\n- src", "[2:1] sources: a set of keys belongs here, not a list"},
		{"sources:\n  src: {url: /x, streams: many}", "[2:27] streams: a whole number belongs here"},
		{"keys:\n  accept_single_key: perhaps", "[2:22] accept_single_key: true or false belongs here"},
		{"spool:\n  max: 12parsecs", `[2:8] max: "12parsecs" is not a size such as 64MiB, 20GB or 1.5TB`},
		{"spool:\n  max: [1]", "[2:8] max: one value belongs here"},
		{"library:\n  move_timeout: 10 minutes", `[2:17] move_timeout: "10 minutes" is not a length of time such as 90s, 10m, 2h, 7d, 2w or 1y`},
		{"library:\n  move_timeout: 1000y", `[2:17] move_timeout: "1000y" is not a length of time`},
		{"library: {drives: [{serial: A, element: 99999999999999999999}]}", "[1:41] element: 99999999999999999999 is too large"},
		{"sources: {", "[1:10] could not find flow mapping end token"},
		{"mount:\n  owners: nme", `[2:11] mount.owners: "nme" is none of name, number, squash`},
		{"sources:\n  src: {url: /x, copies: [mian]}", `[2:26] sources.src.copies: no pool "mian", did you mean "main"?`},
		{"sources:\n  src: {streams: 2}", "sources.src.url is missing"},
		{"library:\n  drives: [{serial: A, element: 0}, {serial: A, element: 1}]", "library.drives[1]: serial A or element 1 is named twice"},
	} {
		_, err := parseConfig([]byte(c.text + "\n"))
		if err == nil {
			t.Errorf("%q is taken", c.text)
			continue
		}
		got := err.Error()
		if !strings.Contains(got, c.want) || !strings.HasPrefix(got, "[") {
			t.Errorf("%q: %s\nshould say: %s", c.text, got, c.want)
		}
		for _, word := range []string{"struct", "interface", "unmarshal", "Go ", "int64"} {
			if strings.Contains(got, word) {
				t.Errorf("%q: %s", c.text, got)
			}
		}
	}
}

func TestPeriod(t *testing.T) {
	const day = 24 * time.Hour
	for word, want := range map[string]time.Duration{"90s": 90 * time.Second, "2h30m": 150 * time.Minute, "7d": 7 * day, "2w": 14 * day, "1y": 365 * day, "0": 0} {
		if got, err := parsePeriod(word); err != nil || time.Duration(got) != want {
			t.Errorf("%s is %v, %v", word, got, err)
		}
	}
	for _, word := range []string{"", "d", "-3d", "1.5d", "7 d", "101y", "99999999999d", "3000000h", "soon"} {
		if got, err := parsePeriod(word); err == nil {
			t.Errorf("%q is taken as %v", word, got)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"photos", "films", "home"}
	for word, want := range map[string]string{"photo": "photos", "fotos": "photos", "flims": "films", "hoem": "home", "music": "", "": ""} {
		got := didYouMean(word, known)
		if want == "" && got != "" || want != "" && got != `, did you mean "`+want+`"?` {
			t.Errorf("%q: %s", word, got)
		}
	}
}

// What config show prints is a configuration that means the same.
func TestConfigShow(t *testing.T) {
	text := `state: /state
library:
  changer: none
  drives: [{serial: A, element: 0, device: /dev/sg1}, {serial: B, element: 3}]
  auto_check: false
  move_timeout: 90s
  check_timeout: 2w
pools: {main: {include: ['AB*'], keep_free: 20GB, verify_after_write: 2.5%, max_age: 36h}, "off.site": {verify_after_write: all}}
sources: {photos: {url: "nas:/srv/it's \"here\"", copies: [main, off.site], ssh: [-p, "22"], bundle_size: 1000, stall_timeout: 1h1m}}
recall: {deny: [], prefetch: 0, user_slice: 1m}
mount: {allow_other: false}
scrub: {every: 1y, budget: 1.5TB}
notify: [mail, -s, "{message}", root]
`
	path := filepath.Join(t.TempDir(), "config.yaml")
	show := func() (*config, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"--config", path, "config", "show"}, nil, &out, &errs); code != 0 {
			t.Fatalf("exit %d: %s\n%s", code, errs.String(), text)
		}
		c, err := loadConfig(path, "")
		if err != nil {
			t.Fatal(err)
		}
		return c, out.String()
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	first, text := show()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	second, again := show()
	if !reflect.DeepEqual(first, second) {
		t.Errorf("%+v\n%+v\n%s", first, second, text)
	}
	if again != text {
		t.Errorf("%s\n%s", text, again)
	}
}
