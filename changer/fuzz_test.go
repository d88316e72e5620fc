package changer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seed adds every recorded output.
func seed(f *testing.F) {
	f.Helper()
	all, err := filepath.Glob(filepath.Join(transcripts, "*m*t*.txt"))
	if err != nil || len(all) < 50 {
		f.Fatalf("%d transcripts, %v", len(all), err)
	}
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
}

func FuzzParseStatus(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text string) {
		inv, err := parseStatus(text)
		if err != nil {
			return
		}
		for _, d := range inv.Drives {
			if d.Number < 0 || d.FromSlot < 0 || !d.Full && (d.Barcode != "" || d.FromSlot != 0) || string(d.Barcode) != strings.TrimSpace(string(d.Barcode)) {
				t.Fatalf("%+v", d)
			}
			if n, ok := inv.home(d); ok {
				if s, found := inv.slot(n); !found || s.Number != n {
					t.Fatalf("home %d of %+v", n, d)
				}
			}
		}
		for _, s := range inv.Slots {
			if s.Number < 0 || !s.Full && s.Barcode != "" || strings.Contains(string(s.Barcode), "\n") {
				t.Fatalf("%+v", s)
			}
			if g := s.Barcode.Generation(); g < 0 || g > 10 || s.Barcode.WriteOnce() && g == 0 {
				t.Fatalf("%q is LTO-%d", s.Barcode, g)
			}
			if n := len(s.Barcode.Serial()); n > 6 {
				t.Fatalf("serial of %d characters", n)
			}
		}
		inv.Barcodes()
	})
}

func FuzzParseMT(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text string) {
		if st, err := parseMT(text); err != nil && (st.Online || st.EOD) {
			t.Fatalf("%+v with %v", st, err)
		}
		if n, err := parseTell(text); err == nil && n < 0 {
			t.Fatalf("block %d", n)
		}
	})
}

func FuzzParseMessages(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range ltfsCodes(text) {
			if len(c) != 6 || !strings.Contains(text, "LTFS"+c) {
				t.Fatalf("code %q", c)
			}
		}
		for _, s := range parseSense(text) {
			if s.Code < -1 || s.Code > 255 || s.Qualifier < -1 || s.Qualifier > 255 {
				t.Fatalf("%+v", s)
			}
		}
		for _, d := range dialects {
			d.cause(text, "A00001L8")
		}
		mtxCause(text)
		if u := formattedUUID(text); u != "" && len(u) != 36 {
			t.Fatalf("UUID %q", u)
		}
		if q, err := parseInquiry(text); err == nil && (q.Generation() < 0 || q.Generation() > 20) {
			t.Fatalf("%+v", q)
		}
		_ = (&ProgramError{Args: []string{text}, Code: 1, Stderr: lastLines(text, stderrLines)}).Error()
	})
}

func FuzzParseLsscsi(f *testing.F) {
	for _, name := range []string{"hp-lsscsi", "lsscsi-g", "lsscsi-gi"} {
		b, err := os.ReadFile(filepath.Join(transcripts, name+".txt"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, n := range parseLsscsi(text) {
			if n.Type == "" || n.Primary == "" || n.Generic == "" || strings.ContainsAny(n.Address, "\n ") || !strings.Contains(text, n.Generic) {
				t.Fatalf("%+v", n)
			}
		}
	})
}
