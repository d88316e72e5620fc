package changer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

func lto9And10() virtual.Options {
	return virtual.Options{Slots: 6, Tapes: -1, Kinds: []virtual.DriveKind{{Generation: 9}, {Generation: 10}}}
}

// Each tape gets a drive that uses it, and where there is none the error names the drives that do.
func TestDriveByGeneration(t *testing.T) {
	w := newWorld(t, lto9And10())
	for i, b := range []string{"VT0001L9", "VT0002LA", "VT0003L8", "VT0004L7", "VT0005M8", "VT0006LZ"} {
		w.must(w.vl.Add(i+1, virtual.Cartridge{Barcode: b}))
	}
	for b, drive := range map[changer.Barcode]int{"VT0001L9": 0, "VT0002LA": 1, "VT0003L8": 0} {
		le, _ := w.formatted(b)
		if got := le.Drive().Element; got != drive {
			t.Errorf("%s is formatted in drive %d", b, got)
		}
		w.must(le.Unload(w.ctx))
		w.must(le.Release(w.ctx))
	}
	for b, needs := range map[changer.Barcode]string{"VT0004L7": "LTO-7 media, which is read by drives of LTO-7 or LTO-8", "VT0005M8": "LTO-7 Type M media, which is read by drives of LTO-8"} {
		_, err := w.l.Lease(w.ctx, changer.Request{Barcode: b})
		if !errors.Is(err, changer.ErrNoDrive) || !strings.Contains(err.Error(), needs) || !strings.Contains(err.Error(), "those configured are LTO-9, LTO-10") {
			t.Errorf("%s: %v", b, err)
		}
	}
	for b, can := range map[changer.Barcode]bool{"VT0001L9": true, "VT0002LA": true, "VT0003L8": true, "VT0004L7": false, "VT0005M8": false, "VT0006LZ": false} {
		if w.l.CanWrite(w.ctx, b, true, nil) != can {
			t.Errorf("CanWrite of a fresh %s: %v", b, !can)
		}
	}
	le := w.loaded("VT0006LZ")
	_, err := le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0006LZ"})
	w.wants(err, changer.ErrIncompatible, "overwritten")
	st, err := le.Status(w.ctx)
	w.must(err)
	if st.Density != "LTO-9" {
		t.Errorf("density %q", st.Density)
	}
}

// The first load of an LTO-9 cartridge takes up to two hours: it is waited for, in the open, and the other drive works on.
func TestFirstLoad(t *testing.T) {
	var mu sync.Mutex
	var told []string
	said := make(chan struct{}, 1)
	w := newWorld(t, lto9And10(), func(c *changer.Config) {
		c.ReadyTimeout = 0
		c.Waits = func(wait changer.Waiting) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, wait.String())
			select {
			case said <- struct{}{}:
			default:
			}
		}
	})
	w.l.SetReadySoon(0)
	w.must(w.vl.Add(1, virtual.Cartridge{Barcode: "VT0001L9"}))
	w.must(w.vl.Add(2, virtual.Cartridge{Barcode: "VT0002LA"}))
	w.fault("first-load=1h")
	le := w.lease(changer.Request{Barcode: "VT0001L9"})
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- le.Load(ctx, "VT0001L9") }()
	<-said
	mu.Lock()
	if text := fmt.Sprint(told); !strings.Contains(text, "drive VTLDRV0001 to become ready") || !strings.Contains(text, "the first load of an LTO-9 cartridge takes up to 2h0m0s (media optimization)") {
		t.Error(text)
	}
	mu.Unlock()
	states, err := w.l.Drives(w.ctx)
	w.must(err)
	if !strings.HasPrefix(states[0].Holder, "becoming-ready (pid") {
		t.Errorf("the drive is held for %q", states[0].Holder)
	}

	// A cartridge of LTO-10 needs no such thing, in spite of the fault.
	other, _ := w.formatted("VT0002LA")
	if got := other.ReadyTimeout(w.ctx); got != 10*time.Minute {
		t.Errorf("an LTO-10 cartridge is waited for %s", got)
	}
	select {
	case err := <-done:
		t.Errorf("the first load has ended: %v", err)
	default:
	}
	if got := le.ReadyTimeout(w.ctx); got != 150*time.Minute {
		t.Errorf("a first load is waited for %s", got)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the load that was called off: %v", err)
	}
}

// The second load is like any other.
func TestSecondLoad(t *testing.T) {
	w := newWorld(t, lto9And10())
	w.must(w.vl.Add(1, virtual.Cartridge{Barcode: "VT0001L9"}))
	w.fault("first-load=300ms")
	le := w.loaded("VT0001L9")
	w.must(le.Unload(w.ctx))
	w.fault("first-load=24h")
	w.must(le.Load(w.ctx, "VT0001L9"))
}
