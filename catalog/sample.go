package catalog

import (
	"context"
	"database/sql"
)

// SampleFile is a file whose content the catalog can prove, in an object that lies on a tape.
type SampleFile struct {
	ID      ID
	Size    int64 // bytes, above 0
	SHA256  []byte
	OID     string
	Barcode string
}

// SampleFiles draws up to n objects that a key seals and that lie durably on a tape, on any if barcode is empty, and returns the
// smallest file of each that has bytes.
func (db *DB) SampleFiles(ctx context.Context, fingerprint, barcode string, n int) ([]SampleFile, error) {
	return query(ctx, db.reader, "sample of objects", func(rows *sql.Rows) (f SampleFile, err error) {
		err = rows.Scan(&f.ID, &f.Size, &f.SHA256, &f.OID, &f.Barcode)
		return f, err
	}, `WITH drawn AS (
			SELECT o.id, o.oid, min(t.barcode) AS barcode FROM object o JOIN seal_key k ON k.id = o.key
			JOIN copy c ON c.object = o.id AND c.state = `+sqlDurable+` JOIN copy_part p ON p.copy = c.id AND p.state = `+sqlPartDurable+` AND p.number = 0 JOIN tape t ON t.id = p.tape
			WHERE k.fingerprint = ? AND o.state = `+sqlObjectPacked+` AND (? = '' OR t.barcode = ?)
			GROUP BY o.id ORDER BY random() LIMIT ?)
		SELECT v.id, min(v.size), v.sha256, d.oid, d.barcode FROM drawn d JOIN member m ON m.object = d.id JOIN version v ON v.id = m.version
		WHERE m.data >= 0 AND v.kind = `+sqlFile+` AND v.state = `+sqlPresent+` AND v.size > 0 AND v.sha256 IS NOT NULL
		GROUP BY d.id`, fingerprint, barcode, barcode, n)
}
