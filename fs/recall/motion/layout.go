package motion

import "math"

// Layout says where along a tape its bytes lie. The zero Layout knows nothing, and takes bytes for length.
type Layout struct {
	WrapBytes float64 // that one wrap holds; 0: not known
	BandWraps int64   // wraps that lie in one data band, beside which the head goes on; 0: not known
}

// Known reports whether places can be told from bytes.
func (l Layout) Known() bool { return l.WrapBytes > 0 }

// Along is the place of a byte along the tape's length: 0 its beginning, 1 its end.
func (l Layout) Along(addr int64) float64 {
	if !l.Known() {
		return float64(addr)
	}
	return l.place(addr).x
}

// place is where a byte lies.
type place struct {
	wrap int64
	band int64
	x    float64 // along the length, 0 to 1
	back bool    // read on the way to the tape's beginning
}

func (l Layout) place(addr int64) place {
	whole, x := math.Modf(float64(max(0, addr)) / l.WrapBytes)
	p := place{wrap: int64(whole), x: x}
	if p.back = p.wrap%2 == 1; p.back {
		p.x = 1 - x
	}
	if l.BandWraps > 0 {
		p.band = p.wrap / l.BandWraps
	}
	return p
}

// scaled is the layout of a tape whose wraps hold so many times as much.
func (l Layout) scaled(by float64) Layout {
	l.WrapBytes *= by
	return l
}
