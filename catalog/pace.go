package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Timed is how long the library took for something that it does again and again.
type Timed struct {
	What  TimedWork
	Times int64 // how often it was done
	Bytes int64 // of TimedStream only: that were read
	Took  time.Duration
}

// TimedWork is what can be timed.
type TimedWork string

const (
	TimedLoad   TimedWork = "load"   // the robot brings a tape, and it is mounted
	TimedLocate TimedWork = "locate" // the tape runs to another place
	TimedStream TimedWork = "stream" // the tape is read on
)

// keptTimes and keptStream bound what the past weighs: beyond them the sums are halved before something is added.
const (
	keptTimes  = 200
	keptStream = 4 << 40 // bytes
)

// AddTimed adds to what is known of the library's pace. What took no time is left out.
func (db *DB) AddTimed(ctx context.Context, list ...Timed) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		for _, t := range list {
			if t.Times <= 0 || t.Took <= 0 {
				continue
			}
			_, err := tx.ExecContext(ctx, `UPDATE pace SET times = max(1, times / 2), bytes = bytes / 2, nanos = nanos / 2
				WHERE what = ?1 AND (bytes > ?3 OR what <> 'stream' AND times > ?2)`, string(t.What), keptTimes, int64(keptStream))
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO pace (what, times, bytes, nanos) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
				SET times = times + excluded.times, bytes = bytes + excluded.bytes, nanos = nanos + excluded.nanos`,
				string(t.What), t.Times, t.Bytes, int64(t.Took)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record how long the library took: %w", err)
	}
	return nil
}

// Timings gives the sums of what was timed lately. What never was is missing.
func (db *DB) Timings(ctx context.Context) (map[TimedWork]Timed, error) {
	list, err := query(ctx, db.reader, "how long the library takes", func(rows *sql.Rows) (t Timed, err error) {
		var nanos int64
		err = rows.Scan(&t.What, &t.Times, &t.Bytes, &nanos)
		t.Took = time.Duration(nanos)
		return t, err
	}, `SELECT what, times, bytes, nanos FROM pace`)
	all := map[TimedWork]Timed{}
	for _, t := range list {
		all[t.What] = t
	}
	return all, err
}
