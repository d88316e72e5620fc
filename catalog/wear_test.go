package catalog_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapefs/tapefs/catalog"
)

// unsaid is a row in which the drive said nothing but what is set afterwards.
func unsaid(at time.Time, drive string, tape int64) catalog.Worn {
	return catalog.Worn{Time: at, Drive: drive, Tape: tape, Loads: -1, MBWritten: -1, MBRead: -1, WriteRetries: -1, ReadRetries: -1, WriteErrors: -1, ReadErrors: -1,
		DriveLoads: -1, Cleanings: -1, PoweredHours: -1, MovingHours: -1, Metres: -1}
}

// A day of a drive and a tape is one row, and keeps the flags of all its sessions.
func TestWear(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	wear, tape := l.db.Wear(), l.tapes[0].ID
	noon := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	first := unsaid(noon, "DRV1", tape)
	first.Alerts, first.Loads, first.WriteRetries = []int{20, 4}, 3, 7
	check(t, wear.Record(ctx, first))
	second := unsaid(noon.Add(time.Hour), "DRV1", tape)
	second.Alerts, second.Loads, second.WriteRetries, second.Metres = []int{7, 4}, 4, 9, 1234
	check(t, wear.Record(ctx, second))
	check(t, wear.Record(ctx, unsaid(noon.Add(2*time.Hour), "DRV2", tape)))
	check(t, wear.Record(ctx, unsaid(noon.Add(3*time.Hour), "DRV1", 0)))
	check(t, wear.Record(ctx, unsaid(noon.Add(4*time.Hour), "DRV1", 0)))
	check(t, wear.Record(ctx, unsaid(noon.Add(24*time.Hour), "DRV1", tape)))

	second.Alerts = []int{4, 7, 20}
	want := []catalog.Worn{unsaid(noon.Add(24*time.Hour), "DRV1", tape), unsaid(noon.Add(2*time.Hour), "DRV2", tape), second}
	if d := cmp.Diff(want, must(wear.OfTape(ctx, tape))(t)); d != "" {
		t.Error(d)
	}
	want = []catalog.Worn{want[0], unsaid(noon.Add(4*time.Hour), "DRV1", 0), second}
	if d := cmp.Diff(want, must(wear.OfDrive(ctx, "DRV1"))(t)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]int64{tape}, must(wear.Tapes(ctx))(t)); d != "" {
		t.Error(d)
	}
}

// What is kept is bounded for each tape and each drive, and a busy drive does not drive out what was said of a tape.
func TestWearBounded(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	wear := l.db.Wear()
	day := func(n int) time.Time { return time.Date(2020, 1, 1+n, 12, 0, 0, 0, time.UTC) }
	check(t, wear.Record(ctx, unsaid(day(0), "DRV1", l.tapes[1].ID)))
	const days = 230
	for n := 1; n <= days; n++ {
		check(t, wear.Record(ctx, unsaid(day(n), "DRV1", l.tapes[0].ID)))
		check(t, wear.Record(ctx, unsaid(day(n), "DRV2", 0)))
	}
	newest := func(list []catalog.Worn, rows int) {
		t.Helper()
		if len(list) != rows || !list[0].Time.Equal(day(days)) {
			t.Errorf("%d rows kept, the newest of %v", len(list), list[0].Time)
		}
	}
	newest(must(wear.OfTape(ctx, l.tapes[0].ID))(t), 200)
	newest(must(wear.OfDrive(ctx, "DRV2"))(t), 200)
	if list := must(wear.OfTape(ctx, l.tapes[1].ID))(t); len(list) != 1 {
		t.Errorf("%d rows of the other tape", len(list))
	}
	var rows int
	check(t, raw(t, l.db.FilePath()).QueryRow(`SELECT count(*) FROM wear`).Scan(&rows))
	if rows != 401 {
		t.Errorf("%d rows in all", rows)
	}
}
