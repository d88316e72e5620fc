package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// runsShown is how many runs are listed and plotted.
const runsShown = 60

const (
	stateRunning     = "running"
	stateInterrupted = "interrupted" // what a run is that says running and whose process is gone
)

// runRow is one run.
type runRow struct {
	ID             int64
	Kind           string
	Started, Ended time.Time
	State          string
	Message        string
	Files          int64 // new and changed ones
	Written        int64 // bytes
	Took           time.Duration
	Rate           float64 // bytes a second while it wrote; 0: it wrote nothing
	Errors         int
	Tapes          []catalog.RunTape
}

// runsPage lists runs, the newest first, and plots those that wrote.
type runsPage struct {
	Rows  []runRow
	Plots []plot
}

func (s *Server) runs(r *http.Request, _ visitor) (any, error) {
	rows, err := s.runRows(r.Context(), runsShown)
	if err != nil {
		return nil, err
	}
	return runsPage{rows, plotsOf(rows)}, nil
}

func (s *Server) runRows(ctx context.Context, limit int) ([]runRow, error) {
	runs, err := s.o.Catalog.Runs(ctx, limit)
	if err != nil {
		return nil, err
	}
	rows := make([]runRow, 0, len(runs))
	for _, run := range runs {
		report, err := s.o.Catalog.RunReport(ctx, run.ID)
		if err != nil {
			return nil, err
		}
		rows = append(rows, s.rowOf(report))
	}
	return rows, nil
}

func (s *Server) rowOf(r catalog.RunReport) runRow {
	row := runRow{ID: r.ID, Kind: r.Kind, Started: r.Started, Ended: r.Ended, State: r.State, Message: r.Message, Errors: len(r.Errors), Tapes: r.Tapes}
	if r.State == stateRunning && !s.o.Alive(r.Run) {
		row.State = stateInterrupted
	}
	if !r.Ended.IsZero() {
		row.Took = r.Ended.Sub(r.Started).Round(time.Second)
	}
	var writing int64 // milliseconds
	for _, counts := range r.Counts {
		row.Files += counts["new"] + counts["changed"]
		writing += counts["write_ms"]
	}
	for _, t := range r.Tapes {
		row.Written += t.Bytes
	}
	if writing > 0 {
		row.Rate = float64(row.Written) / float64(writing) * 1000
	}
	return row
}

// runPage is one run whole.
type runPage struct {
	runRow
	Counts map[string]map[string]int64
	Faults []catalog.RunError // only for those who may see all names
	Hidden bool               // there are some, and the visitor may not see them
}

func (s *Server) run(r *http.Request, v visitor) (any, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, badRequest{"a run has a number"}
	}
	report, err := s.o.Catalog.RunReport(r.Context(), id)
	if err != nil {
		return nil, err
	}
	page := runPage{runRow: s.rowOf(report), Counts: report.Counts}
	if v.Trusted {
		page.Faults = report.Errors
	} else {
		page.Hidden, page.Message = len(report.Errors) > 0, ""
	}
	return page, nil
}
