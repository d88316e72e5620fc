package changer

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSame(t *testing.T) {
	for _, c := range []struct {
		a, b Barcode
		want bool
	}{
		{"VT0001", "VT0001L8", true}, {"VT0001L8", "VT0001", true}, {"VT0001M8", "VT0001", true}, {"VT0001", "VT0001", true},
		{"VT0001L7", "VT0001L8", false}, {"VT0002", "VT0001L8", false}, {"VT0001", "VT0001XY", false}, {"VT000", "VT000L8", false},
		{"", "VT0001L8", false}, {"VT0001", "VT0001L", false},
	} {
		if got := c.a.Same(c.b); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}

func TestUseNames(t *testing.T) {
	type names = map[Barcode][]Barcode
	for name, c := range map[string]struct {
		shown, known, want []Barcode
		unclear            names
	}{
		"the suffix is gone":                 {[]Barcode{"VT0001", "VT0002"}, []Barcode{"VT0001L8"}, []Barcode{"VT0001L8", "VT0002"}, nil},
		"the suffix is new":                  {[]Barcode{"VT0001L8"}, []Barcode{"VT0001"}, []Barcode{"VT0001"}, nil},
		"nothing differs":                    {[]Barcode{"VT0001L8", "VT0001L7"}, []Barcode{"VT0001L8", "VT0001L7"}, []Barcode{"VT0001L8", "VT0001L7"}, nil},
		"two known tapes may be meant":       {[]Barcode{"VT0001"}, []Barcode{"VT0001L7", "VT0001L8"}, []Barcode{"VT0001"}, names{"VT0001": {"VT0001L7", "VT0001L8"}}},
		"the known tape is there as well":    {[]Barcode{"VT0001", "VT0001L8"}, []Barcode{"VT0001L8"}, []Barcode{"VT0001", "VT0001L8"}, names{"VT0001": {"VT0001L8"}}},
		"two labels could be the known tape": {[]Barcode{"VT0001L7", "VT0001L8"}, []Barcode{"VT0001"}, []Barcode{"VT0001L7", "VT0001L8"}, names{"VT0001L7": {"VT0001"}, "VT0001L8": {"VT0001"}}},
		"cleaning cartridges have no name":   {[]Barcode{"CLN001"}, []Barcode{"CLN001L8"}, []Barcode{"CLN001"}, nil},
		"no label":                           {[]Barcode{""}, []Barcode{"VT0001L8"}, []Barcode{""}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inv := &Inventory{}
			for i, b := range c.shown {
				inv.Slots = append(inv.Slots, Slot{Number: i + 1, Full: true, Barcode: b})
			}
			inv.useNames(c.known)
			var got []Barcode
			for _, s := range inv.Slots {
				got = append(got, s.Barcode)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if c.unclear == nil {
				c.unclear = names{}
			}
			if d := cmp.Diff(c.unclear, inv.Unclear); d != "" {
				t.Error(d)
			}
		})
	}
}
