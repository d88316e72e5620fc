package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// table prints aligned columns.
type table struct {
	w *tabwriter.Writer
}

func newTable(w io.Writer, headers ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.StripEscape)}
	if len(headers) > 0 {
		t.row(headers...)
	}
	return t
}

func (t *table) row(cells ...string) {
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

func (t *table) flush() error { return t.w.Flush() }

// printJSON writes a result for programs. The control characters that JSON itself leaves as they are (DEL, and U+0080 to U+009F) are
// escaped as well, wherever it goes.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(&printableWriter{w: w})
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printJSONLine prints one object a line, for listings that may be long.
func printJSONLine(w io.Writer, v any) error {
	enc := json.NewEncoder(&printableWriter{w: w})
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// pathJSON is a path as programs get it: exact bytes in base64 where it is not UTF-8.
type pathJSON struct {
	Path   string `json:"path"`
	Path64 string `json:"path64,omitempty"`
}

func jsonPath(path string) pathJSON {
	if utf8.ValidString(path) {
		return pathJSON{Path: path}
	}
	return pathJSON{Path: strings.ToValidUTF8(path, "\ufffd"), Path64: base64.StdEncoding.EncodeToString([]byte(path))}
}

func bytesText(n int64) string {
	if n < 0 {
		return "-"
	}
	return humanize.IBytes(uint64(n))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func dateOr(t *time.Time, otherwise string) string {
	if t == nil || t.IsZero() {
		return otherwise
	}
	return t.Local().Format("2006-01-02 15:04")
}

func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%s %s", humanize.Comma(n), many)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
