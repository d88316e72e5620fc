package fs

import (
	"context"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

// onDisk is an Opener that has so many bytes of every version.
type onDisk int64

func (onDisk) Open(context.Context, catalog.ID, uint32) (Content, error) {
	return nil, catalog.ErrNotFound
}
func (n onDisk) CachedBytes(catalog.ID) int64 { return int64(n) }

// user.tapefs.state says the best that is true of a file.
func TestState(t *testing.T) {
	place := func(state catalog.CopyState, barcodes ...string) catalog.Place {
		p := catalog.Place{Copy: catalog.Copy{State: state}}
		for _, b := range barcodes {
			p.Parts = append(p.Parts, catalog.CopyPart{Barcode: b})
		}
		return p
	}
	const in, out = "VT0001L8", "OUT001L8"
	for _, c := range []struct {
		want   string
		size   int64
		cached int64
		spool  bool
		places []catalog.Place
	}{
		{want: "cached"}, // nothing has to be read of an empty file
		{want: "spool", size: 10, spool: true},
		{want: "cached", size: 10, cached: 10, places: []catalog.Place{place(catalog.Durable, out)}},
		{want: "partial", size: 10, cached: 9, places: []catalog.Place{place(catalog.Durable, in)}},
		{want: "nearline", size: 10, places: []catalog.Place{place(catalog.Durable, in)}},
		{want: "nearline", size: 10, places: []catalog.Place{place(catalog.Durable, out), place(catalog.Durable, in, in)}},
		{want: "offline", size: 10, places: []catalog.Place{place(catalog.Durable, in, out)}},
		{want: "offline", size: 10, places: []catalog.Place{place(catalog.Durable, out), place(catalog.Written, in)}},
		{want: "unproved", size: 10, places: []catalog.Place{place(catalog.Written, in), place(catalog.CopyDamaged, in)}},
		{want: "damaged", size: 10, places: []catalog.Place{place(catalog.CopyDamaged, in)}},
		{want: "damaged", size: 10},
	} {
		f := &face{content: onDisk(c.cached), o: Options{Outside: func(_ context.Context, barcode string) bool { return barcode == out }}}
		loc := catalog.Location{Places: c.places}
		if c.spool {
			loc.Batch = &catalog.Batch{}
		}
		if got := f.state(context.Background(), &catalog.Version{Size: c.size}, &loc); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
