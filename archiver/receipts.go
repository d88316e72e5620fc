package archiver

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/tapefs/tapefs/archiver/restore"
	"github.com/tapefs/tapefs/catalog"
)

// ReceiptFilter says which receipts are wanted.
type ReceiptFilter struct {
	Since    time.Time // removed then or later; zero: ever
	Patterns []string  // of paths of the archive, as RestoreOptions.Exclude has them; none: all
}

// Receipts calls fn for each file that SafeDelete or an inbox removed, in the order of removal, with its path in the archive. Those of
// forgotten versions are among them.
func Receipts(ctx context.Context, db *catalog.DB, f ReceiptFilter, fn func(full string, r ReceiptLine) error) error {
	if err := restore.CheckPatterns(f.Patterns); err != nil {
		return err
	}
	all := len(f.Patterns) == 0 || slices.Contains(f.Patterns, "/")
	sources, err := db.Sources(ctx)
	if err != nil {
		return err
	}
	names := map[int64]string{}
	for _, s := range sources {
		names[s.ID] = s.Name
	}
	return db.Receipts(ctx, f.Since, func(r *catalog.Receipt) error {
		line := newReceiptLine(r, names[r.Source])
		full := path.Join("/", line.Source, r.Path)
		if !all && !restore.Matches(f.Patterns, full) {
			return nil
		}
		if err := fn(full, line); err != nil {
			return fmt.Errorf("list receipts: %w", err)
		}
		return nil
	})
}
