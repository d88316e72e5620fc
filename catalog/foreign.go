package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ForeignFile is a file of an imported archive: alone in an object that another program sealed.
type ForeignFile struct {
	Path    []string
	Size    int64
	MTime   time.Time
	Deleted bool // at the source

	OID        string
	Name       string // on the tape
	SealedSize int64
	MD5        []byte
	Barcode    string
	Generation int  // LTO generation; 0 unknown
	Duplicate  bool // another path has these bytes, and came before
}

// ErrForeign: a file of an imported archive cannot be recorded; the others can.
var ErrForeign = errors.New("cannot be imported")

// ForeignImport records files of an archive of another program. Not safe for concurrent use.
type ForeignImport struct {
	db     *DB
	source Source
	key    int64
	pool   Pool
	run    int64
	owner  Owner
}

// ImportForeign begins an import into a source of that name and url, which no other import and no configured source has.
// key is the passphrase's; owner is given to files, for the archive knows none.
func (db *DB) ImportForeign(ctx context.Context, run int64, name, url string, key SealKey, owner Owner) (*ForeignImport, error) {
	src, err := db.SourceByName(ctx, name)
	if err == nil && src.URL != url {
		return nil, fmt.Errorf("import into source %s: it is there and comes from %s", name, src.URL)
	}
	if errors.Is(err, ErrNotFound) {
		src, err = db.EnsureSource(ctx, name, url)
	}
	if err != nil {
		return nil, err
	}
	pool, err := db.EnsurePool(ctx, name)
	if err != nil {
		return nil, err
	}
	return &ForeignImport{db, src, key.ID, pool, run, owner}, nil
}

// Add records files in one transaction, so keep it to a thousand. Each that cannot be recorded is given to refused with an
// error that wraps ErrForeign. It counts those that were not there before, or not so.
func (im *ForeignImport) Add(ctx context.Context, files []ForeignFile, refused func(*ForeignFile, error)) (added int, err error) {
	err = im.db.update(ctx, func(tx *sql.Tx) error {
		in, err := newVersionInserter(ctx, tx)
		if err != nil {
			return err
		}
		defer in.close()
		added = 0
		for i := range files {
			isNew, err := im.add(ctx, in, &files[i])
			if errors.Is(err, ErrForeign) {
				refused(&files[i], err)
				continue
			}
			if err != nil {
				return fmt.Errorf("import %q: %w", files[i].Path, err)
			}
			if isNew {
				added++
			}
		}
		return nil
	})
	return added, err
}

func (im *ForeignImport) add(ctx context.Context, in *versionInserter, f *ForeignFile) (isNew bool, err error) {
	tx := in.tx
	object, data, err := im.object(ctx, tx, f)
	if err != nil {
		return false, err
	}
	parent := im.source.Root
	for _, name := range f.Path[:len(f.Path)-1] {
		if parent, err = im.dir(ctx, in, parent, name, f.MTime); err != nil {
			return false, err
		}
	}
	name := f.Path[len(f.Path)-1]
	now := time.Now()
	var id, has ID
	var kind Kind
	var vanished int64
	err = tx.QueryRowContext(ctx, `SELECT id, kind, data, vanished FROM version WHERE parent = ? AND name = ? AND current = 1`, parent, []byte(name)).Scan(&id, &kind, &has, &vanished)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return false, err
	case kind != File:
		// A directory took its path: it stays as a past version.
		return im.past(ctx, in, parent, name, f, object, data)
	case has == data:
		if f.Deleted == (vanished != 0) {
			return false, nil
		}
		_, err := tx.ExecContext(ctx, `UPDATE version SET vanished = ? WHERE id = ?`, vanishedAt(f, now), id)
		return true, err
	default:
		if _, err := tx.ExecContext(ctx, `UPDATE version SET current = 0, until = ? WHERE id = ?`, nsOf(now), id); err != nil {
			return false, err
		}
	}
	_, err = im.version(ctx, in, parent, name, f, object, data, true)
	return true, err
}

// past records a file whose path is a directory's now.
func (im *ForeignImport) past(ctx context.Context, in *versionInserter, parent ID, name string, f *ForeignFile, object int64, data ID) (isNew bool, err error) {
	var known bool
	err = in.tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM version WHERE parent = ? AND name = ? AND current = 0 AND data = ?)`, parent, []byte(name), data).Scan(&known)
	if err != nil || known {
		return false, err
	}
	id, err := im.version(ctx, in, parent, name, f, object, data, false)
	if err == nil {
		_, err = in.tx.ExecContext(ctx, `UPDATE version SET until = since WHERE id = ?`, id)
	}
	return true, err
}

// version adds a version, and makes it the member of its object unless data is.
func (im *ForeignImport) version(ctx context.Context, in *versionInserter, parent ID, name string, f *ForeignFile, object int64, data ID, current bool) (ID, error) {
	now, tx := time.Now(), in.tx
	id, err := in.add(ctx, &Version{Parent: parent, Name: name, Kind: File, Mode: 0o644, Owner: im.owner, Size: f.Size,
		MTime: Time{Sec: f.MTime.Unix(), Nsec: int32(f.MTime.Nanosecond())}, State: Present, Current: current, Since: now})
	if err != nil {
		return 0, err
	}
	if data == 0 {
		data = id
		at := int64(0)
		if f.Size == 0 {
			at = -1
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO member (object, version, header, data) VALUES (?, ?, 0, ?)`, object, id, at); err != nil {
			return 0, err
		}
	}
	_, err = tx.ExecContext(ctx, `UPDATE version SET data = ?, vanished = ? WHERE id = ?`, data, vanishedAt(f, now), id)
	return id, err
}

func vanishedAt(f *ForeignFile, now time.Time) int64 {
	if f.Deleted {
		return nsOf(now)
	}
	return 0
}

// dir finds or makes a directory. The archive knows only files: its time is that of the first one in it.
func (im *ForeignImport) dir(ctx context.Context, in *versionInserter, parent ID, name string, at time.Time) (ID, error) {
	var id ID
	var kind Kind
	err := in.tx.QueryRowContext(ctx, `SELECT id, kind FROM version WHERE parent = ? AND name = ? AND current = 1`, parent, []byte(name)).Scan(&id, &kind)
	switch {
	case err == nil && kind == Directory:
		return id, nil
	case err == nil: // a file had the path before: it becomes a past version
		_, err = in.tx.ExecContext(ctx, `UPDATE version SET current = 0, until = ? WHERE id = ?`, nsOf(time.Now()), id)
	case errors.Is(err, sql.ErrNoRows):
		err = nil
	}
	if err != nil {
		return 0, err
	}
	return in.add(ctx, &Version{Parent: parent, Name: name, Kind: Directory, Mode: 0o755, Owner: im.owner, MTime: Time{Sec: at.Unix()},
		State: Present, Current: true, Since: time.Now()})
}

// object finds or makes the object and its place on tape. data is the version whose member it is; 0: none yet.
func (im *ForeignImport) object(ctx context.Context, tx *sql.Tx, f *ForeignFile) (id int64, data ID, err error) {
	var size int64
	var source int64
	err = tx.QueryRowContext(ctx, `SELECT o.id, o.sealed_size, o.source, m.version FROM object o JOIN member m ON m.object = o.id WHERE o.oid = ?`, f.OID).Scan(&id, &size, &source, &data)
	switch {
	case err == nil && (size != f.SealedSize || source != im.source.ID):
		return 0, 0, fmt.Errorf("%w: its object %s is there with other content", ErrForeign, f.OID)
	case err == nil:
		// Another passphrase than at the first try is the right one, unless the first has proved to be.
		_, err = tx.ExecContext(ctx, `UPDATE object SET key = ?1 WHERE id = ?2 AND key <> ?1 AND NOT EXISTS (SELECT 1 FROM part WHERE object = ?2)`, im.key, id)
		return id, data, err
	case !errors.Is(err, sql.ErrNoRows):
		return 0, 0, err
	case f.Duplicate:
		return 0, 0, fmt.Errorf("%w: the file whose bytes it has was not imported", ErrForeign)
	}
	tape, err := im.tape(ctx, tx, f)
	if err != nil {
		return 0, 0, err
	}
	now := time.Now().UnixNano()
	grid := (f.SealedSize + ExtentSize - 1) / ExtentSize * ExtentSize // all in one part
	res, err := tx.ExecContext(ctx, `INSERT INTO object (oid, run, source, key, part_size, planned_size, plain_size, sealed_size, state, created)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?6, `+sqlObjectPacked+`, ?8)`, f.OID, im.run, im.source.ID, im.key, grid, f.SealedSize, f.Size, now)
	if err != nil {
		return 0, 0, err
	}
	if id, err = res.LastInsertId(); err != nil {
		return 0, 0, err
	}
	if _, err = tx.ExecContext(ctx, `INSERT INTO foreign_object (object, md5) VALUES (?, ?)`, id, f.MD5); err != nil {
		return 0, 0, err
	}
	if res, err = tx.ExecContext(ctx, `INSERT INTO copy (object, pool, state) VALUES (?, ?, `+sqlDurable+`)`, id, im.pool.ID); err != nil {
		return 0, 0, err
	}
	copyID, err := res.LastInsertId()
	if err != nil {
		return 0, 0, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO copy_part (copy, number, tape, name, size, state, written, durable) VALUES (?, 0, ?, ?, ?, `+sqlPartDurable+`, ?, ?)`,
		copyID, tape, f.Name, f.SealedSize, now, now)
	if err == nil {
		_, err = tx.ExecContext(ctx, `UPDATE tape SET used = used + ? WHERE id = ?`, f.SealedSize, tape)
	}
	return id, 0, err
}

// tape finds or makes the row of a foreign tape. Its volume's UUID is learnt when it is first read.
func (im *ForeignImport) tape(ctx context.Context, tx *sql.Tx, f *ForeignFile) (id int64, err error) {
	var state string
	var pool sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT id, state, pool FROM tape WHERE barcode = ?`, f.Barcode).Scan(&id, &state, &pool)
	if err == nil && (state != TapeForeign || pool.Int64 != im.pool.ID) {
		return 0, fmt.Errorf("%w: tape %s is one of this catalog's own", ErrForeign, f.Barcode)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO tape (barcode, pool, generation, state, note) VALUES (?, ?, ?, ?, 'imported: is only read')`,
		f.Barcode, im.pool.ID, f.Generation, TapeForeign)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// ForeignMD5 is the MD5 that an imported object's sealed bytes must have; ErrNotFound for any other object.
func (db *DB) ForeignMD5(ctx context.Context, object int64) ([]byte, error) {
	var md5 []byte
	err := db.reader.QueryRowContext(ctx, `SELECT md5 FROM foreign_object WHERE object = ?`, object).Scan(&md5)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("MD5 of object %d: %w", object, err)
	}
	return md5, nil
}

// Surveyed is what was learnt when an imported object was read whole and had its MD5.
type Surveyed struct {
	Object   int64
	CopyPart int64
	Part     Part
	Tape     string // barcode
	UUID     string // of the volume that holds it
	At       time.Time
}

// RecordSurvey keeps an imported object's sums, and the UUID of its tape if none was known.
func (db *DB) RecordSurvey(ctx context.Context, s Surveyed) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO part (object, number, size, sha256, sums) SELECT object, 0, ?2, ?3, ?4 FROM foreign_object WHERE object = ?1
			ON CONFLICT DO NOTHING`, s.Object, s.Part.Size, s.Part.SHA256, s.Part.Sums)
		if err != nil {
			return err
		}
		var sum []byte
		if err := tx.QueryRowContext(ctx, `SELECT sha256 FROM part WHERE object = ? AND number = 0`, s.Object).Scan(&sum); err != nil {
			return err
		}
		if string(sum) != string(s.Part.SHA256) {
			return fmt.Errorf("object %d has another SHA-256 already", s.Object)
		}
		if err := partVerified(ctx, tx, s.CopyPart, s.At); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE tape SET uuid = CASE WHEN uuid = '' THEN ?1 ELSE uuid END, seen = ?2 WHERE barcode = ?3 AND state = 'foreign'`,
			s.UUID, nsOf(s.At), s.Tape)
		return err
	})
	if err != nil {
		return fmt.Errorf("record sums of imported object: %w", err)
	}
	return nil
}
