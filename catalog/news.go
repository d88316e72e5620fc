package catalog

import (
	"context"
	"database/sql"
	"fmt"
)

// NewsMark is a point in the catalog's history.
type NewsMark struct {
	since  int64 // the last time a version became current, Unix ns
	count  int64 // how many current versions have that time, and the sum of their ids:
	ids    int64 // more may come with the same time, a batch is recorded in several transactions
	change int64 // the last journal entry
}

// Entry is a name in a directory.
type Entry struct {
	Parent ID
	Name   string
}

// News is what changed in the tree.
type News struct {
	Entries     []Entry // names that show another version now, or none
	Directories []ID    // whose listing or attributes changed
	Files       []ID    // inodes of files and symlinks whose attributes changed
	Marked      []Entry // names that vanished from their source or came back: a tree that hides those shows another name
}

// NewsMark returns the present point.
func (db *DB) NewsMark(ctx context.Context) (NewsMark, error) {
	var m NewsMark
	err := db.reader.QueryRowContext(ctx, `WITH last (at) AS (SELECT coalesce(max(since), 0) FROM version WHERE current = 1)
		SELECT at, (SELECT count(*) FROM version WHERE since = at AND current = 1 AND id > 1),
		(SELECT coalesce(sum(id), 0) FROM version WHERE since = at AND current = 1 AND id > 1),
		(SELECT coalesce(max(id), 0) FROM change) FROM last`).Scan(&m.since, &m.count, &m.ids, &m.change)
	if err != nil {
		return m, fmt.Errorf("read news: %w", err)
	}
	return m, nil
}

// NewsSince lists what changed after a mark, and returns the new one. New versions are found by
// their time, by an index; ended ones and changed directories in the journal.
func (db *DB) NewsSince(ctx context.Context, m NewsMark) (News, NewsMark, error) {
	var n News
	dirs := map[ID]bool{}
	next, last := m, NewsMark{since: m.since}
	rows, err := db.reader.QueryContext(ctx, `SELECT parent, name, since, id FROM version INDEXED BY version_since
		WHERE since >= ?1 AND current = 1 AND id > 1 AND (since > ?1
			OR (SELECT count(*) FROM version WHERE since = ?1 AND current = 1 AND id > 1) <> ?2
			OR (SELECT coalesce(sum(id), 0) FROM version WHERE since = ?1 AND current = 1 AND id > 1) <> ?3)`, m.since, m.count, m.ids)
	if err != nil {
		return n, m, fmt.Errorf("read news: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e Entry
		var name sql.RawBytes
		var since, id int64
		if err := rows.Scan(&e.Parent, &name, &since, &id); err != nil {
			return n, m, fmt.Errorf("read news: %w", err)
		}
		e.Name = string(name)
		n.Entries = append(n.Entries, e)
		dirs[e.Parent] = true
		if since > last.since {
			last = NewsMark{since: since}
		}
		if since == last.since {
			last.count++
			last.ids += id
		}
	}
	if err := rows.Err(); err != nil {
		return n, m, fmt.Errorf("read news: %w", err)
	}
	if last.count > 0 {
		next.since, next.count, next.ids = last.since, last.count, last.ids
	}
	changed, err := query(ctx, db.reader, "news", func(rows *sql.Rows) (v Version, err error) {
		var name []byte
		var id int64
		var kind string
		err = rows.Scan(&id, &kind, &v.ID, &v.Parent, &name, &v.Kind, &v.Current, &v.Inode)
		v.Name = string(name)
		if kind == "vanished" || kind == "revived" {
			n.Marked = append(n.Marked, Entry{v.Parent, v.Name})
		}
		next.change = max(next.change, id)
		return v, err
	}, `SELECT c.id, c.kind, v.id, v.parent, v.name, v.kind, v.current, v.inode FROM change c JOIN version v ON v.id = c.version WHERE c.id > ? ORDER BY c.id`, m.change)
	if err != nil {
		return n, m, err
	}
	for _, v := range changed {
		if v.Kind == Directory && v.Current {
			dirs[v.ID] = true
		} else if !v.Current {
			n.Entries = append(n.Entries, Entry{v.Parent, v.Name})
			dirs[v.Parent] = true
		} else {
			n.Files = append(n.Files, v.Inode)
		}
	}
	for id := range dirs {
		n.Directories = append(n.Directories, id)
	}
	return n, next, nil
}
