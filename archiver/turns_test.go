package archiver

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// TestEachTurnOfTheWriterWrites: two others want the drive all the time. Whenever the writer has it, it writes at least one part before
// it gives way, and with a slice it writes on.
func TestEachTurnOfTheWriterWrites(t *testing.T) {
	const parts = 4
	for name, slice := range map[string]time.Duration{"a part each turn": time.Nanosecond, "a long slice": time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newBackWorld(t, virtual.Options{TapeSize: 96 << 20, Drives: 1})
			for i := range parts {
				w.write("src/"+strings.Repeat("x", i+1), byte(i), 100<<10)
			}
			var handovers, early atomic.Int32
			var waited atomic.Bool // for the drive as it has it now: what was found free has no slice
			w.open(func(c2 *Config) {
				onlySrc(c2)
				c2.WriterSlice = slice
				c2.Progress = noteFunc(func(text string) {
					switch {
					case strings.HasPrefix(text, "waiting for a drive"):
						waited.Store(true)
					case strings.HasPrefix(text, "another process wants the drive"):
						handovers.Add(1)
						if waited.Swap(false) && slice == time.Hour {
							early.Add(1)
						}
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
			if n := handovers.Load(); n > parts || early.Load() > 0 {
				t.Errorf("%d handovers for %d parts, %d of them within a slice", n, parts, early.Load())
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
	a, db, err := backOpen(w.dir, w.a.env.Log, nil)
	if err != nil {
		w.Error(err)
		return
	}
	defer db.Close()
	for ctx.Err() == nil {
		le, err := a.env.Lib.Lease(ctx, changer.Request{Drive: w.vl.Drives[0].Serial, Purpose: "read"})
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
