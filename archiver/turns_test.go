package archiver

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tapefs/changer"
	"tapefs/changer/virtual"
)

// TestEachTurnOfTheWriterWrites: two others want the drive all the time. Whenever the writer has it, it writes at least one part before
// it gives way, and with a slice it writes on.
func TestEachTurnOfTheWriterWrites(t *testing.T) {
	const parts = 4
	for name, c := range map[string]struct {
		slice time.Duration
		most  int32 // handovers
	}{
		"a part each turn": {time.Nanosecond, parts},
		"a long slice":     {time.Hour, 1}, // the drive may have been found free at first
	} {
		t.Run(name, func(t *testing.T) {
			w := newBackWorld(t, virtual.Options{TapeSize: 96 << 20, Drives: 1})
			for i := range parts {
				w.write("src/"+strings.Repeat("x", i+1), byte(i), 100<<10)
			}
			var handovers atomic.Int32
			w.open(func(c2 *Config) {
				onlySrc(c2)
				c2.WriterSlice = c.slice
				c2.Progress = noteFunc(func(text string) {
					if strings.HasPrefix(text, "another process wants the drive") {
						handovers.Add(1)
					}
				})
			})
			ctx, cancel := context.WithCancel(t.Context())
			var others sync.WaitGroup
			others.Go(func() { w.wantAlways(ctx) })
			others.Go(func() { w.wantAlways(ctx) })
			s := w.archive()
			cancel()
			others.Wait()
			if n := handovers.Load(); n > c.most {
				t.Errorf("%d handovers for %d parts", n, parts)
			}
			if s.Counts["src"]["objects"] != parts {
				t.Errorf("counts %+v", s.Counts)
			}
			w.settled()
		})
	}
}

func onlySrc(c *Config) { c.Sources = c.Sources[:1] }

// wantAlways is another process that wants the only drive, has it for a moment, and wants it again.
func (w *backWorld) wantAlways(ctx context.Context) {
	a, db, err := backOpen(w.dir, w.a.log, nil)
	if err != nil {
		w.Error(err)
		return
	}
	defer db.Close()
	for ctx.Err() == nil {
		le, err := a.lib.Lease(ctx, changer.Request{Drive: w.vl.Drives[0].Serial, Purpose: "read"})
		if err != nil {
			if ctx.Err() == nil {
				w.Error(err)
			}
			return
		}
		if err := le.Release(context.WithoutCancel(ctx)); err != nil {
			w.Error(err)
		}
	}
}
