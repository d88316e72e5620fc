package ui

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// Table prints aligned columns.
type Table struct {
	w *tabwriter.Writer
}

// NewTable begins a table on w, with a row of headers if there are any. Flush ends it.
func NewTable(w io.Writer, headers ...string) *Table {
	t := &Table{tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.StripEscape)}
	if len(headers) > 0 {
		t.Row(headers...)
	}
	return t
}

// Row adds a row.
func (t *Table) Row(cells ...string) {
	for i, cell := range cells {
		if i > 0 {
			io.WriteString(t.w, "\t")
		}
		io.WriteString(t.w, strings.Map(func(r rune) rune {
			if r == '\t' || r == '\n' || r == '\xff' {
				return ' '
			}
			return r
		}, cell))
	}
	io.WriteString(t.w, "\n")
}

// Flush aligns the rows and writes them.
func (t *Table) Flush() error { return t.w.Flush() }

// WriteJSON writes a result for programs. The control characters that JSON itself leaves as they are (DEL, and U+0080 to U+009F) are
// escaped as well, wherever it goes. A slice or map that is nil is written as empty, so that no program has to expect null.
func WriteJSON(w io.Writer, v any) error { return writeJSON(w, v, jsontext.WithIndent("  ")) }

// WriteJSONLine prints one object a line, for listings that may be long.
func WriteJSONLine(w io.Writer, v any) error { return writeJSON(w, v) }

// writeJSON writes what encoding/json would, but for those slices and maps, about which encoding/json cannot be told anything.
func writeJSON(w io.Writer, v any, form ...json.Options) error {
	options := append([]json.Options{jsonv1.DefaultOptionsV1(), jsontext.EscapeForHTML(false), json.FormatNilSliceAsNull(false),
		json.FormatNilMapAsNull(false)}, form...)
	text, err := json.Marshal(v, options...)
	if err != nil {
		return err
	}
	_, err = (&PrintableWriter{w: w}).Write(append(text, '\n'))
	return err
}

// PathText is a path as programs get it: exact bytes in base64 where it is not UTF-8.
type PathText struct {
	Path   string `json:"path"`
	Path64 string `json:"path64,omitempty"`
}

// NewPathText returns what programs get of a path of any bytes.
func NewPathText(path string) PathText {
	if utf8.ValidString(path) {
		return PathText{Path: path}
	}
	return PathText{Path: strings.ToValidUTF8(path, "\ufffd"), Path64: base64.StdEncoding.EncodeToString([]byte(path))}
}

// Bytes returns a number of bytes for people; "-" where it is negative, and so not known.
func Bytes(n int64) string {
	if n < 0 {
		return "-"
	}
	return humanize.IBytes(uint64(n))
}

// Yes returns "yes" for true and nothing for false.
func Yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// TimeOrNil returns nil for the zero time, which JSON then leaves out.
func TimeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// DateOr returns a time of day in local time, or else what is to stand where there is none.
func DateOr(t *time.Time, otherwise string) string {
	if t == nil || t.IsZero() {
		return otherwise
	}
	return t.Local().Format("2006-01-02 15:04")
}

// Count returns a number with its noun in the singular or plural.
func Count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%s %s", humanize.Comma(n), many)
}

// OrDash returns "-" for an empty text, so that a column of a table is not empty.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
