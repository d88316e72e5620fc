package paper

import (
	"bytes"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"testing"
	"time"
)

// decode39 reads bars and spaces as a reader would, knowing neither their unit nor their ratio.
func decode39(t *testing.T, widths []float64) string {
	t.Helper()
	least, most := math.Inf(1), 0.0
	for _, w := range widths {
		least, most = min(least, w), max(most, w)
	}
	text := ""
	for at := 0; at+elements <= len(widths); at += elements + 1 {
		wide := 0
		for _, w := range widths[at : at+elements] {
			wide <<= 1
			if w > (least+most)/2 {
				wide++
			}
		}
		found := byte('?')
		for c, want := range code39Wide {
			if want == wide {
				found = c
			}
		}
		text += string(found)
	}
	return text
}

func TestCode39(t *testing.T) {
	seen := map[int]byte{}
	for c, wide := range code39Wide {
		if bits.OnesCount(uint(wide)) != 3 || seen[wide] != 0 {
			t.Errorf("%c has the wide elements %09b, as %c has", c, wide, seen[wide])
		}
		seen[wide] = c
	}
	// The widest and narrowest characters of the standard's table, as printed there: bar, space, bar and so on.
	for c, want := range map[byte]string{'A': "wnnnnwnnw", '0': "nnnwwnwnn", 'Z': "nwwnwnnnn", '*': "nwnnwnwnn", 'L': "nnwnnnnww", '8': "wnnwnnwnn"} {
		got := ""
		for i := elements - 1; i >= 0; i-- {
			got += map[bool]string{true: "w", false: "n"}[code39Wide[c]>>i&1 == 1]
		}
		if got != want {
			t.Errorf("%c is %s, want %s", c, got, want)
		}
	}
	for _, text := range []string{"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "AB0001L8", ""} {
		widths, err := Code39(text, 0.432, 2.75)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode39(t, widths); got != "*"+text+"*" {
			t.Errorf("%q is read as %q", text, got)
		}
	}
	for _, text := range []string{"ab0001L8", "A*", "Ä", "A B"} {
		if _, err := Code39(text, 1, 3); err == nil {
			t.Errorf("%q became a bar code", text)
		}
	}
}

// bar is a filled rectangle of a document, in points.
type bar struct{ x, y, w, h float64 }

// black finds the black rectangles on each page.
func black(t *testing.T, doc []byte) (pages [][]bar) {
	t.Helper()
	for _, b := range pdfStreams(t, doc) {
		var page []bar
		color := ""
		for line := range strings.Lines(string(b)) {
			words := strings.Fields(line)
			switch {
			case len(words) > 1 && (words[len(words)-1] == "rg" || words[len(words)-1] == "g"):
				color = strings.Join(words, " ")
			case len(words) == 6 && words[4] == "re" && words[5] == "f" && strings.HasPrefix(color, "0.000"):
				var n [4]float64
				var err error
				for i := range n {
					if n[i], err = strconv.ParseFloat(words[i], 64); err != nil {
						t.Fatal(err)
					}
				}
				page = append(page, bar{n[0], n[1], n[2], math.Abs(n[3])})
			}
		}
		pages = append(pages, page)
	}
	return pages
}

// The bars that stand in the document are read back, and have the measures of LTO labels.
func TestLabels(t *testing.T) {
	const point = 25.4 / 72
	for name, layout := range Layouts {
		var texts []string
		for i := range layout.Columns*layout.Rows + 1 {
			texts = append(texts, "TEST"+strconv.Itoa(10+i)+"L9")
		}
		var doc bytes.Buffer
		if err := WriteLabels(&doc, Labels{Texts: texts, Layout: layout, Colors: Colors["usual"], Printed: time.Unix(0, 0)}); err != nil {
			t.Fatal(err)
		}
		pages := black(t, doc.Bytes())
		if len(pages) != 2 {
			t.Fatalf("%s: %d pages", name, len(pages))
		}
		at := 0
		for _, page := range pages {
			const bars = (elements/2 + 1) * 10
			for ; len(page) >= bars; page = page[bars:] {
				label := page[:bars]
				var widths []float64
				for i, b := range label {
					if i > 0 {
						widths = append(widths, b.x-label[i-1].x-label[i-1].w)
					}
					widths = append(widths, b.w)
					if b.h*point < 11.09 {
						t.Errorf("%s: a bar is %.2f mm high", name, b.h*point)
					}
				}
				if got := decode39(t, widths); got != "*"+texts[at]+"*" {
					t.Errorf("%s: label %d is read as %q, want %q", name, at, got, texts[at])
				}
				least, last := widths[0]*point, label[bars-1]
				if math.Abs(least-0.432) > 0.01 || math.Abs(widths[1]/widths[0]-2.75) > 0.1 {
					t.Errorf("%s: narrow %.3f mm, wide %.3f", name, least, widths[1]*point)
				}
				if whole := (last.x + last.w - label[0].x) * point; whole+2*quietZone > labelWidth {
					t.Errorf("%s: the bars are %.1f mm wide: no quiet zone is left", name, whole)
				}
				if label[0].x*point < quietZone || (last.x+last.w)*point > layout.Sheet.Width-quietZone {
					t.Errorf("%s: label %d leaves the sheet", name, at)
				}
				at++
			}
			if len(page) > 0 {
				t.Errorf("%s: %d bars are left over", name, len(page))
			}
		}
		if at != len(texts) {
			t.Errorf("%s: %d labels, want %d", name, at, len(texts))
		}
	}
}

func TestParseLayout(t *testing.T) {
	l, err := ParseLayout("210x297,2x14,22.5+18,87+19")
	if err != nil || l.Columns != 2 || l.Rows != 14 || l.Left != 22.5 || l.StepY != 19 || l.Marks {
		t.Errorf("%+v, %v", l, err)
	}
	for name, l := range Layouts {
		if l.Left+float64(l.Columns-1)*l.StepX+labelWidth > l.Sheet.Width || l.Top+float64(l.Rows-1)*l.StepY+labelHeight > l.Sheet.Height {
			t.Errorf("%s goes beyond its sheet", name)
		}
	}
	for _, text := range []string{"", "a5", "210x297", "210x297,3x14,22+18,87+19", "210x297,2x20,22+18,87+19", "210x297,2x14,22+18,70+19", "210x297,0x1,1+1,80+20", "1e3x1,1x1,1+1,1+1", "NaNxNaN,1x1,1+1,1+1"} {
		if l, err := ParseLayout(text); err == nil {
			t.Errorf("%q became %+v", text, l)
		}
	}
	for _, text := range []string{"AB0001", "ab0001L8", "AB0001L8X", "AB 001L8", "AB000*L8", ""} {
		if CheckLabel(text) == nil {
			t.Errorf("%q passes for a label", text)
		}
	}
}
