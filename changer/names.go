package changer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapefs/tapefs/changer/lto"
)

// A label ends with two characters for the kind of medium, and some libraries leave them out, or begin to after an update of their
// firmware: VT0001 and VT0001L8 are one tape. Whoever keeps a list of tapes goes on with the name that it has there; that it is the
// tape is proved by its volume's UUID, as ever.

// suffixes are the kinds of media that a label may end with.
var suffixes = lto.Suffixes()

// Same reports whether two labels may be one tape's: equal, or equal but for a media suffix that one of them lacks.
func (b Barcode) Same(o Barcode) bool {
	if len(b) > len(o) {
		b, o = o, b
	}
	return b == o || b != "" && len(b) == 6 && len(o) == 8 && strings.HasPrefix(string(o), string(b)) && slices.Contains(suffixes, string(o[6:]))
}

// Spellings are the labels that a pattern for this one may have been written for: as it is, and with or without a media suffix.
func (b Barcode) Spellings() []Barcode {
	out := []Barcode{b}
	switch {
	case len(b) == 8 && b.Same(b[:6]):
		out = append(out, b[:6])
	case len(b) == 6 && !b.Cleaning():
		for _, s := range suffixes {
			out = append(out, b+Barcode(s))
		}
	}
	return out
}

// knownFor is how long a list of known tapes is used before it is asked for again.
const knownFor = 5 * time.Second

// Know gives the library the names under which tapes are known. Inventory uses them for labels that differ by the media suffix.
func (l *Library) Know(names func(context.Context) ([]Barcode, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = names
}

// known lists the known tapes.
func (l *Library) known(ctx context.Context) []Barcode {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.names == nil || time.Since(l.asked) < knownFor {
		return l.knows
	}
	names, err := l.names(ctx)
	if err != nil {
		l.log.Debug("ask which tapes are known", "err", err)
		return l.knows
	}
	l.knows, l.asked = names, time.Now()
	return l.knows
}

// Named gives the name of a tape that somebody wrote with or without its media suffix: the one under which it is known, else
// the one that the changer shows.
func (l *Library) Named(ctx context.Context, word Barcode) Barcode {
	known := l.known(ctx)
	if b := word.AmongSame(known); b != word || slices.Contains(known, word) || l.none() {
		return b
	}
	inv, err := l.Inventory(ctx)
	if err != nil {
		return word
	}
	return word.AmongSame(inv.Barcodes())
}

// AmongSame gives the only label of a list that is another spelling of this one; this one itself when it is in the list, too,
// or none or several are.
func (b Barcode) AmongSame(list []Barcode) Barcode {
	if other, ok := onlySame(list, b); ok {
		return other
	}
	return b
}

// onlySame is the only label of a list that may be the same tape's; an equal one comes before all others.
func onlySame(list []Barcode, b Barcode) (found Barcode, ok bool) {
	if slices.Contains(list, b) {
		return b, true
	}
	n := 0
	for _, x := range list {
		if x.Same(b) {
			found = x
			n++
		}
	}
	return found, n == 1
}

// useNames replaces labels of the inventory by the names of known tapes. A label that may be several tapes' is left as
// it is and noted as unclear.
func (inv *Inventory) useNames(known []Barcode) {
	shown := map[Barcode]bool{}
	inv.eachLabel(func(b *Barcode) { shown[*b] = true })
	names := map[Barcode][]Barcode{} // of labels that are not known as they are
	for s := range shown {
		if s == "" || s.Cleaning() || slices.Contains(known, s) {
			continue
		}
		for _, k := range known {
			if k.Same(s) {
				names[s] = append(names[s], k)
			}
		}
	}
	inv.ReadAs, inv.Unclear = map[Barcode]Barcode{}, map[Barcode][]Barcode{}
	for s, all := range names {
		taken := len(all) > 1 || shown[all[0]]
		for other, theirs := range names {
			taken = taken || other != s && slices.Contains(theirs, all[0])
		}
		if taken {
			slices.Sort(all)
			inv.Unclear[s] = all
		}
	}
	inv.eachLabel(func(b *Barcode) {
		if all := names[*b]; len(all) == 1 && inv.Unclear[*b] == nil {
			inv.ReadAs[all[0]] = *b
			*b = all[0]
		}
	})
}

func (inv *Inventory) eachLabel(f func(*Barcode)) {
	for i := range inv.Drives {
		f(&inv.Drives[i].Barcode)
	}
	for i := range inv.Slots {
		f(&inv.Slots[i].Barcode)
	}
}

// unclear is the error of a label that may be several tapes'.
func (inv *Inventory) unclear(op string, b Barcode) error {
	all := inv.Unclear[b]
	if len(all) == 0 {
		return nil
	}
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = string(n)
	}
	return fail(op, fmt.Errorf("%w: the library reads the label %s, which may be that of %s", ErrUnknown, b, strings.Join(names, " or ")),
		"have the library read labels with all eight characters, or take one of the tapes out")
}

// Guessed reports whether the changer reads another label on a known tape than its name: with or without a media suffix.
func (l *Library) Guessed(b Barcode) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.readAs[b]
	return ok
}

// Spelt finds the only tape in the library whose label is another spelling of this one, with or without a media suffix.
func (inv *Inventory) Spelt(b Barcode) (Barcode, bool) {
	found, ok := onlySame(inv.Barcodes(), b)
	return found, ok && found != b
}
