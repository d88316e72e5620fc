package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrContradiction: a record says something else of an object than what is recorded already. Each
// object has one salt and one set of sums, so one of the two is not what was written.
var ErrContradiction = errors.New("it contradicts what is recorded")

// Refusable reports whether an error of a Rebuild's call is about the record that was given to it. Any other is about the
// catalog's file or the moment, and nothing goes on after it.
func Refusable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errHeld) {
		return false
	}
	var e *sqlite.Error
	return !errors.As(err, &e) || e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
}

// rebuildChunk is how long a transaction of a rebuild stays open.
const rebuildChunk = 300 * time.Millisecond

// Rebuild fills a catalog from the records of manifests. Its calls gather in transactions of less
// than a second; Flush ends the last one. While one is open no other method of the DB may write.
// Records may come twice and in any order of manifests; what is known already is not doubled.
// Not safe for concurrent use.
type Rebuild struct {
	db  *DB
	run int64

	tx    *sql.Tx
	began time.Time
	stmts map[string]*sql.Stmt

	owners  map[Owner]int64
	sources map[string]int64
	keys    map[string]int64
	pools   map[string]int64
	volumes map[string]int64 // tapes by UUID
	known   map[ID]bool      // directories that have a row

	oid    string // the object that objectID is of
	object int64

	held []heldMember // members that were not written yet
	args []any        // of the statement that writes them
	top  ID           // no greater number has a row or is held, but those in made
	made map[ID]bool  // directories that got a row since the manifest was begun: their numbers lie among those of their files

	manifest Manifest
	alias    map[ID]ID // what the manifest's numbers are in the catalog, where they differ
	forward  bool      // the manifest is as new as all that was read before: what it says of a node holds

	marked map[int64]bool // parts that MarkPart was told of

	lastVersion ID
	lastChange  int64
	anew        int64 // the least number that this rebuild gave to a change; 0: none
	other       int64 // the least number of a change that is another one in the manifest at hand than in the catalog; 0: none
}

// Rebuild begins, or goes on with, filling the catalog on behalf of a run.
func (db *DB) Rebuild(run int64) *Rebuild {
	r := &Rebuild{db: db, run: run, alias: map[ID]ID{}, marked: map[int64]bool{}}
	r.forget()
	return r
}

// forget drops what was remembered: after a rollback it may be wrong.
func (r *Rebuild) forget() {
	r.tx, r.stmts = nil, map[string]*sql.Stmt{}
	r.owners, r.sources, r.keys, r.pools = map[Owner]int64{}, map[string]int64{}, map[string]int64{}, map[string]int64{}
	r.volumes, r.known, r.oid = map[string]int64{}, map[ID]bool{}, ""
	r.held, r.top, r.made = nil, math.MaxInt64, nil
}

// Flush commits what is pending.
func (r *Rebuild) Flush() error {
	if r.tx == nil {
		return nil
	}
	if err := r.writeHeld(context.Background()); err != nil {
		return err
	}
	tx := r.tx
	r.tx, r.stmts = nil, map[string]*sql.Stmt{}
	if err := tx.Commit(); err != nil {
		r.forget()
		return fmt.Errorf("rebuild: commit: %w", err)
	}
	return nil
}

// Abandon takes back what was not committed. It may be called at any time.
func (r *Rebuild) Abandon() error {
	if r.tx == nil {
		return nil
	}
	tx := r.tx
	r.forget()
	return tx.Rollback()
}

// begin opens a transaction when none is, and commits one that is open for long. Rows that belong
// together are written between two calls.
func (r *Rebuild) begin(ctx context.Context) error {
	if r.tx != nil && time.Since(r.began) > rebuildChunk {
		if err := r.Flush(); err != nil {
			return err
		}
	}
	if r.tx != nil {
		return nil
	}
	if r.db.writer == nil {
		return errors.New("catalog was opened for reading")
	}
	// The transaction outlives the call, so it must not end with the call's context.
	tx, err := r.db.writer.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return fmt.Errorf("rebuild: begin: %w", err)
	}
	r.tx, r.began = tx, time.Now()
	return nil
}

// stmt prepares a constant text once in each transaction.
func (r *Rebuild) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if s := r.stmts[text]; s != nil {
		return s, nil
	}
	s, err := r.tx.PrepareContext(context.WithoutCancel(ctx), text)
	if err == nil {
		r.stmts[text] = s
	}
	return s, err
}

// exec runs a statement that takes no time: ctx is asked before it, not during it, for the driver would start a goroutine for each.
func (r *Rebuild) exec(ctx context.Context, text string, args ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.writeHeld(ctx); err != nil {
		return err
	}
	s, err := r.stmt(ctx, text)
	if err == nil {
		_, err = s.ExecContext(context.WithoutCancel(ctx), args...)
	}
	return err
}

// get scans one row; false when there is none.
func (r *Rebuild) get(ctx context.Context, dest []any, text string, args ...any) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := r.writeHeld(ctx); err != nil {
		return false, err
	}
	s, err := r.stmt(ctx, text)
	if err != nil {
		return false, err
	}
	err = s.QueryRowContext(context.WithoutCancel(ctx), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// number finds or makes the row of a name, and remembers it.
func (r *Rebuild) number(ctx context.Context, memory map[string]int64, name, find, make string, args ...any) (int64, error) {
	if id := memory[name]; id != 0 {
		return id, nil
	}
	var id int64
	found, err := r.get(ctx, []any{&id}, find, name)
	if err == nil && !found {
		if err = r.exec(ctx, make, args...); err == nil {
			_, err = r.get(ctx, []any{&id}, find, name)
		}
	}
	if err == nil && id != 0 {
		memory[name] = id
	}
	return id, err
}

// StartManifest begins with a manifest's records. Its row is not durable before EndManifest: an
// interrupted rebuild reads it again.
func (r *Rebuild) StartManifest(ctx context.Context, m Manifest) error {
	if err := r.Flush(); err != nil { // what is newest is read from what is committed, too
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	var newest int64
	_, err := r.get(ctx, []any{&newest}, `SELECT max(coalesce((SELECT max(id) FROM change WHERE ?1 = 0 OR id < ?1), 0), coalesce((SELECT max(upto) FROM manifest WHERE state = `+sqlManifestDurable+`), 0))`, r.anew)
	if err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	r.forward = m.Upto >= newest
	if _, err := r.get(ctx, []any{&m.ID}, `SELECT id FROM manifest WHERE tape = ? AND seq = ? AND state < `+sqlManifestLost, m.Tape, m.Seq); err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	if m.ID == 0 {
		_, err = r.get(ctx, []any{&m.ID}, `INSERT INTO manifest (tape, seq, name, mac, previous, after, upto, state, written) VALUES (?, ?, ?, ?, ?, ?, ?, `+sqlManifestWritten+`, ?) RETURNING id`,
			m.Tape, m.Seq, m.Name, m.MAC, m.Previous, m.After, m.Upto, nsOf(m.Written))
		if err != nil {
			return fmt.Errorf("record manifest %s: %w", m.Name, err)
		}
	}
	r.manifest, r.alias, r.other = m, map[ID]ID{}, 0
	r.made = map[ID]bool{}
	if _, err := r.get(ctx, []any{&r.top}, `SELECT max(id) FROM version`); err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	return nil
}

// ReplaceManifest records that another manifest lies on the tape under the name of this one: what it named is to be named
// again.
func (r *Rebuild) ReplaceManifest(ctx context.Context, id int64) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	err := r.exec(ctx, `UPDATE copy_part SET manifest = NULL WHERE manifest = ?`, id)
	if err == nil {
		err = r.exec(ctx, `UPDATE manifest SET state = `+sqlManifestLost+` WHERE id = ?`, id)
	}
	if err != nil {
		return fmt.Errorf("record manifest %d as replaced: %w", id, err)
	}
	return r.Flush()
}

// Given tells of the greatest numbers that a manifest knew to be given: they are never given again.
func (r *Rebuild) Given(version ID, change int64) {
	r.lastVersion, r.lastChange = max(r.lastVersion, version), max(r.lastChange, change)
}

// EndManifest records that all of the manifest was taken over.
func (r *Rebuild) EndManifest(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	m := &r.manifest
	if r.other > 0 { // from there on what the catalog has under a number is not what the manifest names: it is named again
		m.Upto = max(m.After, min(m.Upto, r.other-1))
	}
	err := r.exec(ctx, `UPDATE manifest SET state = `+sqlManifestDurable+`, name = ?, mac = ?, previous = ?, after = ?, upto = ?, written = ?, verified = ? WHERE id = ?`,
		m.Name, m.MAC, m.Previous, m.After, m.Upto, nsOf(m.Written), time.Now().UnixNano(), m.ID)
	if err != nil {
		return fmt.Errorf("record manifest %s: %w", m.Name, err)
	}
	return r.Flush()
}

// Salt records a salt that was seen on a tape: nothing is ever sealed under it again.
func (r *Rebuild) Salt(ctx context.Context, fingerprint, purpose string, salt []byte) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	key, err := r.key(ctx, SealKey{Fingerprint: fingerprint})
	if err == nil {
		err = r.exec(ctx, `INSERT INTO salt (key, salt, purpose, drawn, used) VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET used = 1`,
			key, salt, purpose, time.Now().UnixNano())
	}
	if err != nil {
		return fmt.Errorf("record a salt: %w", err)
	}
	return nil
}

// Snapshot records a proved snapshot on a tape.
func (r *Rebuild) Snapshot(ctx context.Context, tape int64, name string, size int64, mac []byte, written time.Time) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	var id int64
	found, err := r.get(ctx, []any{&id}, `SELECT id FROM snapshot WHERE tape = ? AND name = ?`, tape, name)
	switch {
	case err != nil:
	case found:
		err = r.exec(ctx, `UPDATE snapshot SET state = `+sqlManifestDurable+` WHERE id = ?`, id)
	default:
		err = r.exec(ctx, `INSERT INTO snapshot (tape, name, size, mac, state, written) VALUES (?, ?, ?, ?, `+sqlManifestDurable+`, ?)`, tape, name, size, mac, nsOf(written))
	}
	if err != nil {
		return fmt.Errorf("record snapshot %s: %w", name, err)
	}
	return nil
}
