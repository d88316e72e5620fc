package catalog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// DrawSalt returns 8 random bytes that this key never used, recorded before they are returned.
func (db *DB) DrawSalt(ctx context.Context, key int64, purpose string) ([]byte, error) {
	for range 10 {
		salt := make([]byte, 8)
		if _, err := rand.Read(salt); err != nil {
			return nil, fmt.Errorf("draw salt: %w", err)
		}
		fresh := false
		err := db.update(ctx, func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, `INSERT INTO salt (key, salt, purpose, drawn) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				key, salt, purpose, time.Now().UnixNano())
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			fresh = n == 1
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("draw salt: %w", err)
		}
		if fresh {
			return salt, nil
		}
	}
	return nil, errors.New("draw salt: the random numbers repeat")
}

func newUUID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("draw UUID: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
