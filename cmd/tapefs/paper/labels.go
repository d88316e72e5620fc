package paper

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"codeberg.org/go-pdf/fpdf"
)

// Measures of an LTO label, in millimetres, as IBM's "LTO Ultrium Cartridge Label Specification" and the manuals of libraries give them.
const (
	labelWidth  = 79.0 // of the recess on a cartridge, and so of the label
	labelHeight = 17.0
	narrowBar   = 0.432 // 0.017 inch
	wideRatio   = 2.75
	barHeight   = 11.1 // at least
	quietZone   = 4.32 // ten narrow bars, at either end: nothing is printed there
	textBand    = labelHeight - barHeight
)

// labelText is what LTO labels hold: six characters for the tape, two for its kind (L8, LU, CU and so on).
var labelText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Z0-9]{6}[A-Z0-9]{2}$`) })

// Layout is how labels lie on a sheet, in millimetres.
type Layout struct {
	Sheet         Sheet
	Columns, Rows int
	Left, Top     float64 // of the first label
	StepX, StepY  float64 // from a label to the next one
	Marks         bool    // thin lines to cut at; sheets of labels that are cut already have none
}

// Layouts of plain paper, to be cut and put behind a film, or of one large label that is cut.
var Layouts = map[string]Layout{
	"a4":     {A4, 2, 14, 22, 18, 87, 19, true},
	"letter": {Letter, 2, 12, 24.95, 26, 87, 19, true},
	"roll":   {Sheet{"roll", labelWidth, labelHeight}, 1, 1, 0, 0, labelWidth, labelHeight, false},
}

// ParseLayout reads a name of Layouts, or the measures of a sheet of labels: WIDTHxHEIGHT,COLUMNSxROWS,LEFT+TOP,STEPX+STEPY.
func ParseLayout(text string) (Layout, error) {
	if l, ok := Layouts[text]; ok {
		return l, nil
	}
	m := layoutText().FindStringSubmatch(text)
	if m == nil {
		return Layout{}, fmt.Errorf("%q is no layout: a4, letter, roll, or measures in mm such as 210x297,2x14,22+18,87+19 (sheet, columns x rows, first label, step)", text)
	}
	var n [8]float64
	for i := range n {
		n[i], _ = strconv.ParseFloat(m[i+1], 64) // it is a number
	}
	l := Layout{Sheet{"own", n[0], n[1]}, int(n[2]), int(n[3]), n[4], n[5], n[6], n[7], false}
	switch {
	case l.Columns < 1 || l.Rows < 1 || l.Columns > 100 || l.Rows > 100:
		return l, fmt.Errorf("layout %q: a sheet has 1 to 100 columns and rows", text)
	case l.Columns > 1 && l.StepX < labelWidth, l.Rows > 1 && l.StepY < labelHeight:
		return l, fmt.Errorf("layout %q: labels of %g x %g mm would overlap", text, labelWidth, labelHeight)
	case l.Left+float64(l.Columns-1)*l.StepX+labelWidth > l.Sheet.Width+0.01, l.Top+float64(l.Rows-1)*l.StepY+labelHeight > l.Sheet.Height+0.01:
		return l, fmt.Errorf("layout %q: labels of %g x %g mm would go beyond the sheet", text, labelWidth, labelHeight)
	}
	return l, nil
}

var layoutText = sync.OnceValue(func() *regexp.Regexp {
	number := `(\d{1,4}(?:\.\d{1,3})?)`
	pair := func(sep string) string { return number + sep + number }
	return regexp.MustCompile(`^` + strings.Join([]string{pair("x"), `(\d{1,3})x(\d{1,3})`, pair(`\+`), pair(`\+`)}, ",") + `$`)
})

// Color is red, green and blue, 0 to 255.
type Color [3]int

// Colors are the schemes by which digits are coloured, so that people find tapes from afar. Vendors agree on which colour a digit has
// more or less, and not on its shade.
var Colors = map[string]map[byte]Color{
	"none": {},
	"usual": {'0': {230, 50, 40}, '1': {250, 230, 60}, '2': {150, 205, 80}, '3': {90, 180, 230}, '4': {165, 165, 165},
		'5': {240, 130, 40}, '6': {235, 120, 165}, '7': {80, 160, 75}, '8': {250, 185, 90}, '9': {125, 90, 150}},
}

// Labels say what labels are printed, and how.
type Labels struct {
	Texts   []string // eight characters each
	Layout  Layout
	Skip    int            // labels that the first sheet lacks
	Colors  map[byte]Color // of characters; white for others
	Printed time.Time
}

// WriteLabels writes a PDF document with the labels, one sheet after the other.
func WriteLabels(w io.Writer, l Labels) error {
	each := l.Layout.Columns * l.Layout.Rows
	switch {
	case len(l.Texts) == 0:
		return fmt.Errorf("make labels: there is none")
	case l.Skip < 0 || l.Skip >= each:
		return fmt.Errorf("make labels: a sheet has %d places, and %d cannot be skipped", each, l.Skip)
	}
	f := newPDF(l.Layout.Sheet, "LTO labels", l.Printed)
	for i, text := range l.Texts {
		place := i + l.Skip
		if i == 0 || place%each == 0 {
			f.AddPage()
		}
		place %= each
		x := l.Layout.Left + float64(place%l.Layout.Columns)*l.Layout.StepX
		y := l.Layout.Top + float64(place/l.Layout.Columns)*l.Layout.StepY
		if err := label(f, x, y, text, &l); err != nil {
			return fmt.Errorf("make labels: %w", err)
		}
	}
	if err := f.Output(w); err != nil {
		return fmt.Errorf("make labels: %w", err)
	}
	return nil
}

// CheckLabel refuses what an LTO label cannot hold.
func CheckLabel(text string) error {
	if !labelText().MatchString(text) {
		return fmt.Errorf("%q is no LTO label: six characters for the tape and two for its kind, A to Z and 0 to 9, such as AB0001L8", text)
	}
	return nil
}

// label draws one label: above, its characters in fields, and below, the bars.
func label(f *fpdf.Fpdf, x, y float64, text string, l *Labels) error {
	if err := CheckLabel(text); err != nil {
		return err
	}
	widths, err := Code39(text, narrowBar, wideRatio)
	if err != nil {
		return err
	}
	total := 0.0
	for _, width := range widths {
		total += width
	}
	if l.Layout.Marks {
		f.SetLineWidth(0.05)
		f.Rect(x, y, labelWidth, labelHeight, "D")
	}
	left := x + (labelWidth-total)/2
	fields(f, left, y, total, text, l.Colors)
	f.SetFillColor(0, 0, 0)
	for i, width := range widths {
		if i%2 == 0 {
			f.Rect(left, y+textBand, width, barHeight, "F")
		}
		left += width
	}
	return nil
}

// fields draws the readable characters over the width of the bars: one field for each of the tape's six, and one for its kind.
func fields(f *fpdf.Fpdf, x, y, width float64, text string, colors map[byte]Color) {
	each := width / 7
	f.SetLineWidth(0.1)
	for i := range 7 {
		word, size := text[i:min(i+1, 6)], 13.0
		if i == 6 {
			word, size = text[6:], 9
		}
		color, ok := colors[word[0]]
		if !ok || i == 6 {
			color = Color{255, 255, 255}
		}
		f.SetFillColor(color[0], color[1], color[2])
		f.Rect(x+float64(i)*each, y+0.3, each, textBand-0.6, "FD")
		f.SetFont("Helvetica", "B", size)
		at := x + float64(i)*each + (each-f.GetStringWidth(word))/2
		f.Text(at, y+textBand/2+math.Round(size*12)/100, word)
	}
}
