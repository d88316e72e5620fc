package lto

import (
	"testing"
)

// The table holds together: every name, suffix and density code is there once, and every suffix that a drive names is a format's.
func TestTable(t *testing.T) {
	suffixes, codes := map[string]bool{}, map[uint64]bool{}
	last := Format{}
	for _, f := range Formats() {
		if f.Generation < last.Generation || f.Capacity <= last.Capacity || f.Density <= last.Density || f.Source == "" {
			t.Errorf("%+v after %+v", f, last)
		}
		last = f
		for _, s := range []string{f.Suffix, f.WORM} {
			if s != "" && (suffixes[s] || len(s) != 2) {
				t.Errorf("%s: suffix %q", f.Name, s)
			}
			suffixes[s] = true
		}
		if codes[f.Density] {
			t.Errorf("%s: density code 0x%x twice", f.Name, f.Density)
		}
		codes[f.Density] = true
		if f.Slowest >= f.Fastest {
			t.Errorf("%s: %d to %d MB/s", f.Name, f.Slowest, f.Fastest)
		}
		if got, ok := ByDensity(f.Density); !ok || got.Name != f.Name {
			t.Errorf("density 0x%x: %+v", f.Density, got)
		}
		if !f.Writes(f.Generation) || !f.Reads(f.Generation) {
			t.Errorf("LTO-%d does not use its own %s", f.Generation, f.Name)
		}
	}
	if len(Suffixes()) != len(suffixes)-1 {
		t.Errorf("suffixes %v", Suffixes())
	}
	for g := 1; g <= Latest; g++ {
		if f, ok := ByGeneration(g); !ok || f.Generation != g {
			t.Errorf("generation %d: %+v", g, f)
		}
		for _, s := range append(drives[g].writes, drives[g].onlyReads...) {
			if _, worm, ok := BySuffix(s); !ok || worm {
				t.Errorf("LTO-%d drives name %q", g, s)
			}
		}
	}
}

func TestDrives(t *testing.T) {
	for _, c := range []struct {
		drive         int
		suffix        string
		reads, writes bool
	}{
		{5, "L5", true, true}, {6, "L5", true, true}, {6, "L4", true, false}, {7, "L5", true, false}, {7, "L6", true, true}, {7, "L8", false, false},
		{7, "M8", false, false}, {8, "M8", true, true}, {9, "M8", false, false}, {8, "L8", true, true}, {8, "L7", true, true}, {8, "L6", false, false},
		{9, "L8", true, true}, {9, "L7", false, false}, {9, "LY", true, true}, {10, "L9", false, false}, {10, "LA", true, true}, {10, "PA", true, true},
		{9, "LA", false, false}, {11, "L5", true, true}, // one that the table does not know
	} {
		f, _, ok := BySuffix(c.suffix)
		if !ok || f.Reads(c.drive) != c.reads || f.Writes(c.drive) != c.writes {
			t.Errorf("an LTO-%d drive and %s: reads %v, writes %v", c.drive, c.suffix, f.Reads(c.drive), f.Writes(c.drive))
		}
	}
}

func TestReaders(t *testing.T) {
	f, _, _ := BySuffix("L5")
	if got := f.Readers(false); got != "LTO-5, LTO-6 or LTO-7" {
		t.Error(got)
	}
	if got := f.Readers(true); got != "LTO-5 or LTO-6" {
		t.Error(got)
	}
	if f, worm, _ := BySuffix("LZ"); f.Name != "LTO-9" || !worm {
		t.Errorf("LZ: %s, write-once %v", f.Name, worm)
	}
	if f, worm, _ := BySuffix("LA"); f.Readers(true) != "LTO-10" || worm {
		t.Errorf("LA: %s, write-once %v", f.Readers(true), worm)
	}
	if _, _, ok := BySuffix(""); ok {
		t.Error("no suffix is one")
	}
}

// A place on the tape is estimated with what LTFS has of it.
func TestDataPartition(t *testing.T) {
	for suffix, want := range map[string]struct {
		terabytes float64
		wraps     int
	}{"L5": {1.425, 76}, "L8": {11.77, 204}, "L9": {17.74, 276}, "M8": {8.786, 164}, "LA": {0, 0}} {
		f, _, _ := BySuffix(suffix)
		bytes, wraps := f.DataPartition()
		if d := float64(bytes)/1e12 - want.terabytes; wraps != want.wraps || d < -0.01 || d > 0.01 {
			t.Errorf("%s: %d bytes on %d wraps", suffix, bytes, wraps)
		}
	}
}
