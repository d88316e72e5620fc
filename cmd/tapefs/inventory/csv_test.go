package inventory

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// Paths of any bytes come back from a row, and nothing in it is a formula or moves a terminal.
func FuzzFileCSV(f *testing.F) {
	for _, seed := range []string{"/src/a", "/src/\n\"x\",y", "/\xff\xfe", "/=1+1", "/a\r\nb", "/\u202etxt", `/a\nb`, "/\x1b[2J", "/ ", "/ä"} {
		f.Add(seed, "=HYPERLINK(1)")
	}
	f.Add("/a", "'quoted")
	f.Add("/a", "-1\t@")
	f.Fuzz(func(t *testing.T, path, text string) {
		path = "/" + path
		var b bytes.Buffer
		w, err := NewFileCSV(&b)
		if err != nil {
			t.Fatal(err)
		}
		file := File{PathText: ui.NewPathText(path), Copies: []Copy{{Pool: text, Pieces: []TapePiece{{Tape: text}}}}}
		if err := w.Write(&file); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(b.Bytes())).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[1]) != len(fileColumns) {
			t.Fatalf("%q: %v, %q", b.String(), err, rows)
		}
		got := map[string]string{}
		for i, name := range fileColumns {
			got[name] = rows[1][i]
		}
		back := got["path"]
		if got["path64"] != "" {
			exact, err := base64.StdEncoding.DecodeString(got["path64"])
			if err != nil {
				t.Fatal(err)
			}
			back = string(exact)
		}
		if back != path {
			t.Errorf("%q came back as %q", path, back)
		}
		for name, text := range got {
			if text != "" && strings.Contains("=+-@\t\r\n", text[:1]) {
				t.Errorf("column %s begins like a formula: %q", name, text)
			}
			if !bytes.Equal(ui.EscapeControls([]byte(text)), []byte(text)) || strings.ContainsAny(text, "\n\t\r") {
				t.Errorf("column %s has control characters: %q", name, text)
			}
		}
		if want := strings.TrimPrefix(got["pool"], "'"); want != plain(text) && got["pool"] != plain(text) {
			t.Errorf("%q is told as %q", text, got["pool"])
		}
	})
}
