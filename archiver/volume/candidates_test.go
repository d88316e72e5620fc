package volume

import (
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// max(2 %, min(5 GiB, 5 % of the tape)), or what the pool says; beside it room for the last manifest.
func TestKeepFree(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		pool           job.Pool
		capacity, want int64
	}{
		{job.Pool{}, 64 << 20, 64<<20/20 + 1<<20},                 // 5 % of a small tape
		{job.Pool{}, 100 * gib, 5*gib + MaxReserve},               // 5 GiB, which is 5 %
		{job.Pool{}, 200 * gib, 5*gib + MaxReserve},               // 5 GiB, less than 5 %
		{job.Pool{}, 12_000 * gib, 240*gib + MaxReserve},          // 2 %, more than 5 GiB
		{job.Pool{KeepFree: gib}, 12_000 * gib, gib + MaxReserve}, // as configured
	} {
		if got := KeepFree(c.pool, c.capacity); got != c.want {
			t.Errorf("of %d bytes %d stay free, not %d", c.capacity, got, c.want)
		}
	}
}

// The fullest started tape comes first, then formats that were cut short, then tapes that the catalog does not know;
// never cleaning cartridges, full or suspect ones, those of other pools, and those on their way out.
func TestCandidates(t *testing.T) {
	p := job.Pool{Name: "main", Include: []string{"*"}, Exclude: []string{"X*"}, FormatBlank: true}
	tapes := []catalog.Tape{
		{Barcode: "A00001L8", UUID: "1", PoolName: "main", State: catalog.TapeOpen, Used: 10},
		{Barcode: "A00002L8", UUID: "2", PoolName: "main", State: catalog.TapeOpen, Used: 20},
		{Barcode: "A00003L8", UUID: "3", PoolName: "main", State: catalog.TapeFull},
		{Barcode: "A00004L8", UUID: "4", PoolName: "main", State: catalog.TapeSuspect},
		{Barcode: "A00005L8", UUID: "5", PoolName: "other", State: catalog.TapeOpen},
		{Barcode: "A00006L8", UUID: "6", PoolName: "main", State: catalog.TapeOpen, Place: "the safe"},
		{Barcode: "Z00001L8", PoolName: "main", State: catalog.TapeOpen, Stage: catalog.StageFormatting, Formatted: time.Unix(1, 0)},
		{Barcode: "Z00002L8", PoolName: "main", State: catalog.TapeSuspect, Formatted: time.Unix(1, 0)},
	}
	present := []changer.Barcode{"", "A00000", "A00001L8", "A00002L8", "A00003L8", "A00004L8", "A00005L8", "A00006L8", "B00001L8", "CLN001L1",
		"X00001L8", "Z00001L8", "Z00002L8"}
	check := func(want ...changer.Barcode) {
		t.Helper()
		var got []changer.Barcode
		for _, c := range Candidates(p, present, tapes) {
			got = append(got, c.Barcode)
			if c.Known != (c.Tape.UUID != "") {
				t.Errorf("%s: known %v", c.Barcode, c.Known)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("candidates %q, want %q", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("candidates %q, want %q", got, want)
			}
		}
	}
	check("A00002L8", "A00001L8", "Z00001L8", "B00001L8", "A00000")
	p.FormatBlank = false
	check("A00002L8", "A00001L8")
}
