package ui

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintableWriter(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\n":         "plain\ttext\n",
		"Grüße, 写真 🎞\n":         "Grüße, 写真 🎞\n",
		"a\x1b[31mb":            `a\x1b[31mb`,
		"a\x00b\x07c\rd\x7fe":   `a\x00b\x07c\rd\u007fe`,
		"a\u0080b\u009bc\u009f": `a\u0080b\u009bc\u009f`,
		"latin \xe9 end":        `latin \xe9 end`,
		"cut \xe2\x82":          `cut \xe2\x82`,
		"\xc2":                  `\xc2`,
		"real \ufffd":           "real \ufffd",
		"\u202egnp.exe":         `\u202egnp.exe`,
		"a\u2066b\u200fc\u2028": `a\u2066b\u200fc\u2028`,
		"שלום, سلام":            "שלום, سلام",
	} {
		for size := 1; size <= len(in)+1; size++ { // however it is cut into writes
			var b bytes.Buffer
			p := &PrintableWriter{w: &b}
			for rest := []byte(in); len(rest) > 0; {
				n := min(size, len(rest))
				if k, err := p.Write(rest[:n]); k != n || err != nil {
					t.Fatal(k, err)
				}
				rest = rest[n:]
			}
			if err := p.Flush(); err != nil {
				t.Fatal(err)
			}
			if b.String() != want {
				t.Errorf("%q in writes of %d: %q, not %q", in, size, b.String(), want)
			}
		}
	}
}

func TestJSONStaysJSON(t *testing.T) {
	in := map[string]string{"name": "a\x1b\u009b\x7f\u0085b\u202e\n\"\\"}
	var b bytes.Buffer
	if err := WriteJSON(&b, in); err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsFunc(b.Bytes(), func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 }) {
		t.Errorf("%q", b.String())
	}
	var out map[string]string
	if err := json.Unmarshal(b.Bytes(), &out); err != nil || out["name"] != in["name"] {
		t.Errorf("%q comes back as %q: %v", in["name"], out["name"], err)
	}
}

// FuzzPrintable: no output holds what a terminal would obey, and JSON stays what it was.
func FuzzPrintable(f *testing.F) {
	for _, text := range []string{"plain", "a\x1b[31mb", "\u009b1m", "\u202egnp.exe", "\xff\xfe", "a\u2028b\u200f\u061c", "\u200b\ufeff", "\U000e0001", "tab\tnewline\n"} {
		f.Add(text)
	}
	obeyed := func(text string) bool {
		return strings.ContainsFunc(text, func(r rune) bool {
			return unicode.Is(unicode.Bidi_Control, r) || unicode.IsControl(r) && r != '\n' && r != '\t'
		})
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b bytes.Buffer
		p := &PrintableWriter{w: &b}
		for _, half := range []string{text[:len(text)/2], text[len(text)/2:]} {
			if _, err := io.WriteString(p, half); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, out := range []string{b.String(), Printable(text), PrintableText(text)} {
			if obeyed(out) || !utf8.ValidString(out) {
				t.Fatalf("%q is printed as %q", text, out)
			}
		}
		b.Reset()
		if err := WriteJSON(p, text); err != nil {
			t.Fatal(err)
		}
		var again string
		if err := json.Unmarshal(b.Bytes(), &again); err != nil || again != strings.ToValidUTF8(text, "\ufffd") && utf8.ValidString(text) {
			t.Fatalf("%q comes back as %q, %v", text, again, err)
		}
	})
}
func TestPrintable(t *testing.T) {
	for name, want := range map[string]string{"a b": "a b", "ü": "ü", "a\nb": `"a\nb"`, "\xff": `"\xff"`, "\x1b[31m": `"\x1b[31m"`} {
		if got := Printable(name); got != want {
			t.Errorf("Printable(%q) = %s, want %s", name, got, want)
		}
	}
}
