package main

import (
	"time"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// checkDueJSON is a tape on which a session of ours died, and that may have to be checked before it mounts again.
type checkDueJSON struct {
	Tape  string    `json:"tape"`
	Drive string    `json:"drive"` // in which the session was
	Since time.Time `json:"since"` // when the session began
	State string    `json:"state"` // due, checking, failed, by-hand
	Text  string    `json:"text"`
	Hint  string    `json:"hint,omitempty"`
}

// checksDue lists the tapes of sessions that died.
func checksDue(conf *settings, lib *changer.Library) []checkDueJSON {
	rows := []checkDueJSON{}
	for _, s := range lib.Died() {
		row := checkDueJSON{Tape: string(s.Barcode), Drive: s.Drive, Since: s.Since, State: "due", Text: s.String()}
		switch {
		case !s.Failed.IsZero():
			row.State, row.Hint = "failed", "tapefs tape check "+row.Tape
		case s.Checking():
			row.State = "checking"
		case conf.ChangerConfig().CheckByHand:
			row.State, row.Hint = "by-hand", "tapefs tape check "+row.Tape
		default:
			row.Text += "; the next command that needs it has ltfsck check it, if it does not mount"
		}
		rows = append(rows, row)
	}
	return rows
}

// printChecks has a line for each, with what a person is to do.
func printChecks(t *ui.Table, rows []checkDueJSON) {
	for _, r := range rows {
		text := r.Tape + "  " + ui.Printable(r.Text)
		if r.Hint != "" {
			text += ": " + r.Hint
		}
		t.Row("to be checked", text)
	}
}
