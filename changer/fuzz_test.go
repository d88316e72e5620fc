package changer

import (
	"log/slog"
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

// FuzzVolumeAttributes: what a mounted tape says of itself is a number or is not known, and can be noted.
func FuzzVolumeAttributes(f *testing.F) {
	f.Add("12345", "0x0")
	f.Add(" 7\n", "")
	f.Add("-1", "0x0800000000000000")
	f.Add("9223372036854775808", "x\x00\xff")
	f.Add("1e9", "LTFS")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, number, text string) {
		attrs := map[string]string{"partitionMap": text, "mediaStorageAlert": text}
		for _, name := range counterAttrs[1 : len(counterAttrs)-1] {
			attrs[name] = number
		}
		c := countersOf(attrs)
		for _, n := range []int64{c.DataCapacity, c.DataFree, c.IndexCapacity, c.IndexFree, c.Loads, c.MiBWritten, c.MiBRead, c.PermanentWriteErrors} {
			if n < -1 {
				t.Fatalf("%q is %d", number, n)
			}
		}
		if err := c.note(dir, "volume"); err != nil {
			t.Fatal(err)
		}
		again, err := ReadCounters(dir, "volume")
		if err != nil || again.DataCapacity != c.DataCapacity || again.Loads != c.Loads {
			t.Fatalf("%+v comes back as %+v, %v", c, again, err)
		}
	})
}

// FuzzNotes: the notes in the run folder, which another version or a crash may have left in any state, are read or passed over.
func FuzzNotes(f *testing.F) {
	const uuid = "11111111-2222-3333-4444-555555555555"
	f.Add([]byte(`{"barcode":"A00001L8","uuid":"`+uuid+`","drive":"X","since":"2026-01-02T03:04:05Z","pid":1,"started":"5"}`), "1 5\n", "ltfs\x00-o\x00devname=/dev/sg1\x00/mnt")
	f.Add([]byte("{}"), "-1 x", "sh\x00ltfs\x00-f\x00-odevname=X,ro\x00/m")
	f.Add([]byte("\x00"), "", "")
	f.Fuzz(func(t *testing.T, note []byte, stuck, command string) {
		l := &Library{cfg: Config{RunDir: t.TempDir()}, log: slog.New(slog.DiscardHandler), roots: roots{proc: "/proc"}}
		for name, text := range map[string][]byte{l.sessionFile(uuid): note, l.stuckFile("X"): []byte(stuck), countersFile(l.cfg.RunDir, uuid): note} {
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range l.sessions() {
			if s.UUID != uuid || s.String() == "" {
				t.Fatalf("%q is %+v", note, s)
			}
		}
		l.Died()
		_, _ = ReadCounters(l.cfg.RunDir, uuid)
		if pid := l.stuckPid(DriveConfig{Serial: "X"}); pid < 0 {
			t.Fatalf("%q is process %d", stuck, pid)
		}
		args := strings.Split(command, "\x00")
		device, mountPoint := l.parseLtfsArgs(args)
		if !strings.Contains(command, device) || !strings.Contains(command, mountPoint) {
			t.Fatalf("%q is %q on %q", command, device, mountPoint)
		}
		if uuid, serial := readLabel(command); len(uuid) != 36 && uuid != "" || !strings.Contains(command, serial) {
			t.Fatalf("label %q %q", uuid, serial)
		}
	})
}
