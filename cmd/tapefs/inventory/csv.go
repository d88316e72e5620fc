package inventory

import (
	"encoding/base64"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// fileColumns are the columns of FileCSV. A new one goes to the end.
var fileColumns = []string{"row", "path", "path64", "source", "kind", "size", "mtime", "sha256", "id", "version", "versions", "current", "state", "vanished", "removed",
	"pool", "copy", "verified", "tape", "file", "block", "bytes", "damaged", "object", "key"}

// tapeColumns are the columns of TapeCSV. A new one goes to the end.
var tapeColumns = []string{"barcode", "number", "pool", "state", "stage", "place", "uuid", "generation", "capacity", "used", "leftover", "free", "fill_percent",
	"objects", "formatted", "first_written", "last_written", "last_use", "checked", "loads", "keys", "note"}

// FileCSV writes files as RFC 4180 says, with a header: one row for each piece of a file on a tape, and one for a file or copy that has
// none. Flush ends it.
type FileCSV struct {
	w   *csv.Writer
	row []string
}

// NewFileCSV writes the header to w.
func NewFileCSV(w io.Writer) (*FileCSV, error) {
	c := &FileCSV{w: newCSV(w)}
	return c, c.w.Write(fileColumns)
}

// Write adds the rows of a file. path has its exact bytes.
func (c *FileCSV) Write(f *File) error {
	path, exact := pathCells(f.PathText)
	head := []string{"", path, exact, cell(f.Source), f.Kind, number(f.Size), f.MTime.String(), f.SHA256, number(int64(f.ID)), strconv.Itoa(f.Version), strconv.Itoa(f.Versions),
		yesNo(f.Current), f.State, timeCell(f.Vanished), timeCell(f.Removed)}
	n := 0
	add := func(cells ...string) error {
		n++
		head[0] = strconv.Itoa(n)
		c.row = append(append(c.row[:0], head...), cells...)
		for len(c.row) < len(fileColumns) {
			c.row = append(c.row, "")
		}
		return c.w.Write(c.row)
	}
	for _, one := range f.Copies {
		for _, p := range one.Pieces {
			block := ""
			if p.Block != nil {
				block = number(*p.Block)
			}
			if err := add(cell(one.Pool), one.State, timeCell(one.Verified), cell(p.Tape), cell(p.File), block, number(p.Bytes), yesNo(p.Damaged), one.Object, one.Key); err != nil {
				return err
			}
		}
		if len(one.Pieces) == 0 {
			if err := add(cell(one.Pool), one.State, timeCell(one.Verified), "", "", "", "", "", one.Object, one.Key); err != nil {
				return err
			}
		}
	}
	if n == 0 {
		return add()
	}
	return nil
}

// Flush writes what is left.
func (c *FileCSV) Flush() error {
	c.w.Flush()
	return c.w.Error()
}

// TapeCSV writes tapes as RFC 4180 says, with a header.
func TapeCSV(w io.Writer, tapes []Tape) error {
	c := newCSV(w)
	rows := [][]string{tapeColumns}
	for i := range tapes {
		t := &tapes[i]
		rows = append(rows, []string{cell(t.Barcode), strconv.Itoa(t.Number), cell(t.Pool), t.State, t.Stage, cell(t.Place), cell(t.UUID), strconv.Itoa(t.Generation),
			number(t.Capacity), number(t.Used), number(t.Leftover), number(t.Free), strconv.Itoa(t.Fill), strconv.Itoa(t.Objects),
			timeCell(t.Formatted), timeCell(t.FirstWritten), timeCell(t.LastWritten), timeCell(t.LastUse), timeCell(t.Checked),
			number(t.Loads), strings.Join(t.Keys, " "), cell(t.Note)})
	}
	return c.WriteAll(rows)
}

func newCSV(w io.Writer) *csv.Writer {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	return c
}

// cell makes a text harmless: no control character is in it, and nothing at its beginning that a spreadsheet takes for a formula. A text
// that begins with one of = + - @ ' has a ' before it.
func cell(text string) string {
	text = plain(text)
	if text != "" && strings.Contains("=+-@'", text[:1]) {
		return "'" + text
	}
	return text
}

// plain escapes control characters, what turns the direction of writing, and what is not UTF-8.
func plain(text string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(string(ui.EscapeControls([]byte(text))))
}

// pathCells are a path for people and, where that is not the path itself, its bytes in base64. It begins with a slash, and so with
// nothing that a spreadsheet takes for a formula.
func pathCells(p ui.PathText) (text, exact string) {
	if p.Path64 == "" {
		if text = plain(p.Path); text != p.Path {
			exact = base64.StdEncoding.EncodeToString([]byte(p.Path))
		}
		return text, exact
	}
	b, err := base64.StdEncoding.DecodeString(p.Path64)
	if err != nil {
		b = []byte(p.Path)
	}
	return plain(string(b)), p.Path64
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func timeCell(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
