package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Change records a change and, when now is given, the version as it was when the manifest was written.
// A change of a version that nothing tells of leaves only its number.
func (r *Rebuild) Change(ctx context.Context, c Change, now *Version) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.change(ctx, c, now); err != nil {
		return fmt.Errorf("record change %d: %w", c.ID, err)
	}
	return nil
}

func (r *Rebuild) change(ctx context.Context, c Change, now *Version) error {
	if c.ID <= 0 {
		return errors.New("its number is not positive")
	}
	if IsFinding(c.Kind) { // it is about no version; programs that did not know the kind told of the root
		return r.finding(ctx, c)
	}
	r.lastChange, r.lastVersion = max(r.lastChange, c.ID), max(r.lastVersion, c.Version)
	if err := r.movedFrom(ctx, &c, now); err != nil { // before the version's own number is translated
		return err
	}
	if now != nil && now.ID == c.Version {
		if _, _, err := r.translate(ctx, now, ""); err != nil { // before its own number is looked for
			return err
		}
		was := r.alias
		defer func() { r.alias = was }()
		c.Version, r.alias = now.ID, map[ID]ID{} // it is translated
	} else {
		c.Version = r.meant(c.Version)
	}
	var kind string
	var version ID
	var at int64
	found, err := r.get(ctx, []any{&kind, &version, &at}, `SELECT kind, version, at FROM change WHERE id = ?`, c.ID)
	if err != nil {
		return err
	}
	if found && (kind != c.Kind || version != c.Version || at != nsOf(c.At)) {
		r.isOther(c.ID)
	}
	if found && (kind != c.Kind || version != c.Version) {
		if found, err = r.otherChange(ctx, &c); err != nil {
			return err
		}
	}
	if found {
		if r.forward && now != nil {
			return r.node(ctx, now, "")
		}
		return nil
	}
	// The newest change of a version tells how it is, also from an old manifest.
	var last int64
	if _, err := r.get(ctx, []any{&last}, `SELECT coalesce(max(id), 0) FROM change WHERE version = ?`, c.Version); err != nil {
		return err
	}
	if now != nil {
		was := r.forward
		r.forward = was || c.ID > last
		err := r.node(ctx, now, "")
		r.forward = was
		if err != nil {
			return err
		}
	}
	if _, found, err = r.row(ctx, c.Version); err != nil || !found {
		return err
	}
	if c.Kind == "replaced" {
		if err := r.notMerged(ctx, c.Version); err != nil {
			return err
		}
	}
	return r.exec(ctx, `INSERT INTO change (id, at, run, kind, version, detail) VALUES (?, ?, ?, ?, ?, ?)`, c.ID, nsOf(c.At), r.run, c.Kind, c.Version, c.Detail)
}

// movedFrom translates the number, in a change "moved", of the version that had the bytes: the next manifest that tells of the change
// says which path that was.
func (r *Rebuild) movedFrom(ctx context.Context, c *Change, now *Version) error {
	var how struct {
		From   ID     `json:"from"`
		Before string `json:"before"`
	}
	if c.Kind != "moved" || now == nil || json.Unmarshal([]byte(c.Detail), &how) != nil {
		return nil
	}
	from, err := r.bytesOf(ctx, now, now.ID, how.From)
	if err != nil || from == how.From {
		return err
	}
	how.From = from
	detail, err := json.Marshal(how)
	c.Detail = string(detail)
	return err
}

// finding records a change that tells of a tape or of a file on it. Its number says little: where an older catalog was put back two
// findings have one. A finding is what it says and when, and which is the latest is told by its time.
func (r *Rebuild) finding(ctx context.Context, c Change) error {
	r.lastChange = max(r.lastChange, c.ID)
	var kind, detail string
	var at int64
	taken, err := r.get(ctx, []any{&kind, &at, &detail}, `SELECT kind, at, detail FROM change WHERE id = ?`, c.ID)
	if err != nil || taken && kind == c.Kind && at == nsOf(c.At) && detail == c.Detail {
		return err
	}
	if taken {
		r.isOther(c.ID)
	}
	known, err := r.get(ctx, []any{new(int64)}, `SELECT id FROM change WHERE version = `+sqlRoot+` AND kind = ? AND at = ? AND detail = ? LIMIT 1`, c.Kind, nsOf(c.At), c.Detail)
	if err != nil || known {
		return err
	}
	if taken {
		if c.ID, err = r.freshChange(ctx); err != nil {
			return err
		}
	}
	return r.exec(ctx, `INSERT INTO change (id, at, run, kind, version, detail) VALUES (?, ?, ?, ?, `+sqlRoot+`, ?)`, c.ID, nsOf(c.At), r.run, c.Kind, c.Detail)
}
