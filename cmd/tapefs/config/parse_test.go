package config

import (
	"os"
	"path/filepath"
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
		_, err := Parse([]byte(c.text + "\n"))
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
		if got, err := ParsePeriod(word); err != nil || time.Duration(got) != want {
			t.Errorf("%s is %v, %v", word, got, err)
		}
	}
	for _, word := range []string{"", "d", "-3d", "1.5d", "7 d", "101y", "99999999999d", "3000000h", "soon"} {
		if got, err := ParsePeriod(word); err == nil {
			t.Errorf("%q is taken as %v", word, got)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("sources: {b: {url: /b}, a: {url: /a}}\nspool: {max: 1.5TB}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, "/somewhere")
	if err != nil {
		t.Fatal(err)
	}
	if c.Spool.Dir != "/somewhere/spool" || c.Spool.Max != 1_500_000_000_000 || c.Cache.Max != DefaultCacheMax || c.Mount.Owners != "name" {
		t.Errorf("defaults: %+v", c)
	}
	sources := c.ArchiverSources()
	if len(sources) != 2 || sources[0].Name != "a" || len(sources[0].Copies) != 1 || sources[0].Copies[0] != "main" {
		t.Errorf("sources: %+v", sources)
	}
	if pools := c.ArchiverPools(); len(pools) != 1 || pools[0].Include[0] != "*" {
		t.Errorf("pools: %+v", pools)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("state: /x\nlibrary:\n  drives: [{serial: A, element: 0}]\n"))
	f.Add([]byte("spool: {max: -1}"))
	f.Add([]byte("pools: {main: {include: ['[']}}"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("sources: {a: {url: /a, copies: [main], ssh: {port: 22}, min_age: 1d}}\nscrub: {every: 1y, budget: 1TB}\nrecall: {deny: []}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		if len(c.Pools) == 0 {
			t.Error("a good configuration without a pool")
		}
		for name, s := range c.Sources {
			if s.URL == "" || !NamePattern().MatchString(name) {
				t.Errorf("accepted source %q with url %q", name, s.URL)
			}
		}
	})
}
