package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tapefs/tapefs/cmd/tapefs/config"
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
	check(reflect.TypeFor[config.Config]())
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
		if _, err := config.Parse([]byte(opened)); err != nil {
			t.Errorf("%s: %v\n%s", name, err, opened)
		}
	}
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
	show := func() (*config.Config, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"--config", path, "config", "show"}, nil, &out, &errs); code != 0 {
			t.Fatalf("exit %d: %s\n%s", code, errs.String(), text)
		}
		c, err := config.Load(path, "")
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

// The schema that editors get takes what init writes, also with its comments opened, and what the documents show; and it marks what the
// program refuses.
func TestConfigSchema(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"config", "schema"}, nil, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	text, err := jsonschema.UnmarshalJSON(&out)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("tapefs.json", text); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("tapefs.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text string) error {
		t.Helper()
		asJSON, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(value)
	}
	good := map[string]string{
		"template": initText(t, initConfig{State: "/state", KeysDir: "/k", SpoolDir: "/s", CacheDir: "/c", Sources: []namedSource{{"a", "/a"}}}),
		"values": "spool: {max: 1.5TB}\ncache: {max: 1000}\nscrub: {every: 1y, budget: 20 GB}\nmount: {owners: squash}\npools: {main: {verify_after_write: 2.5%, max_age: 36h}}\n" +
			"library: {drives: [{serial: 1234, element: 0}], auto_check: false, move_timeout: 1h30m}\nsources: {a: {url: /a, ssh: {port: 22}}, b: {url: /b, ssh: [-p, \"22\"]}}\n",
	}
	good["template, opened"] = regexp.MustCompile(`(?m)^( *)# ([a-z_]+: .*)$`).ReplaceAllString(good["template"], "$1$2")
	for name, text := range good {
		if _, err := config.Parse([]byte(text)); err != nil {
			t.Errorf("%s: the program refuses it: %v", name, err)
		}
		if err := validate(text); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	for _, text := range []string{
		"sorces: {}", "sources: {src: {ulr: /x}}", "sources: {src: {url: /x, copies: main}}", "sources: {src: {url: /x, streams: many}}", "keys: {accept_single_key: perhaps}",
		"spool: {max: 12parsecs}", "library: {move_timeout: 10 minutes}", "mount: {owners: nme}", "library: {flavor: ibm}", "pools: {main: {verify_after_write: some}}", "pools: {MAIN: {}}",
	} {
		if _, err := config.Parse([]byte(text)); err == nil {
			t.Errorf("the program takes %q", text)
		}
		if validate(text) == nil {
			t.Errorf("the schema takes %q", text)
		}
	}
	if !strings.Contains(fmt.Sprint(text), "description") {
		t.Error("the schema explains nothing")
	}
}
