package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"math"
)

// NewsMark is a point in the catalog's history. It goes by ids, which only rise, and by no clock.
type NewsMark struct {
	last    int64        // the newest version, planned or not
	planned []planned    // of the older ones, those that may become current yet
	change  int64        // the last journal entry
	unread  map[ID]Entry // current files that cannot be read: their paths show an older state, if there is one
}

// planned is the range of ids in which a batch that is being fetched has versions to come.
type planned struct {
	first, last int64
	count, ids  int64 // how many of the range are current, and the sum of their ids: neither stays when one more is
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
	// In this order: what is planned or becomes current in between is news once more, not never.
	var m NewsMark
	err := db.reader.QueryRowContext(ctx, `SELECT (SELECT max(id) FROM version), (SELECT coalesce(max(id), 0) FROM change)`).Scan(&m.last, &m.change)
	if err != nil {
		return m, fmt.Errorf("read news: %w", err)
	}
	m.planned, err = query(ctx, db.reader, "news", func(rows *sql.Rows) (p planned, err error) {
		return p, rows.Scan(&p.first, &p.last)
	}, `SELECT first, (SELECT id FROM version WHERE batch = b AND state = `+sqlPlanned+` ORDER BY id DESC LIMIT 1) FROM (SELECT id AS b,
		(SELECT id FROM version WHERE batch = batch.id AND state = `+sqlPlanned+` ORDER BY id LIMIT 1) AS first FROM batch WHERE state = `+sqlFetching+`) WHERE first IS NOT NULL`)
	if err != nil {
		return m, err
	}
	for i := range m.planned {
		if m.planned[i], err = db.countCurrent(ctx, m.planned[i]); err != nil {
			return m, err
		}
	}
	m.unread, err = db.unread(ctx)
	return m, err
}

// countCurrent counts anew what is current in a range.
func (db *DB) countCurrent(ctx context.Context, p planned) (planned, error) {
	err := db.reader.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(id), 0) FROM version NOT INDEXED WHERE id BETWEEN ? AND ? AND current = 1`,
		p.first, p.last).Scan(&p.count, &p.ids)
	if err != nil {
		return p, fmt.Errorf("read news: %w", err)
	}
	return p, nil
}

// NewsSince lists what changed after a mark, and returns the new one. New versions are found by their ids;
// ended ones and changed directories in the journal.
func (db *DB) NewsSince(ctx context.Context, m NewsMark) (News, NewsMark, error) {
	var n News
	dirs := map[ID]bool{}
	next, err := db.NewsMark(ctx)
	if err != nil {
		return n, m, err
	}
	appeared := func(first, last int64) error {
		entries, err := query(ctx, db.reader, "news", func(rows *sql.Rows) (e Entry, err error) {
			var name []byte
			err = rows.Scan(&e.Parent, &name)
			e.Name = string(name)
			dirs[e.Parent] = true
			return e, err
		}, `SELECT parent, name FROM version NOT INDEXED WHERE id BETWEEN ? AND ? AND current = 1 AND id > 1`, first, last)
		n.Entries = append(n.Entries, entries...)
		return err
	}
	if err := appeared(m.last+1, math.MaxInt64); err != nil {
		return n, m, err
	}
	for _, p := range m.planned {
		now, err := db.countCurrent(ctx, p)
		if err != nil {
			return n, m, err
		}
		if now == p {
			continue
		}
		if err := appeared(p.first, p.last); err != nil {
			return n, m, err
		}
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
	differ := func(a, b map[ID]Entry) {
		for id, e := range a {
			if _, ok := b[id]; !ok {
				n.Entries = append(n.Entries, e)
				dirs[e.Parent] = true
			}
		}
	}
	differ(m.unread, next.unread)
	differ(next.unread, m.unread)
	for id := range dirs {
		n.Directories = append(n.Directories, id)
	}
	return n, next, nil
}
