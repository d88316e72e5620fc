package main

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/cmd/tapefs/inventory"
	"github.com/tapefs/tapefs/cmd/tapefs/paper"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/fs/recall"
)

// How results follow each other on standard output.
const (
	oneObject = "Prints an object"
	oneArray  = "Prints an array"
	lines     = "Prints one object a line"
)

// printedJSON is one form of what a command prints with --json: the heading of its section in docs/json.md, and the type.
type printedJSON struct {
	heading string
	shape   string
	of      any
}

// printedForms are all of them. Each leaf of the command line has one, or is in withoutJSON. TestJSONIsAsDocumented holds what the
// commands print against them.
var printedForms = []printedJSON{
	{"archive", oneObject, summaryJSON{}},
	{"safe", lines, safeFileJSON{}},
	{"safe, last line", oneObject, safeSummaryJSON{}},
	{"receipts", lines, archiver.ReceiptLine{}},
	{"verify", oneObject, verifyJSON{}},
	{"forget", lines, forgottenJSON{}},
	{"forget, last line", oneObject, forgetSummaryJSON{}},
	{"restore", oneObject, archiver.RestoreSummary{}},
	{"prefetch", oneObject, prefetchJSON{}},
	{"prefetch --unpin", oneObject, unpinned{}},
	{"ls", lines, entryJSON{}},
	{"find", lines, entryJSON{}},
	{"info", oneObject, infoJSON{}},
	{"tape list", oneArray, tapeJSON{}},
	{"tape info", oneObject, tapeJSON{}},
	{"tape files", lines, tapeFileJSON{}},
	{"tape page", oneArray, paper.Page{}},
	{"tape labels", oneArray, ""},
	{"tape load", oneObject, movedJSON{}},
	{"tape unload", oneObject, movedJSON{}},
	{"tape move", oneObject, movedJSON{}},
	{"tape export", oneArray, exportJSON{}},
	{"tape import", oneArray, importJSON{}},
	{"tape check", oneObject, checkJSON{}},
	{"tape trust", oneObject, trustJSON{}},
	{"tape repack", oneArray, archiver.RepackedTape{}},
	{"tape format", oneObject, tapeJSON{}},
	{"tape format --all-blank", oneArray, tapeJSON{}},
	{"tape erase", oneObject, lossJSON{}},
	{"tape retire", oneObject, lossJSON{}},
	{"library status", oneObject, libraryJSON{}},
	{"library inventory", oneArray, importJSON{}},
	{"drive status", oneArray, driveStateJSON{}},
	{"drive inquiry", oneArray, inquiryJSON{}},
	{"drive trust", oneObject, trustedDrive{}},
	{"drive eject", oneObject, movedJSON{}},
	{"drive clean", oneObject, cleanJSON{}},
	{"doctor", oneObject, examination{}},
	{"doctor --report", oneObject, faultReport{}},
	{"config check", oneObject, configCheck{}},
	{"config show", oneObject, nil},
	{"config schema", oneObject, nil},
	{"status", oneObject, statusJSON{}},
	{"runs", oneArray, runJSON{}},
	{"runs ID", oneObject, runJSON{}},
	{"catalog check", oneObject, catalogCheckJSON{}},
	{"catalog backup", oneObject, backupCopy{}},
	{"catalog export", lines, inventory.File{}},
	{"catalog export tapes", lines, inventory.Tape{}},
	{"catalog rebuild", oneObject, rebuildJSON{}},
	{"catalog import-tapebackup", oneObject, tapebackupJSON{}},
	{"key new", oneObject, keyFile{}},
	{"key list", oneArray, keyRow{}},
	{"key check", oneObject, keyCheck{}},
	{"key seal", oneObject, keyFile{}},
	{"key unseal", oneObject, keyFile{}},
	{"version", oneObject, versionOut{}},
	{"Errors", lines, errorJSON{}},
	{"The mount's status.json", oneObject, mountStatusJSON{}},
	{"Object: outlook", "", archiver.Outlook{}}, // of dry runs
}

// withoutJSON are the commands that have no result for programs.
var withoutJSON = []string{"mount", "serve", "key print", "init", "demo", "virtual", "completion", "man", "help"}

// sharedObjects are the types with a section of their own, to which others refer.
var sharedObjects = map[reflect.Type]string{
	reflect.TypeFor[tapeJSON]():         "tape",
	reflect.TypeFor[driveJSON]():        "drive",
	reflect.TypeFor[runJSON]():          "run",
	reflect.TypeFor[keyRow]():           "key",
	reflect.TypeFor[pendingJSON]():      "pending",
	reflect.TypeFor[archiver.Refusal](): "remark",
	reflect.TypeFor[wearJSON]():         "wear",
	reflect.TypeFor[wornJSON]():         "counts of wear",
	reflect.TypeFor[archiver.Outlook](): "outlook",
	reflect.TypeFor[wantedJSON]():       "wanted tape",
	reflect.TypeFor[checkDueJSON]():     "check that is due",
	reflect.TypeFor[movedJSON]():        "moved tape",
	reflect.TypeFor[importJSON]():       "cartridge",
	reflect.TypeFor[entryJSON]():        "entry",
	reflect.TypeFor[recall.Waiting]():   "waiting object",
	reflect.TypeFor[inventory.Piece]():  "piece",
	reflect.TypeFor[ui.PathText]():      "path",
	reflect.TypeFor[lossJSON]():         "loss",
	reflect.TypeFor[keyFile]():          "key file",
}

func objectLink(name string) string {
	return fmt.Sprintf("[%s](#object-%s)", name, strings.ReplaceAll(name, " ", "-"))
}

// jsonRow is a line of a table: a key, dotted below the object it belongs to, and its type.
type jsonRow struct{ key, kind string }

// rowsOf lists the keys of a type as docs/json.md has them.
func rowsOf(t reflect.Type, below string) (rows []jsonRow) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, tagged := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			if shared, ok := sharedObjects[f.Type]; ok {
				rows = append(rows, jsonRow{below + "…", "all keys of " + objectLink(shared)})
			} else {
				rows = append(rows, rowsOf(f.Type, below)...)
			}
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			panic(fmt.Sprintf("%v.%s has no JSON name", t, f.Name))
		}
		text, inner := kindText(f.Type)
		if tagged && (strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")) {
			text += ", optional"
		}
		rows = append(rows, jsonRow{below + name, text})
		if inner != nil {
			dot := "."
			if strings.HasPrefix(text, "array") {
				dot = "[]."
			}
			rows = append(rows, rowsOf(inner, below+name+dot)...)
		}
	}
	return rows
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	fileTimeType = reflect.TypeFor[ui.FileTime]()
)

// kindText names a type for people, and returns the struct whose keys are told beside it.
func kindText(t reflect.Type) (text string, inner reflect.Type) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	shared, isShared := sharedObjects[t]
	switch {
	case t == timeType:
		return "time", nil
	case t == fileTimeType:
		return "file time", nil
	case isShared:
		return objectLink(shared), nil
	}
	switch t.Kind() {
	case reflect.String:
		return "string", nil
	case reflect.Bool:
		return "boolean", nil
	case reflect.Float64:
		return "number", nil
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint32:
		return "integer", nil
	case reflect.Struct:
		return "object", t
	case reflect.Slice:
		of, inner := kindText(t.Elem())
		return "array of " + plural(of), inner
	case reflect.Map:
		of, _ := kindText(t.Elem())
		return "object of " + plural(of), nil
	}
	panic(fmt.Sprintf("docs/json.md has no word for %v", t))
}

func plural(of string) string {
	if strings.HasPrefix(of, "[") {
		return of
	}
	first, rest, _ := strings.Cut(of, " ")
	return strings.TrimSpace(first + "s " + rest)
}

// jsonSection is what docs/json.md says under a heading.
type jsonSection struct {
	text string
	rows []jsonRow
	none []string // keys without a meaning
}

func readJSONPage(t *testing.T) map[string]*jsonSection {
	t.Helper()
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("^\\| `([^`]+)` \\| (.*?) \\| (.*?) ?\\|$")
	sections := map[string]*jsonSection{}
	var now *jsonSection
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSuffix(line, "\n")
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			if sections[heading] != nil {
				t.Errorf("docs/json.md has two sections %q", heading)
			}
			now = &jsonSection{}
			sections[heading] = now
			continue
		}
		now.text += line + "\n"
		if m := row.FindStringSubmatch(line); m != nil {
			now.rows = append(now.rows, jsonRow{m[1], m[2]})
			if m[3] == "" && m[1] != "…" {
				now.none = append(now.none, m[1])
			}
		}
	}
	return sections
}

// TestJSONPage: docs/json.md has a section for each command, with each key that the type of its result has, with its type, and no other.
func TestJSONPage(t *testing.T) {
	sections := readJSONPage(t)
	check := func(heading string, want []jsonRow) {
		s := sections[heading]
		if s == nil {
			t.Errorf("docs/json.md has no section %q", heading)
			return
		}
		for _, row := range want {
			if !slices.Contains(s.rows, row) {
				t.Errorf("docs/json.md, %s: the row | `%s` | %s | is missing", heading, row.key, row.kind)
			}
		}
		for _, row := range s.rows {
			if !slices.Contains(want, row) {
				t.Errorf("docs/json.md, %s: nothing has the key `%s` with the type %s", heading, row.key, row.kind)
			}
		}
		for _, key := range s.none {
			t.Errorf("docs/json.md, %s: %s has no meaning", heading, key)
		}
	}
	known := map[string]bool{}
	for _, p := range printedForms {
		known[p.heading] = true
		s := sections[p.heading]
		if s != nil && !strings.Contains(s.text, p.shape) {
			t.Errorf("docs/json.md, %s: it does not say %q", p.heading, p.shape)
		}
		var of reflect.Type
		if p.of != nil {
			of = reflect.TypeOf(p.of)
		}
		switch shared, ok := sharedObjects[of]; {
		case p.shape == "": // it is among the objects
		case ok && s != nil:
			if !strings.Contains(s.text, objectLink(shared)) {
				t.Errorf("docs/json.md, %s: it does not name %s", p.heading, objectLink(shared))
			}
			check(p.heading, nil)
		case of == nil || of.Kind() != reflect.Struct:
			check(p.heading, nil)
		default:
			check(p.heading, rowsOf(of, ""))
		}
	}
	for of, name := range sharedObjects {
		check("Object: "+name, rowsOf(of, ""))
	}
	for _, command := range leafCommands(t) {
		switch without := slices.Contains(withoutJSON, command); {
		case without && known[command]:
			t.Errorf("%s is in both lists", command)
		case without && !strings.Contains(sections["What prints JSON"].text, "`"+command+"`"):
			t.Errorf("docs/json.md does not say that %s prints no JSON", command)
		case !without && !known[command]:
			t.Errorf("nothing says what %s prints with --json", command)
		}
	}
}

// leafCommands are all commands that can be called, as "tape list".
func leafCommands(t *testing.T) (all []string) {
	t.Helper()
	parser, err := newParser(t.Context(), &cli{}, &bytes.Buffer{}, &bytes.Buffer{}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	var visit func(n *kong.Node, path string)
	visit = func(n *kong.Node, path string) {
		for _, child := range n.Children {
			visit(child, strings.TrimSpace(path+" "+child.Name))
		}
		if len(n.Children) == 0 && !n.Hidden {
			all = append(all, path)
		}
	}
	visit(parser.Model.Node, "")
	return all
}
