package catalog

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
)

// Where an older catalog was put back and written with, its numbers were given a second time: one id means two different files
// then, in two manifests or in the catalog and a manifest. The first meaning that is read keeps the number, the other one gets
// a number of its own, and what its manifest says of that number is about the new one. Nothing has to be kept for that: an
// entry is found again by its path and content.

// meant is the number under which the catalog has what this manifest calls id.
func (r *Rebuild) meant(id ID) ID {
	if other, ok := r.alias[id]; ok {
		return other
	}
	return id
}

// fresh gives a number that nothing which was read, or was said to be given, has.
func (r *Rebuild) fresh(ctx context.Context) (ID, error) {
	var last ID
	_, err := r.get(ctx, []any{&last}, `SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'version'), 0), (SELECT max(id) FROM version))`)
	r.lastVersion = max(r.lastVersion, last) + 1
	return r.lastVersion, err
}

// translate puts the numbers that the catalog has into a version of the manifest at hand. oid is the object that it is a
// member of; "" for a directory, or when that is not known. It returns the row that the version has, if it has one.
func (r *Rebuild) translate(ctx context.Context, v *Version, oid string) (row nodeRow, found bool, err error) {
	was := v.ID
	if v.Parent != 0 {
		v.Parent = r.meant(v.Parent)
	}
	if id, ok := r.alias[was]; ok {
		v.ID = id
	} else {
		if row, found, err = r.row(ctx, was); err != nil {
			return row, found, err
		}
		other := found && (row.kind != v.Kind || !row.placeholder && (row.parent != v.Parent || string(row.name) != v.Name))
		if found && !other && v.Kind == File {
			if other, err = r.otherContent(ctx, v, oid); err != nil {
				return row, found, err
			}
		}
		if other {
			if v.ID, err = r.twin(ctx, v); err == nil && v.ID == 0 {
				v.ID, err = r.fresh(ctx)
			}
			if err != nil {
				return row, found, err
			}
			r.alias[was] = v.ID
		}
	}
	if v.ID != was {
		if row, found, err = r.row(ctx, v.ID); err != nil {
			return row, found, err
		}
	}
	if v.Inode, err = r.bytesOf(ctx, v, was, v.Inode); err == nil {
		v.Data, err = r.bytesOf(ctx, v, was, v.Data)
	}
	return row, found, err
}

// otherContent reports whether the row of a file's number has other bytes, and lies in other objects. Sealings of one object,
// and what it was repacked into, share the time half of the id.
func (r *Rebuild) otherContent(ctx context.Context, v *Version, oid string) (bool, error) {
	var size int64
	var sum []byte
	var at Time
	if _, err := r.get(ctx, []any{&size, &sum, &at.Sec, &at.Nsec}, `SELECT size, sha256, mtime, mtime_ns FROM version WHERE id = ?`, v.ID); err != nil {
		return false, err
	}
	same := size == v.Size
	if len(sum) > 0 && len(v.SHA256) > 0 {
		same = same && bytes.Equal(sum, v.SHA256)
	} else {
		same = same && at == v.MTime
	}
	if same {
		return false, nil
	}
	if oid == "" {
		id, err := r.twin(ctx, v)
		return id != 0, err
	}
	var others, mine bool
	_, err := r.get(ctx, []any{&others, &mine}, `SELECT count(*) > 0, coalesce(sum(substr(o.oid, 1, 12) = substr(?2, 1, 12)), 0) > 0
		FROM member m JOIN object o ON o.id = m.object WHERE m.version = ?1`, v.ID, oid)
	return others && !mine, err
}

// twin finds what has another number and is the same entry: a directory by its path, a file or symlink by its content, too.
func (r *Rebuild) twin(ctx context.Context, v *Version) (id ID, err error) {
	if v.Kind == Directory {
		_, err = r.get(ctx, []any{&id}, `SELECT id FROM version WHERE parent = ? AND name = ? AND kind = `+sqlDirectory+` AND id <> ? AND (until = 0) = ? ORDER BY current DESC, id DESC LIMIT 1`,
			v.Parent, []byte(v.Name), v.ID, v.Until.IsZero())
		return id, err
	}
	_, err = r.get(ctx, []any{&id}, `SELECT id FROM version WHERE parent = ?1 AND name = ?2 AND kind = ?3 AND size = ?4 AND mtime = ?5 AND mtime_ns = ?6
		AND coalesce(target, x'') = coalesce(?7, x'') AND (sha256 IS NULL OR ?8 IS NULL OR sha256 = ?8) AND id <> ?9 ORDER BY id LIMIT 1`,
		v.Parent, []byte(v.Name), v.Kind, v.Size, v.MTime.Sec, v.MTime.Nsec, bytesOrNull(v.Target), nullIfEmpty(v.SHA256), v.ID)
	return id, err
}

// bytesOf translates the number of the version that v has its inode or bytes from. That may be named in no manifest at hand, so
// where the row has other bytes than v one is looked for that has them.
func (r *Rebuild) bytesOf(ctx context.Context, v *Version, was, id ID) (ID, error) {
	if id == was {
		return v.ID, nil
	}
	if other, ok := r.alias[id]; ok {
		return other, nil
	}
	if v.Kind != File || len(v.SHA256) == 0 {
		return id, nil
	}
	var size int64
	var sum []byte
	found, err := r.get(ctx, []any{&size, &sum}, `SELECT size, sha256 FROM version WHERE id = ?`, id)
	if err != nil || !found || size == v.Size && (len(sum) == 0 || bytes.Equal(sum, v.SHA256)) {
		return id, err
	}
	var other ID
	if _, err := r.get(ctx, []any{&other}, `SELECT id FROM version WHERE size = ? AND sha256 = ? AND data = id AND kind = `+sqlFile+` ORDER BY id LIMIT 1`, v.Size, v.SHA256); err != nil {
		return 0, err
	}
	if other != 0 {
		return other, nil
	}
	return id, nil
}

// sourceRoot finds the directory of a source, whatever number the manifest at hand has for it.
func (r *Rebuild) sourceRoot(ctx context.Context, s *Source) error {
	was := s.Root
	var root ID
	found, err := r.get(ctx, []any{&root}, `SELECT root FROM source WHERE name = ?`, s.Name)
	if err != nil {
		return err
	}
	if !found {
		row, taken, err := r.row(ctx, was)
		if err != nil {
			return err
		}
		if root = was; taken && (row.kind != Directory || !row.placeholder && (row.parent != Root || string(row.name) != s.Name)) {
			if root, err = r.fresh(ctx); err != nil {
				return err
			}
		}
	}
	if s.Root = root; root != was {
		r.alias[was] = root
	}
	return nil
}

// otherChange finds or gives a number for a change whose own number means another one.
func (r *Rebuild) otherChange(ctx context.Context, c *Change) (known bool, err error) {
	var id int64
	known, err = r.get(ctx, []any{&id}, `SELECT id FROM change WHERE version = ? AND kind = ? AND at = ? LIMIT 1`, c.Version, c.Kind, nsOf(c.At))
	if err != nil || known {
		return known, err
	}
	c.ID, err = r.freshChange(ctx)
	return false, err
}

// freshChange gives a number that no change has which was read, or was said to be given.
func (r *Rebuild) freshChange(ctx context.Context) (int64, error) {
	var last int64
	_, err := r.get(ctx, []any{&last}, `SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'change'), 0), coalesce((SELECT max(id) FROM change), 0))`)
	r.lastChange = max(r.lastChange, last) + 1
	if r.anew == 0 {
		r.anew = r.lastChange
	}
	return r.lastChange, err
}

// isOther notes that the catalog has another change under a number than the manifest at hand.
func (r *Rebuild) isOther(id int64) {
	if r.other == 0 || id < r.other {
		r.other = id
	}
}

// oddChain, a tape and a number are a key in meta: this manifest does not follow the one before it, which a rebuild remarked on.
// It can never be mended, so it is no finding of a check.
const oddChain = "odd-chain:"

// knowOddChains notes the manifests that do not follow the one before them.
func (r *Rebuild) knowOddChains(ctx context.Context) error {
	return r.db.exec(ctx, "note odd manifests", `INSERT INTO meta (key, value) SELECT ? || m.tape || ':' || m.seq, hex(b.mac) FROM manifest m
		JOIN manifest b ON b.tape = m.tape AND b.seq = m.seq - 1 AND b.state = `+sqlManifestDurable+` WHERE m.state = `+sqlManifestDurable+` AND m.previous <> b.mac ON CONFLICT DO NOTHING`, oddChain)
}

// mergeInto and the id of a directory are a key in meta: the directory shares its path with the one that the value names.
const mergeInto = "merge-directory:"

// mergeLater notes that two directories have one path. If nothing ended the one that gave way they are one directory, which got
// two numbers.
func (r *Rebuild) mergeLater(ctx context.Context, loser, winner ID) error {
	return r.exec(ctx, `INSERT INTO meta (key, value) SELECT ?1 || l.id, w.id FROM version l, version w WHERE l.id = ?2 AND w.id = ?3 AND l.kind = `+sqlDirectory+` AND w.kind = `+sqlDirectory+`
		ON CONFLICT DO UPDATE SET value = excluded.value`, mergeInto, loser, winner)
}

// notMerged takes that back: something replaced the directory.
func (r *Rebuild) notMerged(ctx context.Context, id ID) error {
	return r.exec(ctx, `DELETE FROM meta WHERE key = ? || ?`, mergeInto, id)
}

// mergeDirectories moves what lies in directories that gave way to the ones that have their paths.
func (r *Rebuild) mergeDirectories(ctx context.Context) error {
	for {
		if err := r.begin(ctx); err != nil {
			return err
		}
		var key, value string
		found, err := r.get(ctx, []any{&key, &value}, `SELECT key, value FROM meta WHERE key LIKE ? || '%' ORDER BY key LIMIT 1`, mergeInto)
		if err != nil {
			return err
		}
		if !found {
			return r.Flush()
		}
		loser, err1 := strconv.ParseInt(strings.TrimPrefix(key, mergeInto), 10, 64)
		winner, err2 := strconv.ParseInt(value, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if err := r.mergeDirectory(ctx, ID(loser), ID(winner)); err != nil {
			return err
		}
		if err := r.exec(ctx, `DELETE FROM meta WHERE key = ?`, key); err != nil {
			return err
		}
	}
}

func (r *Rebuild) mergeDirectory(ctx context.Context, loser, winner ID) error {
	for {
		if err := r.begin(ctx); err != nil {
			return err
		}
		children, err := query(ctx, r.tx, "what lies in a directory", func(rows *sql.Rows) (id ID, err error) { return id, rows.Scan(&id) },
			`SELECT id FROM version WHERE parent = ? AND id <> parent ORDER BY id LIMIT 1000`, loser)
		if err != nil || len(children) == 0 {
			return err
		}
		for _, id := range children {
			if err := r.exec(ctx, `UPDATE version SET parent = ?, current = 0 WHERE id = ?`, winner, id); err != nil {
				return err
			}
			if err := r.settle(ctx, id); err != nil {
				return err
			}
		}
	}
}
