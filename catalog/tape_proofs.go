package catalog

import (
	"context"
	"database/sql"
	"time"
)

// TapeProof says how well it is known that a tape still has its bytes.
type TapeProof struct {
	Bytes  int64     // of the parts on it that count
	Unread int64     // of Bytes, what was never read back since it was written
	Oldest time.Time // when the part was last read back, or written if it never was, for which that is the longest ago
}

// TapeProofs tells of each tape that holds something, by its row's id, how old its proofs are.
func (db *DB) TapeProofs(ctx context.Context) (map[int64]TapeProof, error) {
	proofs := map[int64]TapeProof{}
	_, err := query(ctx, db.reader, "proofs of tapes", func(rows *sql.Rows) (struct{}, error) {
		var tape, oldest int64
		var p TapeProof
		err := rows.Scan(&tape, &p.Bytes, &p.Unread, &oldest)
		p.Oldest = timeOf(oldest)
		proofs[tape] = p
		return struct{}{}, err
	}, `SELECT p.tape, sum(p.size), sum(CASE WHEN p.verified = 0 THEN p.size ELSE 0 END), min(CASE WHEN p.verified = 0 THEN p.durable ELSE p.verified END)
		FROM copy_part p JOIN copy c ON c.id = p.copy JOIN object o ON o.id = c.object
		WHERE p.state = `+sqlPartDurable+` AND c.state < `+sqlCopyDropped+` AND o.state IN (`+sqlObjectPacked+`, `+sqlObjectSuperseded+`) GROUP BY p.tape`)
	return proofs, err
}
