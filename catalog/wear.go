package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Worn is what a drive said at the end of sessions of one day: of itself and, with Tape, of the cartridge in it. Counts are over the
// life of either, and -1 where the drive did not say.
type Worn struct {
	Time   time.Time // of the last session of the day
	Drive  string    // serial
	Tape   int64     // 0: a tape that the catalog does not know
	Alerts []int     // TapeAlert flags that were raised that day

	Loads                     int64
	MBWritten, MBRead         int64 // 10^6 bytes
	WriteRetries, ReadRetries int64 // errors that were corrected
	WriteErrors, ReadErrors   int64 // errors that were not

	DriveLoads, Cleanings     int64
	PoweredHours, MovingHours int64
	Metres                    int64 // of tape that ran through the drive
}

// Wear is the history of what tapes and drives said of themselves. It is bounded: keptWear days of use for each tape and each drive.
type Wear struct{ db *DB }

// Wear gives the role that keeps what tapes and drives say of themselves.
func (db *DB) Wear() Wear { return Wear{db} }

// keptWear is how many rows, each a day of use, are kept for a tape, and likewise for a drive.
const keptWear = 200

const wornColumns = `time, drive, tape, alerts, loads, mb_written, mb_read, write_retries, read_retries, write_errors, read_errors,
	drive_loads, cleanings, powered_hours, moving_hours, metres`

func scanWorn(rows *sql.Rows) (w Worn, err error) {
	var at int64
	var tape sql.NullInt64
	var alerts string
	err = rows.Scan(&at, &w.Drive, &tape, &alerts, &w.Loads, &w.MBWritten, &w.MBRead, &w.WriteRetries, &w.ReadRetries, &w.WriteErrors, &w.ReadErrors,
		&w.DriveLoads, &w.Cleanings, &w.PoweredHours, &w.MovingHours, &w.Metres)
	w.Time, w.Tape = timeOf(at), tape.Int64
	for _, f := range strings.Fields(alerts) {
		n, err := strconv.Atoi(f)
		if err != nil {
			return w, fmt.Errorf("flags %q of drive %s", alerts, w.Drive)
		}
		w.Alerts = append(w.Alerts, n)
	}
	return w, err
}

// Record adds what a drive said. What the same drive said of the same tape earlier that day is replaced, but for its flags, which are
// lowered by reading them.
func (w Wear) Record(ctx context.Context, worn Worn) error {
	day := worn.Time.UTC().Truncate(24 * time.Hour)
	err := w.db.update(ctx, func(tx *sql.Tx) error {
		const sameDay = `drive = ? AND tape IS ? AND time >= ? AND time < ?`
		same := []any{worn.Drive, nullIfZero(worn.Tape), nsOf(day), nsOf(day.Add(24 * time.Hour))}
		before, err := query(ctx, tx, "wear", scanWorn, `SELECT `+wornColumns+` FROM wear WHERE `+sameDay, same...)
		if err != nil {
			return err
		}
		flags := slices.Clone(worn.Alerts)
		for _, b := range before {
			flags = append(flags, b.Alerts...)
		}
		slices.Sort(flags)
		words := []string{}
		for _, f := range slices.Compact(flags) {
			words = append(words, strconv.Itoa(f))
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM wear WHERE `+sameDay, same...); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO wear (`+wornColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			nsOf(worn.Time), worn.Drive, nullIfZero(worn.Tape), strings.Join(words, " "), worn.Loads, worn.MBWritten, worn.MBRead,
			worn.WriteRetries, worn.ReadRetries, worn.WriteErrors, worn.ReadErrors,
			worn.DriveLoads, worn.Cleanings, worn.PoweredHours, worn.MovingHours, worn.Metres)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM wear WHERE (drive = ?1 OR tape IS ?2)
			AND id NOT IN (SELECT id FROM wear WHERE drive = ?1 ORDER BY time DESC LIMIT ?3)
			AND (tape IS NULL OR id NOT IN (SELECT o.id FROM wear o WHERE o.tape = wear.tape ORDER BY o.time DESC LIMIT ?3))`,
			worn.Drive, nullIfZero(worn.Tape), keptWear)
		return err
	})
	if err != nil {
		return fmt.Errorf("record what drive %s says: %w", worn.Drive, err)
	}
	return nil
}

// OfTape is what was said of a tape, the newest first, at most as much as is kept.
func (w Wear) OfTape(ctx context.Context, tape int64) ([]Worn, error) {
	return query(ctx, w.db.reader, "wear of a tape", scanWorn, `SELECT `+wornColumns+` FROM wear WHERE tape = ? ORDER BY time DESC LIMIT ?`, tape, keptWear)
}

// OfDrive is what a drive said, the newest first, at most as much as is kept.
func (w Wear) OfDrive(ctx context.Context, serial string) ([]Worn, error) {
	return query(ctx, w.db.reader, "wear of a drive", scanWorn, `SELECT `+wornColumns+` FROM wear WHERE drive = ? ORDER BY time DESC LIMIT ?`, serial, keptWear)
}

// Tapes lists the tapes of which anything was said.
func (w Wear) Tapes(ctx context.Context) ([]int64, error) {
	return query(ctx, w.db.reader, "worn tapes", func(rows *sql.Rows) (id int64, err error) {
		return id, rows.Scan(&id)
	}, `SELECT DISTINCT tape FROM wear WHERE tape IS NOT NULL ORDER BY tape`)
}
