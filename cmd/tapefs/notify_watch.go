package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// notifyEvery is how often a process that works looks whether the catalog tells of something new.
const notifyEvery = 2 * time.Second

// conditionsOf lists what the catalog knows to be the matter.
func conditionsOf(ctx context.Context, db *catalog.DB) ([]condition, error) {
	var out []condition
	wanted, err := db.Wanted(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, w := range wanted {
		if seen[w.Barcode] {
			continue
		}
		seen[w.Barcode] = true
		c := condition{Event: eventWanted, Tape: w.Barcode, Place: w.Place, key: "wanted/" + w.Barcode,
			Message: fmt.Sprintf("tape %s is wanted for %s", w.Barcode, w.Reason), Hint: "put it into the library, then: tapefs tape import"}
		if w.Place != "" {
			c.Message += ", it was put: " + w.Place
		}
		out = append(out, c)
	}
	tapes, err := db.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tapes {
		if t.Suspect() {
			out = append(out, condition{Event: eventTape, Tape: t.Barcode, Pool: t.PoolName, key: "tape/" + t.Barcode,
				Message: fmt.Sprintf("tape %s is suspect, nothing more is written to it: %s", t.Barcode, t.Note), Hint: remedy(t)})
		}
	}
	drives, err := db.Drives(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range drives {
		if d.State == catalog.DriveSuspect {
			out = append(out, condition{Event: eventDrive, Drive: d.Serial, key: "drive/" + d.Serial,
				Message: fmt.Sprintf("drive %s is suspect, nothing is written with it: %s", d.Serial, d.Note),
				Hint:    "clean it or have it looked at, then: tapefs drive trust " + d.Serial})
		}
	}
	damages, err := db.Damages(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range damages {
		out = append(out, condition{Event: eventDamage, Pool: d.Pool, Copies: d.Copies, key: "damage/" + d.Pool, level: int64(d.Copies),
			Message: fmt.Sprintf("%s damaged in pool %s (%s)", ui.Count(int64(d.Copies), "copy is", "copies are"), d.Pool, ui.Bytes(d.Bytes)),
			Hint:    "tapefs archive --heal"})
	}
	manifests, err := manifestRows(ctx, db)
	if err != nil {
		return nil, err
	}
	for _, m := range manifests {
		out = append(out, condition{Event: eventDamage, Pool: m.Pool, key: "damage/" + m.Pool + "/manifests", level: int64(m.Manifests),
			Message: fmt.Sprintf("%s lost in pool %s: what only that named would not be rebuilt", ui.Count(int64(m.Manifests), "manifest is", "manifests are"), m.Pool),
			Hint:    "tapefs archive"})
	}
	return out, nil
}

// catalogKey tells the keys of conditionsOf.
func catalogKey(key string) bool {
	kind, _, _ := strings.Cut(key, "/")
	return kind == "wanted" || kind == "tape" || kind == "drive" || kind == "damage"
}

// watchCatalog tells what the catalog knows to be the matter, now and whenever it changes, until the returned function is called,
// which looks a last time.
func (n *notifier) watchCatalog(ctx context.Context, db *catalog.DB) (stop func()) {
	if n == nil {
		return func() {}
	}
	// Its own time limit: whoever waits for the end waits for a command at most so long, and kills none half-way.
	look := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), notifyTimeout)
		defer cancel()
		now, err := conditionsOf(ctx, db)
		if err != nil {
			n.log.Warn("notify", "err", err)
			return
		}
		n.tell(ctx, now, catalogKey)
	}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(notifyEvery)
		defer tick.Stop()
		for last := int64(-1); ; {
			if version, err := db.DataVersion(context.WithoutCancel(ctx)); err == nil && version != last {
				last = version
				look()
			}
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(end)
		<-done
		look()
	}
}

// ended tells how a run ended and, where arch and lib are given, what the drives ask for and which pools are nearly out of tapes.
func (n *notifier) ended(ctx context.Context, kind string, err error, arch *archiver.Archiver, lib *changer.Library) {
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*notifyTimeout)
	defer cancel()
	var now []condition
	looked := map[string]bool{}
	var stopped *archiver.Interrupted
	code := exitCode(err)
	switch {
	case errors.As(err, &stopped), errors.Is(err, context.Canceled), errors.Is(err, archiver.ErrLocked):
		// somebody knows
	case err == nil, errors.Is(err, archiver.ErrDamaged), kind != "archive" && code == exitOperator: // told as damage, as wanted tape
		looked["run"] = true
	default:
		looked["run"] = true
		now = append(now, condition{Event: eventRun, Run: kind, Exit: code, key: "run/" + kind, level: int64(code),
			Message: fmt.Sprintf("%s ended with exit code %d: %v", kind, code, err), Hint: hintFor(err)})
	}
	if arch != nil && lib != nil {
		if rooms, err := arch.Room(ctx); err == nil {
			looked["pool"] = true
			for _, r := range rooms {
				if r.Low {
					now = append(now, condition{Event: eventPoolLow, Pool: r.Pool, key: "pool/" + r.Pool,
						Message: fmt.Sprintf("pool %s is nearly out of tapes: room for %s on %s in the library, %s owed", r.Pool, ui.Bytes(r.Room),
							ui.Count(int64(r.Tapes), "tape", "tapes"), ui.Bytes(r.Owed)),
						Hint: "put a blank tape into the library; tapefs tape format BARCODE --pool " + r.Pool})
				}
			}
		} else {
			n.log.Warn("notify", "err", err)
		}
		if states, err := lib.Drives(ctx); err == nil {
			looked["clean"] = true
			now = append(now, cleaningOf(states)...)
		}
	}
	n.tell(ctx, now, func(key string) bool {
		word, of, _ := strings.Cut(key, "/")
		return looked[word] && (word != "run" || of == kind)
	})
}

// working watches the catalog while a run works. The returned function, called with the run's error, tells how it ended and
// writes metrics.
func (a *app) working(ctx context.Context, kind string, conf *settings, db *catalog.DB) (end func(error, *archiver.Archiver)) {
	n := a.notifier(conf)
	stop := n.watchCatalog(ctx, db)
	return func(err error, arch *archiver.Archiver) {
		stop()
		a.writeMetrics(ctx, conf, db)
		if n == nil {
			return
		}
		var lib *changer.Library
		if arch != nil {
			lib, _ = a.library(conf) // arch was made with one
		}
		n.ended(ctx, kind, err, arch, lib)
	}
}

// notBegun tells of a run that could not even open the catalog, and returns its error.
func (a *app) notBegun(ctx context.Context, kind string, err error) error {
	if conf, cerr := a.configuration(); cerr == nil {
		a.notifier(conf).ended(ctx, kind, err, nil, nil)
	}
	return err
}
