package catalog

import (
	"context"
	"database/sql"
	"strings"
)

// NamedEntry is a name in a directory that some version had.
type NamedEntry struct {
	ID     ID // of that version: what to go on after
	Parent ID
	Name   string
}

// SearchNames calls fn for versions with a name that holds all words, in the order of their ids, behind one. Case counts only beyond ASCII.
// A path comes as often as it has versions, and what it shows is for a View to say. fn may end the search by an error, which is
// returned. Every version is looked at: about a second for three million.
func (db *DB) SearchNames(ctx context.Context, words []string, after ID, fn func(NamedEntry) error) error {
	text := `SELECT v.id, v.parent, v.name FROM version v WHERE v.id > max(?, 1) AND v.state IN (` + sqlPresent + `, ` + sqlVoid + `)`
	args := []any{after}
	escape := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
	for _, word := range words {
		text += ` AND CAST(v.name AS TEXT) LIKE ? ESCAPE '\'`
		args = append(args, "%"+escape.Replace(word)+"%")
	}
	const page = 256 // nothing is held open while fn works
	for {
		found, err := query(ctx, db.reader, "names", func(rows *sql.Rows) (e NamedEntry, err error) {
			var name []byte
			err = rows.Scan(&e.ID, &e.Parent, &name)
			e.Name = string(name)
			return e, err
		}, text+` ORDER BY v.id LIMIT ?`, append(args, page)...)
		if err != nil {
			return err
		}
		for _, e := range found {
			if err := fn(e); err != nil {
				return err
			}
		}
		if len(found) < page {
			return nil
		}
		args[0] = found[page-1].ID
	}
}
