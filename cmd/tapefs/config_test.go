package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// initText is what init writes, without and with a virtual library's values.
func initText(t testing.TB, fill initConfig) string {
	t.Helper()
	for _, name := range ltfsPrograms {
		fill.Programs = append(fill.Programs, namedProgram{Name: name})
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := writeConfig(path, fill); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestConfigNamesEveryKey(t *testing.T) {
	text := initText(t, initConfig{State: "/state"})
	var check func(reflect.Type)
	check = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Map, reflect.Slice, reflect.Pointer:
			check(typ.Elem())
		case reflect.Struct:
			for i := range typ.NumField() {
				key := typ.Field(i).Tag.Get("yaml")
				if key == "" {
					continue
				}
				if !regexp.MustCompile(`(?m)^[ #-]*` + key + `:`).MatchString(text) {
					t.Errorf("the configuration that init writes does not show %s", key)
				}
				check(typ.Field(i).Type)
			}
		}
	}
	check(reflect.TypeFor[config]())
}

// Keys shown in comments are valid: uncommented, the file still parses.
func TestConfigCommentsAreValid(t *testing.T) {
	for name, fill := range map[string]initConfig{
		"empty":   {State: "/state", KeysDir: "/k", SpoolDir: "/s", CacheDir: "/c"},
		"sources": {State: "/state", KeysDir: "/k", SpoolDir: "/s", CacheDir: "/c", Sources: []namedSource{{"a", "/a"}, {"b", `x"y\`}}},
	} {
		text := initText(t, fill)
		key := regexp.MustCompile(`(?m)^( *)# ([a-z_]+: .*)$`)
		opened := key.ReplaceAllString(text, "$1$2")
		if strings.Count(opened, "#") == strings.Count(text, "#") {
			t.Fatal("nothing was uncommented")
		}
		if _, err := parseConfig([]byte(opened)); err != nil {
			t.Errorf("%s: %v\n%s", name, err, opened)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("sources: {b: {url: /b}, a: {url: /a}}\nspool: {max: 1.5TB}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(path, "/somewhere")
	if err != nil {
		t.Fatal(err)
	}
	if c.Spool.Dir != "/somewhere/spool" || c.Spool.Max != 1_500_000_000_000 || c.Cache.Max != defaultCacheMax || c.Mount.Owners != "name" {
		t.Errorf("defaults: %+v", c)
	}
	sources := c.archiverSources()
	if len(sources) != 2 || sources[0].Name != "a" || len(sources[0].Copies) != 1 || sources[0].Copies[0] != "main" {
		t.Errorf("sources: %+v", sources)
	}
	if pools := c.archiverPools(); len(pools) != 1 || pools[0].Include[0] != "*" {
		t.Errorf("pools: %+v", pools)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("state: /x\nlibrary:\n  drives: [{serial: A, element: 0}]\n"))
	f.Add([]byte("spool: {max: -1}"))
	f.Add([]byte("pools: {main: {include: ['[']}}"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte(initText(f, initConfig{State: "/state", Sources: []namedSource{{"a", "/a"}}})))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig(text)
		if err != nil {
			return
		}
		if len(c.Pools) == 0 {
			t.Error("a good configuration without a pool")
		}
		for name, s := range c.Sources {
			if s.URL == "" || !sourceName.MatchString(name) {
				t.Errorf("accepted source %q with url %q", name, s.URL)
			}
		}
	})
}

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)

func TestArchiveOptions(t *testing.T) {
	if _, err := (&archiveCmd{Limit: "-1"}).options(testNow); err == nil {
		t.Error("a negative limit was accepted")
	}
	o, err := (&archiveCmd{Limit: "2GiB", Until: "06:30"}).options(testNow)
	if err != nil {
		t.Fatal(err)
	}
	if o.Limit != 2<<30 || !o.Until.After(testNow) || o.Until.Sub(testNow).Hours() > 24 {
		t.Errorf("options: %+v", o)
	}
}

func TestPrintable(t *testing.T) {
	for name, want := range map[string]string{"a b": "a b", "ü": "ü", "a\nb": `"a\nb"`, "\xff": `"\xff"`, "\x1b[31m": `"\x1b[31m"`} {
		if got := printable(name); got != want {
			t.Errorf("printable(%q) = %s, want %s", name, got, want)
		}
	}
}
