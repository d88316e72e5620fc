package catalog

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ChangeRemoved is the kind of a change that tells of a receipt. It comes after a change "vanished" of the same version and time, and
// its detail is a toldReceipt. Programs that do not know the kind take the version for vanished.
const ChangeRemoved = "removed"

// toldReceipt is what the journal keeps of a receipt, beside its version and time.
type toldReceipt struct {
	Receipt int64         `json:"receipt"`
	SHA256  string        `json:"sha256,omitempty"` // hex, of a file
	Copies  []ReceiptCopy `json:"copies,omitempty"`
}

// maxToldReceipt bounds the numbers that are believed: the next receipt gets a greater one.
const maxToldReceipt = 1 << 50

// journalReceipt tells the next manifests of a receipt.
func journalReceipt(ctx context.Context, tx *sql.Tx, run int64, r *Receipt) error {
	detail, err := json.Marshal(toldReceipt{r.ID, hex.EncodeToString(r.SHA256), r.Copies})
	if err != nil {
		return err
	}
	if err := journal(ctx, tx, run, ChangeRemoved, r.Version, r.At, string(detail)); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE receipt SET journalled = 1 WHERE id = ?`, r.ID)
	return err
}

// JournalReceipts tells the next manifests of the receipts that earlier versions of this program wrote and did not tell of.
func (db *DB) JournalReceipts(ctx context.Context, run int64) error {
	for {
		list, err := query(ctx, db.reader, "receipts", scanReceipt, `SELECT `+receiptColumns+` FROM receipt INDEXED BY receipt_untold
			WHERE state = 'removed' AND journalled = 0 ORDER BY id LIMIT ?`, receiptPage)
		if err != nil || len(list) == 0 {
			return err
		}
		err = db.update(ctx, func(tx *sql.Tx) error {
			for i := range list {
				if err := journalReceipt(ctx, tx, run, &list[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("journal receipts: %w", err)
		}
	}
}

// receiveReceipts makes receipts of what the journal tells of removals. Those that a snapshot brought are told of from then on.
func (r *Rebuild) receiveReceipts(ctx context.Context) error {
	for after := int64(0); ; {
		list, err := query(ctx, r.db.reader, "removals", func(rows *sql.Rows) (c Change, err error) {
			var at int64
			err = rows.Scan(&c.ID, &at, &c.Run, &c.Version, &c.Detail)
			c.At = timeOf(at)
			return c, err
		}, `SELECT id, at, run, version, detail FROM change WHERE kind = '`+ChangeRemoved+`' AND id > ? ORDER BY id LIMIT ?`, after, settlePage)
		if err != nil || len(list) == 0 {
			return err
		}
		after = list[len(list)-1].ID
		var receipts []Receipt
		for i := range list {
			receipt, err := r.receiptOf(ctx, &list[i])
			if err != nil {
				return err
			}
			if receipt != nil {
				receipts = append(receipts, *receipt)
			}
		}
		err = r.db.update(ctx, func(tx *sql.Tx) error {
			for i := range receipts {
				if err := receiveReceipt(ctx, tx, &receipts[i]); err != nil {
					return fmt.Errorf("receipt of version %d: %w", receipts[i].Version, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// receiptOf is the receipt that a change tells of; nil when it is of no file or symlink of a source. A detail that says nothing makes a
// receipt without copies: the file was removed all the same.
func (r *Rebuild) receiptOf(ctx context.Context, c *Change) (*Receipt, error) {
	v, err := r.db.Get(ctx, c.Version)
	if errors.Is(err, ErrNotFound) || err == nil && v.Kind == Directory {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	path, err := r.db.Path(ctx, v.ID)
	if err != nil {
		return nil, err
	}
	name, below, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	sources, err := query(ctx, r.db.reader, "source of a receipt", func(rows *sql.Rows) (id int64, err error) { return id, rows.Scan(&id) },
		`SELECT id FROM source WHERE name = ?`, name)
	if err != nil || len(sources) == 0 {
		return nil, err
	}
	var told toldReceipt
	if json.Unmarshal([]byte(c.Detail), &told) != nil {
		told = toldReceipt{}
	}
	if told.Receipt > maxToldReceipt {
		told.Receipt = 0
	}
	sum, err := hex.DecodeString(told.SHA256)
	if err != nil || len(sum) != 32 {
		sum = nil
	}
	return &Receipt{ID: told.Receipt, Run: c.Run, Source: sources[0], Path: below, Version: v.ID, Kind: v.Kind, Size: v.Size, SHA256: sum, Copies: told.Copies,
		State: ReceiptRemoved, At: c.At}, nil
}

// receiveReceipt records a receipt that the journal tells of, under its number unless another one has that. Its line was written where
// the file was removed.
func receiveReceipt(ctx context.Context, tx *sql.Tx, r *Receipt) error {
	known, err := tx.ExecContext(ctx, `UPDATE receipt SET journalled = 1 WHERE version = ? AND at = ? AND state = 'removed'`, int64(r.Version), nsOf(r.At))
	if err != nil {
		return err
	}
	if n, err := known.RowsAffected(); err != nil || n > 0 {
		return err
	}
	copies, err := json.Marshal(r.Copies)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO receipt (id, run, source, path, aside, version, kind, size, sha256, copies, state, at, filed, journalled)
		VALUES (CASE WHEN ?1 <= 0 OR EXISTS (SELECT 1 FROM receipt WHERE id = ?1) THEN NULL ELSE ?1 END, ?2, ?3, ?4, '', ?5, ?6, ?7, ?8, ?9, 'removed', ?10, 1, 1)`,
		r.ID, r.Run, r.Source, []byte(r.Path), int64(r.Version), int(r.Kind), r.Size, r.SHA256, string(copies), nsOf(r.At))
	return err
}
