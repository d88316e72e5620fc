package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// jsonField is a key of a type.
type jsonField struct {
	of       reflect.Type
	optional bool
}

// fieldsOf has the keys of a type, those of embedded types among them.
func fieldsOf(t reflect.Type) map[string]jsonField {
	fields := map[string]jsonField{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			maps.Copy(fields, fieldsOf(f.Type))
		case f.IsExported() && name != "-":
			fields[name] = jsonField{f.Type, strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")}
		}
	}
	return fields
}

// isOf holds a value against the type that docs/json.md documents it with.
func isOf(v any, t reflect.Type, at string) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if v == nil {
		return fmt.Errorf("%s is null", at)
	}
	switch t {
	case timeType:
		return isTime(v, at)
	case fileTimeType:
		if s, ok := v.(string); ok && strings.HasPrefix(s, "unix:") {
			return nil
		}
		return isTime(v, at)
	}
	var ok bool
	switch t.Kind() {
	case reflect.String:
		var s string
		if s, ok = v.(string); ok && !utf8.ValidString(s) {
			return fmt.Errorf("%s is not UTF-8: %q", at, s)
		}
	case reflect.Bool:
		_, ok = v.(bool)
	case reflect.Float64:
		_, ok = v.(json.Number)
	case reflect.Struct:
		return isObjectOf(v, t, at)
	case reflect.Slice:
		var list []any
		if list, ok = v.([]any); ok {
			for i, one := range list {
				if err := isOf(one, t.Elem(), fmt.Sprintf("%s[%d]", at, i)); err != nil {
					return err
				}
			}
		}
	case reflect.Map:
		var object map[string]any
		if object, ok = v.(map[string]any); ok {
			for k, one := range object {
				if err := isOf(one, t.Elem(), at+"."+k); err != nil {
					return err
				}
			}
		}
	default:
		var n json.Number
		if n, ok = v.(json.Number); ok {
			_, err := n.Int64()
			ok = err == nil
		}
	}
	if !ok {
		return fmt.Errorf("%s is %v, which is no %v", at, v, t)
	}
	return nil
}

func isTime(v any, at string) error {
	s, _ := v.(string)
	if moment, err := time.Parse(time.RFC3339Nano, s); err != nil || !strings.HasSuffix(s, "Z") || moment.IsZero() {
		return fmt.Errorf("%s is %v, which is no time in UTC", at, v)
	}
	return nil
}

func isObjectOf(v any, t reflect.Type, at string) error {
	object, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is %v, which is no object", at, v)
	}
	fields := fieldsOf(t)
	for key, one := range object {
		field, ok := fields[key]
		if !ok {
			return fmt.Errorf("%s has the key %q, which docs/json.md does not document", at, key)
		}
		if err := isOf(one, field.of, at+"."+key); err != nil {
			return err
		}
	}
	for key, field := range fields {
		if _, ok := object[key]; !ok && !field.optional {
			return fmt.Errorf("%s lacks the key %q", at, key)
		}
	}
	return nil
}

// jsonRuns runs commands with --json and notes which forms of docs/json.md they printed.
type jsonRuns struct {
	*archive
	printed map[string]bool
}

// values are what a text of JSON has, one after the other.
func values(text []byte) (all []any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		var v any
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		all = append(all, v)
	}
}

// prints runs a command that exits with code, and holds what it prints against the forms: one, or that of the lines and that of the last
// line.
func (r *jsonRuns) prints(code int, forms string, args ...string) {
	r.t.Helper()
	cmd := r.command(append(args, "--json")...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	said := fmt.Sprintf("tapefs %s:\n%s%s", strings.Join(args, " "), stdout.String(), stderr.String())
	if got := cmd.ProcessState.ExitCode(); got != code {
		r.t.Fatalf("exit code %d, want %d: %v: %s", got, code, err, said)
	}
	all, err := values(stdout.Bytes())
	if err != nil {
		r.t.Fatalf("%v in %s", err, said)
	}
	if err := r.errorsOf(stderr.Bytes(), code, args[0] != "doctor"); err != nil {
		r.t.Errorf("%v in %s", err, said)
	}
	headings := strings.Split(forms, " + ")
	if forms == "" {
		headings = nil
	}
	if len(headings) == 0 && len(all) > 0 || len(headings) > 0 && len(all) < len(headings) {
		r.t.Errorf("%d values for %q in %s", len(all), forms, said)
		return
	}
	for i, v := range all {
		heading := headings[0]
		if i == len(all)-1 {
			heading = headings[len(headings)-1]
		}
		if err := r.isForm(v, heading, len(all)); err != nil {
			r.t.Errorf("%s: %v in %s", heading, err, said)
		}
	}
}

// isForm holds a value that was printed against what docs/json.md has below a heading.
func (r *jsonRuns) isForm(v any, heading string, among int) error {
	i := slices.IndexFunc(printedForms, func(p printedJSON) bool { return p.heading == heading })
	if i < 0 {
		return errors.New("no such section")
	}
	p := printedForms[i]
	r.printed[heading] = true
	if p.shape != lines && among > 1 && !strings.HasSuffix(heading, "last line") {
		return fmt.Errorf("%d values instead of one", among)
	}
	if p.of == nil {
		if _, ok := v.(map[string]any); !ok {
			return fmt.Errorf("%v is no object", v)
		}
		return nil
	}
	of := reflect.TypeOf(p.of)
	if p.shape == oneArray {
		of = reflect.SliceOf(of)
	}
	return isOf(v, of, heading)
}

// errorsOf holds standard error against what docs/json.md says of errors.
func (r *jsonRuns) errorsOf(stderr []byte, code int, wanted bool) error {
	last := -1
	for line := range bytes.Lines(stderr) {
		if !bytes.HasPrefix(line, []byte("{")) {
			if bytes.HasPrefix(line, []byte("tapefs: ")) || bytes.HasPrefix(line, []byte("hint: ")) {
				return fmt.Errorf("an error that is not JSON: %s", line)
			}
			continue
		}
		all, err := values(line)
		if err == nil {
			err = r.isForm(all[0], "Errors", 1)
		}
		if err != nil {
			return err
		}
		n, err := all[0].(map[string]any)["exit"].(json.Number).Int64()
		if err != nil {
			return err
		}
		last = int(n)
	}
	if wanted && code != 0 && last != code || code == 0 && last >= 0 {
		return fmt.Errorf("the last error has exit %d and the command %d", last, code)
	}
	return nil
}

// TestJSONIsAsDocumented runs every command with --json against a virtual library and holds what it prints against docs/json.md, by way of
// the types that TestJSONPage holds that page against.
func TestJSONIsAsDocumented(t *testing.T) {
	src, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a passphrase of a test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, `# key_command: [systemd-ask-password, "tapefs key {key}"]`, fmt.Sprintf("key_command: [cat, %q]", secret), 1)
	}, "--source", "src="+src)
	if err := os.RemoveAll(a.path("library")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tapefs", "virtual", "create", a.path("library"), "--slots", "8", "--drives", "2", "--mail-slots", "2", "--tape-size", "64MiB",
		"--tapes", "5", "--tape", "6=CLN001L1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	fault := func(name string) {
		t.Helper()
		if out, err := exec.Command("tapefs", "virtual", "fault", a.path("library"), name).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	file := func(name string, seed byte) {
		t.Helper()
		writeRandom(t, filepath.Join(src, name), 300_000, seed)
		at := time.Date(2020, 1, int(seed), 0, 0, 0, 0, time.UTC)
		if err := os.Chtimes(filepath.Join(src, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(src, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	file("dir/one", 1)
	file("two\xff", 2)
	file("three", 3)
	if err := os.Symlink("three", filepath.Join(src, "link\xfe")); err != nil {
		t.Fatal(err)
	}
	r := &jsonRuns{archive: a, printed: map[string]bool{}}

	t.Log("nothing is archived yet")
	r.prints(0, "version", "version")
	r.prints(0, "config check", "config", "check")
	r.prints(0, "config show", "config", "show")
	r.prints(0, "config schema", "config", "schema")
	r.prints(0, "status", "status")
	r.prints(0, "runs", "runs")
	r.prints(0, "tape list", "tape", "list")
	r.prints(0, "", "catalog", "export")
	r.prints(0, "", "receipts")
	r.prints(0, "key list", "key", "list")
	r.prints(0, "key new", "key", "new", "--passphrase")
	r.prints(0, "key unseal", "key", "unseal")
	r.prints(0, "key seal", "key", "seal")
	r.prints(0, "archive", "archive", "--dry-run")
	r.prints(3, "safe + safe, last line", "safe", "src")

	t.Log("what archive makes, and what the catalog tells of it")
	r.prints(0, "archive", "archive")
	file("three", 4)
	r.prints(0, "archive", "archive", "--now")
	r.prints(0, "status", "status")
	r.prints(0, "runs", "runs")
	r.prints(0, "runs ID", "runs", "1")
	r.prints(0, "ls", "ls", "-R", "/")
	r.prints(0, "find", "find", "/", "--type", "l")
	r.prints(0, "info", "info", "/src/three", "--versions")
	r.prints(0, "info", "info", "/src/two\xff")
	r.prints(0, "info", "info", "/src")
	r.prints(0, "tape list", "tape", "list")
	r.prints(0, "tape info", "tape", "info", "VT0001L8")
	r.prints(0, "tape files", "tape", "files", "VT0001L8")
	r.prints(0, "tape files", "tape", "files", "VT0001L8", "--sort", "path")
	r.prints(0, "tape page", "tape", "page", "VT0001L8")
	r.prints(0, "tape labels", "tape", "labels", "AB0001L8..AB0003L8")
	r.prints(0, "catalog export", "catalog", "export", "--versions")
	r.prints(0, "catalog export tapes", "catalog", "export", "tapes")
	r.prints(0, "catalog check", "catalog", "check", "--tapes")
	r.prints(0, "catalog backup", "catalog", "backup", a.path("backup.db"))
	r.prints(0, "key check", "key", "check", "--tapes", "1")

	t.Log("reading")
	r.prints(0, "Object: outlook", "verify", "--dry-run")
	r.prints(0, "verify", "verify", "--openssl")
	r.prints(0, "Object: outlook", "restore", "/src", "--to", a.path("back"), "--dry-run")
	r.prints(0, "restore", "restore", "/src", "--to", a.path("back"))
	r.prints(0, "Object: outlook", "prefetch", "/src", "--dry-run")
	r.prints(0, "prefetch", "prefetch", "/src", "--pin")
	r.prints(0, "prefetch --unpin", "prefetch", "/src", "--unpin")
	dir := a.mount()
	text, err := os.ReadFile(filepath.Join(dir, ".tapefs", "status.json"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := values(text)
	if err != nil || len(all) != 1 {
		t.Fatalf("status.json has %s: %v", text, err)
	}
	if err := r.isForm(all[0], "The mount's status.json", 1); err != nil {
		t.Errorf("%v in %s", err, text)
	}
	r.prints(0, "status", "status")
	a.unmount(dir)

	t.Log("robot and drives")
	r.prints(0, "library status", "library", "status")
	r.prints(0, "drive status", "drive", "status")
	r.prints(0, "drive inquiry", "drive", "inquiry")
	r.prints(0, "tape load", "tape", "load", "VT0001L8", "--drive", "0")
	r.prints(0, "tape load", "tape", "load", "VT0001L8", "--drive", "0")
	r.prints(0, "drive eject", "drive", "eject", "0")
	r.prints(0, "tape unload", "tape", "unload", "VT0001L8")
	r.prints(0, "tape move", "tape", "move", "VT0005L8", "mail")
	r.prints(0, "tape import", "tape", "import")
	r.prints(0, "library inventory", "library", "inventory", "--read")
	r.prints(0, "tape export", "tape", "export", "VT0001L8", "--to", "the shelf")
	r.prints(0, "library status", "library", "status")
	r.prints(0, "tape import", "tape", "import")
	fault("wrong-barcode=1:XX0001L8")
	r.prints(4, "restore", "restore", "/src", "--to", a.path("back2"))
	r.prints(4, "Object: outlook", "restore", "/src", "--to", a.path("back2"), "--dry-run")
	r.prints(0, "status", "status")
	fault("clear")
	fault("clean-time=10ms")
	r.prints(0, "drive clean", "drive", "clean", "0")
	fault("clear")
	r.prints(0, "drive trust", "drive", "trust", "0")
	r.prints(0, "tape check", "tape", "check", "VT0001L8")
	r.prints(0, "tape trust", "tape", "trust", "VT0001L8", "--yes")

	t.Log("errors, with a result beside them and without")
	r.prints(1, "", "info", "/src/nothing")
	r.prints(2, "", "ls", "--nonsense")
	r.prints(2, "", "archive", "nosuchsource")
	r.prints(4, "", "tape", "load", "NOSUCHL8")
	r.prints(4, "tape export", "tape", "export", "NOSUCHL8")
	fault("needs-check=VT0001L8")
	r.prints(3, "restore", "restore", "/src", "--to", a.path("back3"))
	fault("clear")
	r.prints(0, "status", "status")

	t.Log("a catalog that is lost, and found again")
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(a.path(from), a.path(to)); err != nil {
			t.Fatal(err)
		}
	}
	rename("state/catalog.db", "lost.db")
	r.prints(0, "catalog rebuild", "catalog", "rebuild")
	r.prints(0, "status", "status")
	rename("lost.db", "state/catalog.db")

	t.Log("what goes")
	r.prints(0, "safe + safe, last line", "safe", "src", "--delete")
	r.prints(0, "receipts", "receipts")
	r.prints(0, "find", "find", "/src/three")
	file("four", 5)
	r.prints(0, "archive", "archive", "--accept-deletions")
	r.prints(0, "forget + forget, last line", "forget", "/src/three")
	r.prints(0, "forget + forget, last line", "forget", "/src/three", "--yes")
	r.prints(0, "tape repack", "tape", "repack", "VT0001L8", "--dry-run")
	r.prints(0, "tape repack", "tape", "repack", "VT0001L8")
	r.prints(0, "tape erase", "tape", "erase", "VT0001L8", "--yes")
	r.prints(0, "tape format", "tape", "format", "VT0003L8", "--erase", "VT0003L8")
	r.prints(0, "tape format --all-blank", "tape", "format", "--all-blank", "--yes")
	r.prints(0, "tape retire", "tape", "retire", "VT0003L8")

	t.Log("what doctor finds")
	r.prints(0, "doctor --report", "doctor", "--report", a.path("report"))
	doctor := a.command("doctor") // what it finds is the machine's
	_ = doctor.Run()
	r.prints(doctor.ProcessState.ExitCode(), "doctor", "doctor")

	r.printed["catalog import-tapebackup"] = true // TestImportTapebackup has a database of it
	for _, p := range printedForms {
		if !r.printed[p.heading] {
			t.Errorf("nothing here prints %s", p.heading)
		}
	}
}
