package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// Receipt says what was removed at a source, and which copies it had then.
type Receipt struct {
	ID      int64
	Run     int64
	Source  int64
	Path    string // below the source's top
	Aside   string // the name in the same directory under which it is removed
	Version ID
	Kind    Kind
	Size    int64
	SHA256  []byte // of a file
	Copies  []ReceiptCopy
	State   ReceiptState
	At      time.Time // of that state
}

// ReceiptState is how far a removal is.
type ReceiptState string

const (
	ReceiptGoing   ReceiptState = "going"   // written down before anything happens to the file
	ReceiptRemoved ReceiptState = "removed" // it is gone
	ReceiptKept    ReceiptState = "kept"    // it is there still
)

// ReceiptCopy is a copy that was counted: durable, and read back.
type ReceiptCopy struct {
	Pool   string   `json:"pool"`
	Object string   `json:"object"`
	Tapes  []string `json:"tapes"`
}

// BeginReceipts writes down what is about to be removed, and gives each its ID.
func (db *DB) BeginReceipts(ctx context.Context, list []Receipt) error {
	now := time.Now()
	err := db.update(ctx, func(tx *sql.Tx) error {
		for i := range list {
			r := &list[i]
			copies, err := json.Marshal(r.Copies)
			if err != nil {
				return err
			}
			res, err := tx.ExecContext(ctx, `INSERT INTO receipt (run, source, path, aside, version, kind, size, sha256, copies, state, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				r.Run, r.Source, []byte(r.Path), r.Aside, int64(r.Version), int(r.Kind), r.Size, r.SHA256, string(copies), string(ReceiptGoing), nsOf(now))
			if err != nil {
				return err
			}
			if r.ID, err = res.LastInsertId(); err != nil {
				return err
			}
			r.State, r.At = ReceiptGoing, now
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write down what is to be removed: %w", err)
	}
	return nil
}

// EndReceipts records what became of removals, as State and At say. What was removed is Version.Removed from then on, which is journalled
// with it.
func (db *DB) EndReceipts(ctx context.Context, run int64, list []Receipt) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		for _, r := range list {
			if _, err := tx.ExecContext(ctx, `UPDATE receipt SET state = ?, at = ? WHERE id = ? AND state = 'going'`, string(r.State), nsOf(r.At), r.ID); err != nil {
				return err
			}
			if r.State != ReceiptRemoved {
				continue
			}
			if _, err := tx.ExecContext(ctx, `UPDATE version SET vanished = ? WHERE id = ?`, nsOf(r.At), int64(r.Version)); err != nil {
				return err
			}
			if err := journal(ctx, tx, run, "vanished", r.Version, r.At, ""); err != nil {
				return err
			}
			if err := journalReceipt(ctx, tx, run, &r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record what was removed: %w", err)
	}
	return nil
}

const receiptColumns = `id, run, source, path, aside, version, kind, size, sha256, copies, state, at`

func scanReceipt(rows *sql.Rows) (r Receipt, err error) {
	var path []byte
	var copies string
	var at int64
	if err := rows.Scan(&r.ID, &r.Run, &r.Source, &path, &r.Aside, &r.Version, &r.Kind, &r.Size, &r.SHA256, &copies, &r.State, &at); err != nil {
		return r, err
	}
	r.Path, r.At = string(path), timeOf(at)
	return r, json.Unmarshal([]byte(copies), &r.Copies)
}

// OpenReceipts lists the removals of a source that were begun and whose end is not recorded.
func (db *DB) OpenReceipts(ctx context.Context, source int64) ([]Receipt, error) {
	return query(ctx, db.reader, "removals under way", scanReceipt, `SELECT `+receiptColumns+` FROM receipt WHERE source = ? AND state = 'going' ORDER BY id`, source)
}

// UnfiledReceipts lists what was removed and does not stand in a file of receipts yet, at most limit.
func (db *DB) UnfiledReceipts(ctx context.Context, source int64, limit int) ([]Receipt, error) {
	return query(ctx, db.reader, "receipts", scanReceipt, `SELECT `+receiptColumns+` FROM receipt WHERE source = ? AND state = 'removed' AND filed = 0 ORDER BY id LIMIT ?`, source, limitOf(limit))
}

// FileReceipts records that receipts up to one stand in a file.
func (db *DB) FileReceipts(ctx context.Context, source, upto int64) error {
	return db.exec(ctx, "record receipts as filed", `UPDATE receipt SET filed = 1 WHERE source = ? AND state = 'removed' AND filed = 0 AND id <= ?`, source, upto)
}

// receiptPage is how many receipts are read at once.
const receiptPage = 1000

// Receipts calls fn for what was removed since a time (zero: ever) at all sources, in the order of removal.
func (db *DB) Receipts(ctx context.Context, since time.Time, fn func(*Receipt) error) error {
	for after := int64(0); ; {
		list, err := query(ctx, db.reader, "receipts", scanReceipt, `SELECT `+receiptColumns+` FROM receipt WHERE id > ? AND state = 'removed' AND at >= ? ORDER BY id LIMIT ?`,
			after, nsOf(since), receiptPage)
		if err != nil {
			return err
		}
		for i := range list {
			if err := fn(&list[i]); err != nil {
				return err
			}
			after = list[i].ID
		}
		if len(list) < receiptPage {
			return nil
		}
	}
}

// CountedCopies lists an object's copies that were read back and can be counted on, as HeldCopies does, with their tapes.
func (db *DB) CountedCopies(ctx context.Context, object int64) ([]ReceiptCopy, error) {
	held, err := db.HeldCopies(ctx, object)
	if err != nil {
		return nil, err
	}
	var out []ReceiptCopy
	for _, h := range held {
		if !h.Verified {
			continue
		}
		c := ReceiptCopy{Object: h.OID}
		c.Tapes, err = query(ctx, db.reader, "tapes of a copy", func(rows *sql.Rows) (barcode string, err error) {
			return barcode, rows.Scan(&c.Pool, &barcode)
		}, `SELECT l.name, t.barcode FROM copy c JOIN pool l ON l.id = c.pool JOIN copy_part p ON p.copy = c.id JOIN tape t ON t.id = p.tape
			WHERE c.object = ? AND c.pool = ? AND c.state = `+sqlDurable+` AND p.state = `+sqlPartDurable+` GROUP BY t.barcode ORDER BY min(p.number)`, object, h.Pool)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}
