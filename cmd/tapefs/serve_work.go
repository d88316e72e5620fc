package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/cmd/tapefs/web"
	"github.com/tapefs/tapefs/fs/recall"
)

// pageWorker does what visitors of the page start, by the commands that a person would have typed.
type pageWorker struct {
	a    *app
	conf *settings
	db   *catalog.DB
}

// Prefetch asks the mount, or does it in this process when there is none.
func (p pageWorker) Prefetch(ctx context.Context, ids []catalog.ID, say func(string)) (err error) {
	who, end, err := p.a.cacheOwner(ctx, p.conf, p.db)
	if err != nil {
		return spoken(err)
	}
	defer func() { err = errors.Join(err, end()) }()
	var plan *recall.PrefetchPlan
	result, err := who.Prefetch(ctx, recall.PrefetchRequest{IDs: ids}, func(e recall.PrefetchEvent) {
		if e.Plan != nil {
			plan = e.Plan
			return
		}
		say(fmt.Sprintf("%s of %s read, last from %s", ui.Bytes(e.Done), ui.Bytes(min(plan.Missing, plan.Room)), e.Tape))
	})
	if plan != nil {
		say(prefetchLine(plan, result, false))
	}
	switch {
	case err != nil:
		return spoken(err)
	case len(result.Wanted) > 0:
		return fmt.Errorf("put in: %s", strings.Join(result.Wanted, ", "))
	case result.Failed > 0:
		return fmt.Errorf("%s could not be read: %s", ui.Bytes(result.Failed), result.Why)
	}
	return nil
}

// Restore runs tapefs restore: once for what paths show, and once for each older version.
func (p pageWorker) Restore(ctx context.Context, items []web.RestoreItem, to string, say func(string)) error {
	var shown []string
	var failed error
	for _, item := range items {
		if item.Version == 0 {
			shown = append(shown, item.Path)
			continue
		}
		c := &restoreCmd{Paths: []string{item.Path}, To: to, OneOf: int64(item.Version)}
		failed = errors.Join(failed, spoken(c.Run(ctx, p.speaking(say))))
	}
	if len(shown) > 0 {
		c := &restoreCmd{Paths: shown, To: to}
		failed = errors.Join(failed, spoken(c.Run(ctx, p.speaking(say))))
	}
	return failed
}

// Import runs tapefs tape import.
func (p pageWorker) Import(ctx context.Context, say func(string)) error {
	return spoken((&tapeImportCmd{}).Run(ctx, p.speaking(say)))
}

// speaking is the app of a command whose output is said line by line.
func (p pageWorker) speaking(say func(string)) *app {
	b := &app{globals: p.a.globals, log: p.a.log, mounted: p.a.mounted}
	b.JSON = false
	out := &spokenLines{say: say}
	b.stdout, b.stderr = out, out
	return b
}

// spoken is an error as the page shows it, with what to do about it.
func spoken(err error) error {
	if hint := hintFor(err); err != nil && hint != "" {
		return fmt.Errorf("%s (%s)", ui.PrintableText(err.Error()), ui.PrintableText(hint))
	}
	return err
}

// spokenLines says each whole line that is written. Safe for concurrent use.
type spokenLines struct {
	say  func(string)
	mu   sync.Mutex // guards the field below
	rest string
}

func (s *spokenLines) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest += string(p)
	for {
		line, rest, ok := strings.Cut(s.rest, "\n")
		if !ok {
			return len(p), nil
		}
		s.rest = rest
		if line != "" {
			s.say(line)
		}
	}
}
