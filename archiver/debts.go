package archiver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// debts says what pools are owed: copies from the spool, copies that only another copy can give, manifests. It only asks the catalog, and
// leaves out what the run gave up. Nothing is owed once it is too late to begin anything.
type debts struct {
	*task
	known *ledger
	until time.Time
	names bool // a manifest is owed for changes alone, too
}

// late tells whether nothing new is to be begun any more.
func (d *debts) late() bool { return late(Options{Until: d.until}) }

// owed lists what a pool is owed of this run's sources.
func (d *debts) owed(ctx context.Context, pool int64) ([]catalog.OwedCopy, error) {
	if d.late() {
		return nil, nil
	}
	all, err := d.a.env.DB.OwedCopies(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("look for copies that are owed: %w", err)
	}
	return d.mine(all), nil
}

// wants tells whether a source of this run wants copies in a pool.
func (d *debts) wants(pool string) bool {
	for _, s := range d.sources {
		if slices.Contains(s.Copies, pool) {
			return true
		}
	}
	return false
}

// owedAlone lists what a pool is owed of this run's sources that no other pool waits for.
func (d *debts) owedAlone(ctx context.Context, pool int64) ([]catalog.OwedCopy, error) {
	if d.late() {
		return nil, nil
	}
	all, err := d.a.env.DB.OwedAlone(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("look for copies that are owed: %w", err)
	}
	return d.mine(all), nil
}

// mine leaves of owed copies those of this run's sources that it did not give up.
func (d *debts) mine(all []catalog.OwedCopy) []catalog.OwedCopy {
	return slices.DeleteFunc(all, func(c catalog.OwedCopy) bool {
		_, ours := d.sources[c.Object.Source]
		return !ours || d.known.failed[c.ID]
	})
}

// toCopy lists the parts a pool is owed of this run's sources, and of others whose bytes they share, that only another copy can
// give: the spool let their batch go, or cannot repeat what was sealed.
func (d *debts) toCopy(ctx context.Context, pool int64) ([]catalog.MissingPart, error) {
	if d.late() {
		return nil, nil
	}
	all, err := d.a.env.DB.MissingParts(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("look for copies to be made from others: %w", err)
	}
	return slices.DeleteFunc(all, func(m catalog.MissingPart) bool {
		_, ours := d.sources[m.Source]
		return !ours && !d.known.shared[m.Object] || d.known.uncopied[m.Copy] || m.Spooled && !d.known.fromCopy[m.Copy]
	}), nil
}

// awaiting counts the copies that are whole on a pool's tapes and that no manifest names yet: until one does they are not durable. Whose
// files they hold makes no difference: a manifest names all that lack one.
func (d *debts) awaiting(ctx context.Context, pool int64) (n int, err error) {
	if d.late() {
		return 0, nil
	}
	bySource, err := d.a.env.DB.Awaiting(ctx, pool)
	if err != nil {
		return 0, fmt.Errorf("look for copies that wait for a manifest: %w", err)
	}
	for _, copies := range bySource {
		n += copies
	}
	return n, nil
}

// owesJournal reports whether a manifest of a pool is to be written for changes of the catalog alone: they are named by none any more,
// since one was lost, or the run is to write those that none names yet.
func (d *debts) owesJournal(ctx context.Context, name string, pool int64) (bool, error) {
	if d.late() {
		return false, nil
	}
	if asked, err := d.namesAsked(ctx, name); err != nil || asked {
		return asked, err
	}
	return d.a.env.DB.OwesJournal(ctx, pool)
}

// namesAsked reports whether this run is to write a manifest of a pool for changes alone.
func (d *debts) namesAsked(ctx context.Context, pool string) (bool, error) {
	if !d.names || !d.wants(pool) {
		return false, nil
	}
	counts, err := d.a.env.DB.PendingChanges(ctx)
	return len(counts[pool]) > 0, err
}
