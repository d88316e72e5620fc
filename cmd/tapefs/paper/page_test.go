package paper

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

func testPage(folders, keys int) Page {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	p := Page{Barcode: "AB0001L8", Number: 7, Pool: "main", State: "full", Place: "bank <box> 2", Archive: "0b5f9c7e-0000-4000-8000-000000000001",
		Volume: "5d0c8a3e-0000-4000-8000-000000000002", Generation: 8, Format: 1, Capacity: 12e12, Used: 11e12, Formatted: &at, First: &at, Last: &at,
		Printed: at, Version: "v1", Files: 1234567, Bytes: 11e12}
	for i := range folders {
		p.Folders = append(p.Folders, Folder{fmt.Sprintf("/photos/%02d %s", i, strings.Repeat("long name ", 20)), 10, int64(1000 * i), ui.FileTime{Sec: at.Unix()}, ui.FileTime{Sec: at.Unix()}})
	}
	for i := range keys {
		p.Keys = append(p.Keys, Key{fmt.Sprintf("0123456789abcde%d", i), "aes-256-ctr", 10000})
	}
	return p
}

// pdfStreams are the streams of a document, inflated.
func pdfStreams(t *testing.T, doc []byte) (streams [][]byte) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?s)stream\r?\n(.*?)\r?\nendstream`).FindAllSubmatch(doc, -1) {
		r, err := zlib.NewReader(bytes.NewReader(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, b)
	}
	return streams
}

// pdfTexts has the strings that a document shows, and how many pages it has.
func pdfTexts(t *testing.T, doc []byte) (texts []string, pages int) {
	t.Helper()
	for _, b := range pdfStreams(t, doc) {
		for _, s := range regexp.MustCompile(`\(((?:[^()\\]|\\.)*)\) ?Tj`).FindAllSubmatch(b, -1) {
			texts = append(texts, regexp.MustCompile(`\\([()\\])`).ReplaceAllString(string(s[1]), "$1"))
		}
	}
	return texts, len(regexp.MustCompile(`/Type /Page\b[^s]`).FindAll(doc, -1))
}

// Both forms of a page say the same of a tape.
func TestPageSaysAll(t *testing.T) {
	page := testPage(25, 1)
	var html, pdf bytes.Buffer
	if err := WriteHTML(&html, []Page{page, page}); err != nil {
		t.Fatal(err)
	}
	if err := WritePDF(&pdf, A4, []Page{page, page}); err != nil {
		t.Fatal(err)
	}
	texts, pages := pdfTexts(t, pdf.Bytes())
	if pages != 2 || strings.Count(html.String(), "<section>") != 2 {
		t.Errorf("%d pages", pages)
	}
	all := strings.Join(texts, "\n")
	for _, want := range []string{"AB0001L8", "7 of archive 0b5f9c7e-0000-4000-8000-000000000001", "5d0c8a3e-0000-4000-8000-000000000002", "LTO-8", "tapefs-format 1",
		"1,234,567 files, 10 TiB", "2026-01-31", "0123456789abcde0", "restore.sh KEYFILE TARGET", "openssl enc -d -aes-256-ctr -pbkdf2 -iter 10000 -md sha256 -pass file:KEYFILE",
		"/mnt/tape/tapefs/0123456789abcde0/OBJECT.tar.enc | tar -xp", "and 5 smaller folders"} {
		if !strings.Contains(all, want) {
			t.Errorf("the PDF does not say %q:\n%s", want, all)
		}
		if !strings.Contains(html.String(), want) {
			t.Errorf("the HTML does not say %q", want)
		}
	}
	if !strings.Contains(html.String(), "bank &lt;box&gt; 2") || strings.Contains(html.String(), "http") {
		t.Error("HTML is not escaped, or needs something else")
	}
	var again bytes.Buffer
	if err := WritePDF(&again, A4, []Page{page, page}); err != nil || !bytes.Equal(again.Bytes(), pdf.Bytes()) {
		t.Errorf("the same page gives other bytes, %v", err)
	}
}

// The largest page fits on a sheet of either size.
func TestPageFits(t *testing.T) {
	for _, sheet := range []Sheet{A4, Letter} {
		page := testPage(100, 4)
		page.Place = strings.Repeat("a place that is told at length ", 10)
		f := newPDF(sheet, "", page.Printed)
		f.AddPage()
		d := drawing{f, (sheet.Width - textWidth) / 2, (sheet.Height - textHeight) / 2, 0}
		d.page(views([]Page{page})[0])
		if d.y > textHeight {
			t.Errorf("%s: %.0f mm are written, there are %d", sheet.Name, d.y, textHeight)
		}
	}
}

// A tape on which nothing is has a page, too.
func TestPageOfEmptyTape(t *testing.T) {
	page := Page{Barcode: "AB0002L8"}
	var b bytes.Buffer
	if err := WritePDF(&b, Letter, []Page{page}); err != nil {
		t.Fatal(err)
	}
	if err := WriteHTML(&b, []Page{page}); err != nil {
		t.Fatal(err)
	}
}

func TestNamesOnPaper(t *testing.T) {
	for name, want := range map[string][2]string{
		"/photos/Zoë":    {"/photos/Zoë", "/photos/Zo\xeb"},
		"/写真":            {"/写真", `/\u5199\u771f`},
		"/a\xff\nb":      {`/a\xff\u000ab`, `/a\xff\u000ab`},
		"/\u202etxt.exe": {`/\u202etxt.exe`, `/\u202etxt.exe`},
		"/\U0001F4BE":    {"/\U0001F4BE", `/\U0001f4be`},
		"/\ufffd":        {"/\ufffd", `/\ufffd`},
	} {
		if got := visible(name); got != want[0] {
			t.Errorf("%q is shown as %q, want %q", name, got, want[0])
		}
		if got := latin1(name); got != want[1] {
			t.Errorf("%q is printed as %q, want %q", name, got, want[1])
		}
	}
}
