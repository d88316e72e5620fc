package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"tapefs/archiver"
	"tapefs/catalog"
)

// pendingJSON is a pool with changes of the catalog that no manifest on its tapes names yet.
type pendingJSON struct {
	Pool    string `json:"pool"`
	Changes int64  `json:"changes"`
}

func pendingRows(pending []archiver.Pending) []pendingJSON {
	rows := make([]pendingJSON, 0, len(pending))
	for _, p := range pending {
		rows = append(rows, pendingJSON{p.Pool, p.Changes})
	}
	return rows
}

// pendingText says what a rebuild would not know, and when it will.
func pendingText(p pendingJSON) string {
	return fmt.Sprintf("%s of names or modes (deletions, forgotten files, renames) in no manifest on tape yet; the next bytes that go to the pool take them along, or: tapefs archive --now",
		count(p.Changes, "change", "changes"))
}

func pendingLine(p pendingJSON) string { return "pool " + p.Pool + ": " + pendingText(p) }

// pendingOf are the changes that the configured pools lack.
func pendingOf(ctx context.Context, conf *config, db *catalog.DB) ([]pendingJSON, error) {
	counts, err := db.PendingChanges(ctx)
	rows := []pendingJSON{}
	for pool, n := range counts {
		if _, ok := conf.Pools[pool]; ok {
			rows = append(rows, pendingJSON{pool, n})
		}
	}
	slices.SortFunc(rows, func(x, y pendingJSON) int { return strings.Compare(x.Pool, y.Pool) })
	return rows, err
}
