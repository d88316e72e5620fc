package catalog_test

import (
	"context"

	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// What was timed is summed up, and what was done last outweighs what was done long ago.
func TestTimings(t *testing.T) {
	ctx := context.Background()
	db := create(t)
	if all := must(db.Timings(ctx))(t); len(all) != 0 {
		t.Errorf("nothing was timed, and there is %v", all)
	}
	load := catalog.Timed{What: catalog.TimedLoad, Times: 1, Took: time.Minute}
	check(t, db.AddTimed(ctx, load, load, catalog.Timed{What: catalog.TimedLocate}))
	all := must(db.Timings(ctx))(t)
	if got := all[catalog.TimedLoad]; got.Times != 2 || got.Took != 2*time.Minute || len(all) != 1 {
		t.Errorf("after two loads: %v", all)
	}
	for range 2000 {
		load.Took = 10 * time.Second
		check(t, db.AddTimed(ctx, load))
	}
	got := must(db.Timings(ctx))(t)[catalog.TimedLoad]
	if each := got.Took / time.Duration(got.Times); got.Times > 202 || each > 10100*time.Millisecond || each < 9900*time.Millisecond {
		t.Errorf("after many faster loads: %d times, %s each", got.Times, each)
	}
	stream := catalog.Timed{What: catalog.TimedStream, Times: 1, Bytes: 3 << 40, Took: time.Hour}
	check(t, db.AddTimed(ctx, stream, stream, stream))
	if got := must(db.Timings(ctx))(t)[catalog.TimedStream]; got.Bytes != 6<<40 || got.Took != 2*time.Hour {
		t.Errorf("streams: %+v", got)
	}
}
