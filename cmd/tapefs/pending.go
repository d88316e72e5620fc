package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// pendingJSON is a pool with changes of the catalog that no manifest on its tapes names yet.
type pendingJSON struct {
	Pool    string           `json:"pool"`
	Changes int64            `json:"changes"`
	Kinds   map[string]int64 `json:"kinds"` // how many of each kind
}

// pendingWords are what people are told of each kind of change, in the order in which they are listed.
var pendingWords = []struct{ kind, one, many string }{
	{"directory", "new directory", "new directories"},
	{"moved", "rename", "renames"},
	{"link", "name of bytes that are on tape", "names of bytes that are on tape"},
	{"replaced", "replaced name", "replaced names"},
	{"metadata", "new mode, owner or time", "new modes, owners or times"},
	{"vanished", "disappearance", "disappearances"},
	{"revived", "return", "returns"},
	{catalog.ChangeRemoved, "removal by safe or an inbox", "removals by safe or an inbox"},
	{"forget", "forgotten version", "forgotten versions"},
	{"lost", "loss", "losses"},
	{"found", "lost file found again", "lost files found again"},
	{catalog.FoundPartDamaged, "finding of damage", "findings of damage"},
	{catalog.FoundPartLost, "finding of a lost copy", "findings of lost copies"},
	{catalog.FoundPartGood, "proof of a copy that counted as damaged", "proofs of copies that counted as damaged"},
	{catalog.FoundTapeSuspect, "suspicion against a tape", "suspicions against tapes"},
	{catalog.FoundTapeTrusted, "end of a suspicion against a tape", "ends of suspicions against tapes"},
}

func pendingOfPool(pool string, kinds map[string]int64) pendingJSON {
	p := pendingJSON{Pool: pool, Kinds: kinds}
	for _, n := range kinds {
		p.Changes += n
	}
	return p
}

func pendingRows(pending []archiver.Pending) []pendingJSON {
	rows := make([]pendingJSON, 0, len(pending))
	for _, p := range pending {
		rows = append(rows, pendingOfPool(p.Pool, p.Kinds))
	}
	return rows
}

// pendingText says what a rebuild would not know, and when it will.
func pendingText(p pendingJSON) string {
	return fmt.Sprintf("%s without bytes (%s) in no manifest on tape yet; the next bytes that go to the pool take them along, or: tapefs archive --now",
		ui.Count(p.Changes, "change", "changes"), strings.Join(p.words(), ", "))
}

// words names the kinds of changes with their numbers. A kind that has no word here is one of a newer tapefs and keeps its own name.
func (p pendingJSON) words() (words []string) {
	rest := maps.Clone(p.Kinds)
	for _, w := range pendingWords {
		if n := rest[w.kind]; n > 0 {
			words = append(words, ui.Count(n, w.one, w.many))
		}
		delete(rest, w.kind)
	}
	for _, kind := range slices.Sorted(maps.Keys(rest)) {
		words = append(words, fmt.Sprintf("%d %s", rest[kind], kind))
	}
	return words
}

func pendingLine(p pendingJSON) string { return "pool " + p.Pool + ": " + pendingText(p) }

// pendingOf are the changes that the configured pools lack.
func pendingOf(ctx context.Context, conf *settings, db *catalog.DB) ([]pendingJSON, error) {
	pending, err := db.PendingChanges(ctx)
	rows := []pendingJSON{}
	for pool, kinds := range pending {
		if _, ok := conf.Pools[pool]; ok {
			rows = append(rows, pendingOfPool(pool, kinds))
		}
	}
	slices.SortFunc(rows, func(x, y pendingJSON) int { return strings.Compare(x.Pool, y.Pool) })
	return rows, err
}
