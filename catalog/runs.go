package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// StartRun records a run of this process.
func (db *DB) StartRun(ctx context.Context, kind string, args []string) (Run, error) {
	r := Run{Kind: kind, Args: args, PID: os.Getpid(), Started: time.Now().UTC(), State: "running"}
	if args == nil {
		args = []string{}
	}
	text, err := json.Marshal(args)
	if err != nil {
		return r, fmt.Errorf("record run: %w", err)
	}
	err = db.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO run (kind, args, pid, started, state) VALUES (?, ?, ?, ?, ?)`, kind, string(text), r.PID, nsOf(r.Started), r.State)
		if err != nil {
			return err
		}
		r.ID, err = res.LastInsertId()
		return err
	})
	if err != nil {
		return r, fmt.Errorf("record run: %w", err)
	}
	return r, nil
}

// Count adds to a run's counters.
func (db *DB) Count(ctx context.Context, run int64, source string, counts map[string]int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		for name, n := range counts {
			_, err := tx.ExecContext(ctx, `INSERT INTO run_count (run, source, name, value) VALUES (?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET value = value + excluded.value`, run, source, name, n)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	return nil
}

// LastCount is what the last run before one that listed a source counted under a name; 0: nothing.
func (db *DB) LastCount(ctx context.Context, before int64, source, name string) (n int64, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT coalesce((SELECT value FROM run_count c WHERE c.run = l.run AND c.source = ?2 AND c.name = ?3), 0)
		FROM run_count l WHERE l.run < ?1 AND l.source = ?2 AND l.name = 'listed' ORDER BY l.run DESC LIMIT 1`, before, source, name).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		err = fmt.Errorf("read what runs counted: %w", err)
	}
	return n, err
}

// AddRunError records what a run could not do.
func (db *DB) AddRunError(ctx context.Context, run int64, source, path, message string) error {
	return db.exec(ctx, "record error", `INSERT INTO run_error (run, source, path, message) VALUES (?, ?, ?, ?)`, run, source, []byte(path), message)
}

// AddRunTape adds to what a run wrote to a tape.
func (db *DB) AddRunTape(ctx context.Context, run, tape int64, bytes int64, parts int) error {
	return db.exec(ctx, "record tape of run", `INSERT INTO run_tape (run, tape, bytes, parts) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, parts = parts + excluded.parts`, run, tape, bytes, parts)
}

// FinishRun records a run's end.
func (db *DB) FinishRun(ctx context.Context, run int64, state, message string) error {
	return db.execOne(ctx, "record end of run", `UPDATE run SET state = ?, message = ?, ended = ? WHERE id = ?`, state, message, time.Now().UnixNano(), run)
}

// Died is the message of a run that MarkInterrupted ended.
const Died = "its process ended without a word"

// MarkInterrupted says of the runs whose process is not alive any more that they were interrupted. When they
// ended nobody knows.
func (db *DB) MarkInterrupted(ctx context.Context, alive func(Run) bool) error {
	runs, err := query(ctx, db.reader, "running runs", scanRun, `SELECT `+runColumns+` FROM run WHERE state = 'running'`)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if alive(r) {
			continue
		}
		if err := db.execOne(ctx, "record end of run", `UPDATE run SET state = 'interrupted', message = ? WHERE id = ?`, Died, r.ID); err != nil {
			return err
		}
	}
	return nil
}

const runColumns = `id, kind, args, pid, started, ended, state, message`

func scanRun(rows *sql.Rows) (r Run, err error) {
	var args string
	var started, ended int64
	if err := rows.Scan(&r.ID, &r.Kind, &args, &r.PID, &started, &ended, &r.State, &r.Message); err != nil {
		return r, err
	}
	r.Started, r.Ended = timeOf(started), timeOf(ended)
	return r, json.Unmarshal([]byte(args), &r.Args)
}

// Runs lists the newest runs first, at most limit.
func (db *DB) Runs(ctx context.Context, limit int) ([]Run, error) {
	return query(ctx, db.reader, "runs", scanRun, `SELECT `+runColumns+` FROM run ORDER BY id DESC LIMIT ?`, limitOf(limit))
}

// maxRunsStarted bounds how many runs RunsStarted goes back.
const maxRunsStarted = 10_000

// RunsStarted returns when the newest runs before a run began, in the order of the runs; before 0: of all.
func (db *DB) RunsStarted(ctx context.Context, before int64) ([]time.Time, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	runs, err := query(ctx, db.reader, "times of runs", func(row *sql.Rows) (time.Time, error) {
		var ns int64
		err := row.Scan(&ns)
		return timeOf(ns), err
	}, `SELECT started FROM run WHERE id < ? ORDER BY id DESC LIMIT ?`, before, maxRunsStarted)
	slices.Reverse(runs)
	return runs, err
}

// RunReport is all a run left behind.
type RunReport struct {
	Run
	Counts map[string]map[string]int64 // by source, by name
	Errors []RunError
	Tapes  []RunTape
}

// RunError is what a run could not do.
type RunError struct{ Source, Path, Message string }

// RunTape is what a run wrote to one tape.
type RunTape struct {
	Barcode string `json:"tape"`
	Bytes   int64  `json:"bytes"`
	Parts   int    `json:"parts"`
}

// RunReport reads one run whole.
func (db *DB) RunReport(ctx context.Context, id int64) (RunReport, error) {
	r := RunReport{Counts: map[string]map[string]int64{}}
	runs, err := query(ctx, db.reader, "run", scanRun, `SELECT `+runColumns+` FROM run WHERE id = ?`, id)
	if err != nil {
		return r, err
	}
	if len(runs) == 0 {
		return r, fmt.Errorf("run %d: %w", id, ErrNotFound)
	}
	r.Run = runs[0]
	_, err = query(ctx, db.reader, "counts", func(rows *sql.Rows) (struct{}, error) {
		var source, name string
		var n int64
		if err := rows.Scan(&source, &name, &n); err != nil {
			return struct{}{}, err
		}
		if r.Counts[source] == nil {
			r.Counts[source] = map[string]int64{}
		}
		r.Counts[source][name] = n
		return struct{}{}, nil
	}, `SELECT source, name, value FROM run_count WHERE run = ?`, id)
	if err != nil {
		return r, err
	}
	r.Errors, err = query(ctx, db.reader, "errors", func(rows *sql.Rows) (e RunError, err error) {
		var path []byte
		err = rows.Scan(&e.Source, &path, &e.Message)
		e.Path = string(path)
		return e, err
	}, `SELECT source, path, message FROM run_error WHERE run = ? ORDER BY id`, id)
	if err != nil {
		return r, err
	}
	r.Tapes, err = query(ctx, db.reader, "tapes of run", func(rows *sql.Rows) (t RunTape, err error) {
		err = rows.Scan(&t.Barcode, &t.Bytes, &t.Parts)
		return t, err
	}, `SELECT t.barcode, r.bytes, r.parts FROM run_tape r JOIN tape t ON t.id = r.tape WHERE r.run = ? ORDER BY t.barcode`, id)
	return r, err
}

// Debt is what a pool owes.
type Debt struct {
	Pool   string
	Copies int
	Bytes  int64 // planned or sealed, to be written

	Awaiting int // of Copies: whole on tape, and no manifest names them yet
}

// DebtStage is how far a copy is that a pool is owed. The numbers stand in a query, and are stored nowhere.
type DebtStage int

const (
	DebtPlanned  DebtStage = 1 // not fetched yet
	DebtFetched  DebtStage = 2 // nothing of it is on tape
	DebtInPlace  DebtStage = 3 // the same, of a source that is read in place
	DebtAgain    DebtStage = 4 // fetched, and what was written of it does not count
	DebtInPart   DebtStage = 5 // some of it is on tape
	DebtUnproved DebtStage = 6 // written, and not proved safe
	DebtUnnamed  DebtStage = 7 // safe on tape, and no manifest names it
)

// String says it in words.
func (s DebtStage) String() string {
	switch s {
	case DebtPlanned:
		return "planned, and not fetched yet"
	case DebtFetched:
		return "fetched, to be written"
	case DebtInPlace:
		return "at its local source, to be written"
	case DebtAgain:
		return "fetched, to be written again after a tape failed or was full"
	case DebtInPart:
		return "written in part"
	case DebtUnproved:
		return "written, and not proved safe yet"
	case DebtUnnamed:
		return "safe on tape, and no manifest names it yet"
	}
	return fmt.Sprintf("stage %d", int(s))
}

// DebtDetail is why a pool is owed copies.
type DebtDetail struct {
	Pool   string
	Stage  DebtStage
	Copies int
	Bytes  int64 // planned or sealed
}

// DebtDetails lists what each pool owes by what keeps it from being safe.
func (db *DB) DebtDetails(ctx context.Context) ([]DebtDetail, error) {
	return query(ctx, db.reader, "debts", func(rows *sql.Rows) (d DebtDetail, err error) {
		err = rows.Scan(&d.Pool, &d.Stage, &d.Copies, &d.Bytes)
		return d, err
	}, textDebtDetails)
}

const textDebtDetails = `SELECT p.name, CASE
		WHEN ` + textAwaiting + ` THEN 7
		WHEN c.state = ` + sqlWritten + ` THEN 6
		WHEN b.state = ` + sqlFetching + ` THEN 1
		WHEN EXISTS (SELECT 1 FROM copy_part x WHERE x.copy = c.id AND x.state IN (` + sqlPartWriting + `, ` + sqlPartWritten + `, ` + sqlPartDurable + `)) THEN 5
		WHEN EXISTS (SELECT 1 FROM copy_part x WHERE x.copy = c.id AND x.state > ` + sqlPartDurable + `) THEN 4
		WHEN b.local = 1 THEN 3
		ELSE 2 END AS stage,
		count(*), coalesce(sum(CASE WHEN o.state = ` + sqlObjectPlanned + ` THEN o.planned_size ELSE o.sealed_size END), 0)
	FROM copy c INDEXED BY copy_unfinished JOIN pool p ON p.id = c.pool JOIN object o ON o.id = c.object LEFT JOIN batch b ON b.id = o.batch
	WHERE c.state <> ` + sqlDurable + ` AND c.state < ` + sqlDurable + ` GROUP BY p.name, stage ORDER BY p.name, stage`

// Debts lists what each pool owes; pools that owe nothing are left out.
func (db *DB) Debts(ctx context.Context) ([]Debt, error) {
	return query(ctx, db.reader, "debts", func(rows *sql.Rows) (d Debt, err error) {
		err = rows.Scan(&d.Pool, &d.Copies, &d.Bytes, &d.Awaiting)
		return d, err
	}, textDebts)
}

const textDebts = `SELECT p.name, count(*), coalesce(sum(CASE WHEN ` + textAwaiting + ` THEN 0 WHEN o.state = ` + sqlObjectPlanned + ` THEN o.planned_size ELSE o.sealed_size END), 0),
		count(CASE WHEN ` + textAwaiting + ` THEN 1 END)
	FROM copy c INDEXED BY copy_unfinished JOIN pool p ON p.id = c.pool JOIN object o ON o.id = c.object
	WHERE c.state < ` + sqlDurable + ` GROUP BY p.name ORDER BY p.name`
