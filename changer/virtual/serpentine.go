package virtual

import "math"

// Serpentine is how a tape is laid out, and what the parts of a locate take on it, in seconds. A tape is written there and back along its
// length: what is far in bytes may be near in length.
type Serpentine struct {
	Wraps     int // of the data partition
	BandWraps int // of them in one data band

	Any    float64 // start, stop and settle
	Length float64 // over the whole length of the tape
	Wrap   float64 // to another wrap
	Band   float64 // to another data band
	Half   float64 // to the other half of the tape's length
	Turn   float64 // to a wrap that is read in the other direction
	Behind float64 // to what lies behind the head in the direction of reading
}

// roundLTO8 are round figures of LTO-8 drives.
var roundLTO8 = Serpentine{Wraps: 204, BandWraps: 51, Any: 3, Length: 90, Wrap: 1}

// PublishedLTO9 has LTO-9's 280 wraps in four bands, less those that LTFS's index partition takes, and the parts of a locate that CERN
// measured on LTO-7 media for its tape archive's recommended access order. There the length counts in the positions of the servo
// pattern, 7.2 mm apart, at 0.6192 ms; a tape of LTO-9 is 1,035 m long.
var PublishedLTO9 = Serpentine{Wraps: 276, BandWraps: 69, Any: 4.29, Length: 1035 / 0.0072 * 0.0006192, Wrap: 6.69, Band: 3.2, Half: -6.04, Turn: 5.22, Behind: 11.32}

// What IBM publishes of its LTO-9 drives.
const (
	LTO9LoadSeconds   = 16.0
	LTO9UnloadSeconds = 56.0
	LTO9Rate          = 400e6 // bytes a second
)

// Seconds is the time of a locate between two places given as fractions of the tape's capacity.
func (s Serpentine) Seconds(from, to float64) float64 {
	w1, x1 := s.place(from)
	w2, x2 := s.place(to)
	t := s.Any + math.Abs(x1-x2)*s.Length
	if w1 != w2 {
		t += s.Wrap
	}
	if s.BandWraps > 0 && w1/s.BandWraps != w2/s.BandWraps {
		t += s.Band
	}
	if (x1 < 0.5) != (x2 < 0.5) {
		t += s.Half
	}
	if w1%2 != w2%2 {
		t += s.Turn
	} else if (x2 < x1) != (w1%2 == 1) && x1 != x2 {
		t += s.Behind
	}
	return math.Max(0, t)
}

// place is the wrap of a place, and where along the length it lies.
func (s Serpentine) place(f float64) (wrap int, x float64) {
	f = math.Min(math.Max(f, 0), 1) * float64(s.Wraps)
	wrap = int(f)
	x = f - float64(wrap)
	if wrap%2 == 1 {
		x = 1 - x
	}
	return wrap, x
}
