package motion

import (
	"math"
	"sync"
)

const (
	// keptSamples of a tape are looked at, the newest ones.
	keptSamples = 200
	// fewSamples tell where a tape's wraps end, when the costs are known from other tapes; manySamples tell both.
	fewSamples  = 4
	manySamples = 16
	// Capacities are known to 3 %, and a step must not move the last of some 300 wraps by more than a few hundredths of its length.
	widest = 0.03
	coarse = 1e-4
	// believed is which part of the spread of times a model may leave unexplained.
	believed = 0.35
	// A layout must explain so much more than one that was tried before it, and is likelier.
	enough, negligible = 0.9, 0.1 // the latter in seconds
)

// Learner gathers what locates took. Safe for concurrent use.
type Learner struct {
	mu      sync.Mutex // protects all below
	tapes   map[string]*tape
	formats map[string]*tape // the one that is best known of each format
}

// tape is what is known of one cartridge.
type tape struct {
	nominal Layout
	samples []Sample
	tried   int     // samples at the last fit
	scale   float64 // of the layout, 0 not known
	costs   costs
	wrong   float64 // seconds
	own     bool    // its costs are its own
}

// Add gives the learner a locate on a tape. Format names what tapes have in common; nominal is the layout that they should have.
func (l *Learner) Add(barcode, format string, nominal Layout, s Sample) {
	if !nominal.Known() || !(s.Seconds >= 0) || math.IsInf(s.Seconds, 0) || s.From < 0 || s.To < 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tape(barcode, nominal)
	t.samples = append(t.samples, s)
	if over := len(t.samples) - keptSamples; over > 0 {
		t.samples = t.samples[over:]
		t.tried -= over
	}
}

// Model is what is known of a tape: of itself, or else as of the tape of its format that is known best. Nil: nothing yet.
func (l *Learner) Model(barcode, format string, nominal Layout) *Model {
	if !nominal.Known() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tape(barcode, nominal)
	if n := len(t.samples); n >= fewSamples && (n-t.tried >= 8 || n <= 2*manySamples && n > t.tried) {
		t.fit(l.formats[format])
		t.tried = n
		if best := l.formats[format]; t.own && (best == nil || len(t.samples) >= len(best.samples)) {
			l.formats[format] = t
		}
	}
	from := t
	if t.scale == 0 {
		if from = l.formats[format]; from == nil || from.scale == 0 {
			return nil
		}
	}
	return &Model{nominal.scaled(from.scale), from.costs, from.wrong}
}

func (l *Learner) tape(barcode string, nominal Layout) *tape {
	if l.tapes == nil {
		l.tapes, l.formats = map[string]*tape{}, map[string]*tape{}
	}
	t := l.tapes[barcode]
	if t == nil || t.nominal != nominal {
		t = &tape{nominal: nominal}
		l.tapes[barcode] = t
	}
	return t
}

// fit looks for the scale and the costs under which the samples are explained best. Those of the tape that is known best of its
// format are as good as any that explain no more.
func (t *tape) fit(best *tape) {
	t.scale, t.own = 0, false
	limit := believed * spread(t.samples)
	if best != nil && best != t && best.scale != 0 {
		t.scale, t.costs, t.wrong = best.scale, best.costs, best.costs.error(t.nominal.scaled(best.scale), t.samples)
		if t.wrong > limit/2 {
			if scale, _, wrong := t.search(func(Layout) costs { return best.costs }); wrong < t.wrong/2 {
				t.scale, t.wrong = scale, wrong
			}
		}
	}
	if len(t.samples) >= manySamples && (t.scale == 0 || t.wrong > limit/2) {
		scale, c, wrong := t.search(func(at Layout) costs { return regress(at, t.samples) })
		if t.scale == 0 || wrong < t.wrong/2 {
			t.scale, t.costs, t.wrong, t.own = scale, c, wrong, true
		}
	}
	if t.scale != 0 && t.wrong > limit {
		t.scale, t.own = 0, false
	}
}

// search tries layouts, those near the nominal one first, and then closely around the one that fits best.
func (t *tape) search(costsFor func(Layout) costs) (scale float64, c costs, wrong float64) {
	wrong = math.Inf(1)
	around := func(middle, width, step float64) {
		for off := 0.0; off <= width; off += step {
			for _, s := range []float64{middle + off, middle - off} {
				at := t.nominal.scaled(s)
				try := costsFor(at)
				if e := try.error(at, t.samples); e < enough*wrong-negligible {
					scale, c, wrong = s, try, e
				}
			}
		}
	}
	around(1, widest, coarse)
	around(scale, coarse, coarse/8)
	return scale, c, wrong
}
