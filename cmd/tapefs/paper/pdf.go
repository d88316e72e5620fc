package paper

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"codeberg.org/go-pdf/fpdf"
	"github.com/dustin/go-humanize"
)

// Sheet is a size of paper, in millimetres.
type Sheet struct {
	Name          string
	Width, Height float64
}

// The sheets that printers have.
var (
	A4     = Sheet{"a4", 210, 297}
	Letter = Sheet{"letter", 215.9, 279.4}
)

// Places on a page, in millimetres: what is written fits on both sheets.
const (
	textWidth  = 180
	textHeight = 250
	lineHeight = 4.3
	columnName = 26 // of the first table
)

// newPDF begins a document in millimetres, with nothing in it that depends on the time it is made but printed.
func newPDF(sheet Sheet, title string, printed time.Time) *fpdf.Fpdf {
	f := fpdf.NewCustom(&fpdf.InitType{UnitStr: "mm", Size: fpdf.SizeType{Wd: sheet.Width, Ht: sheet.Height}})
	f.SetCatalogSort(true)
	f.SetCreationDate(printed)
	f.SetModificationDate(printed)
	f.SetTitle(title, true)
	f.SetCreator("tapefs", true)
	f.SetAutoPageBreak(false, 0)
	return f
}

// WritePDF writes a PDF document with one sheet for each page. What is not Latin-1 in a name is escaped: \u65e5.
func WritePDF(w io.Writer, sheet Sheet, pages []Page) error {
	if len(pages) == 0 {
		return fmt.Errorf("make PDF: there is no page")
	}
	f := newPDF(sheet, pages[0].Barcode, pages[0].Printed)
	for _, v := range views(pages) {
		f.AddPage()
		d := drawing{f, (sheet.Width - textWidth) / 2, (sheet.Height - textHeight) / 2, 0}
		d.page(v)
	}
	if err := f.Output(w); err != nil {
		return fmt.Errorf("make PDF: %w", err)
	}
	return nil
}

// drawing writes lines from the top of a sheet downwards.
type drawing struct {
	*fpdf.Fpdf
	left, top, y float64
}

func (d *drawing) page(v view) {
	d.y = 8
	d.line("Courier", "B", 26, 0, v.Barcode)
	d.rule(3)
	for _, one := range v.Facts() {
		d.font("Helvetica", "", 9)
		d.Text(d.left, d.top+d.y, latin1(one.Name))
		d.line("Helvetica", "", 9, columnName, one.Text)
	}
	d.y += 2
	d.line("Helvetica", "B", 11, 0, "Contents: "+v.Title())
	for _, one := range v.Shown {
		d.folder(one)
	}
	if text := v.MoreText(); text != "" {
		d.line("Helvetica", "", 8, 0, text)
	}
	d.y += 2
	d.line("Helvetica", "B", 11, 0, "To read it without tapefs")
	for _, s := range v.Steps() {
		d.line("Helvetica", "", 9, 0, s.Text)
		for _, text := range s.Lines {
			d.line("Courier", "", 8, 4, text)
		}
	}
	d.rule(0)
	d.y += 1
	d.line("Helvetica", "", 8, 0, v.Foot())
}

// folder writes a line of the contents: the path, then numbers in columns.
func (d *drawing) folder(one Folder) {
	d.font("Helvetica", "", 8)
	for _, column := range []struct {
		right float64
		text  string
	}{{115, humanize.Comma(one.Files)}, {138, bytesText(one.Bytes)}, {textWidth, modifiedText(one)}} {
		d.Text(d.left+column.right-d.GetStringWidth(latin1(column.text)), d.top+d.y, latin1(column.text))
	}
	d.Text(d.left, d.top+d.y, d.shortened(latin1(one.Path), 96))
	d.y += lineHeight * 0.9
}

// line writes text, indented, on as many lines as it needs.
func (d *drawing) line(family, style string, size, indent float64, text string) {
	d.font(family, style, size)
	step := max(lineHeight, size*0.42)
	for _, one := range d.wrapped(latin1(text), textWidth-indent) {
		d.Text(d.left+indent, d.top+d.y, one)
		d.y += step
	}
}

// wrapped cuts Latin-1 text into lines of a width, at blanks where there are any.
func (d *drawing) wrapped(text string, width float64) []string {
	var lines []string
	for d.GetStringWidth(text) > width {
		n := len(text)
		for n > 1 && d.GetStringWidth(text[:n]) > width {
			n--
		}
		if blank := strings.LastIndexByte(strings.TrimRight(text[:n], " "), ' '); blank > n/2 {
			n = blank + 1
		}
		lines, text = append(lines, text[:n]), text[n:]
	}
	return append(lines, text)
}

// shortened leaves out the middle of a Latin-1 text that is wider than width.
func (d *drawing) shortened(text string, width float64) string {
	if d.GetStringWidth(text) <= width {
		return text
	}
	for keep := len(text); keep > 1; keep-- {
		if short := text[:keep/2] + "..." + text[len(text)-keep/2:]; d.GetStringWidth(short) <= width {
			return short
		}
	}
	return "..."
}

func (d *drawing) font(family, style string, size float64) { d.SetFont(family, style, size) }

func (d *drawing) rule(below float64) {
	d.SetLineWidth(0.3)
	d.Line(d.left, d.top+d.y-2.5, d.left+textWidth, d.top+d.y-2.5)
	d.y += below
}

// visible escapes what would not be seen on paper, or not as what it is: control characters, marks of direction, bytes that are not
// UTF-8.
func visible(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(text[i:], string(unicode.ReplacementChar)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r != ' ' && !unicode.IsPrint(r):
			b.WriteString(escaped(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// latin1 is visible text in the encoding of the fonts that every viewer has, with escapes for what they do not have.
func latin1(text string) string {
	var b strings.Builder
	for _, r := range visible(text) {
		if r > 0xff {
			b.WriteString(escaped(r))
		} else {
			b.WriteByte(byte(r))
		}
	}
	return b.String()
}

func escaped(r rune) string {
	if r > 0xffff {
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}
