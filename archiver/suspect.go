package archiver

import (
	"context"
	"fmt"
	"time"

	"tapefs/archiver/job"
	"tapefs/catalog"
	"tapefs/changer"
)

// endSuspicions takes tapes out of suspicion that proved themselves, and says so.
func (a *Archiver) endSuspicions(ctx context.Context) ([]catalog.Tape, error) {
	ended, err := a.env.DB.EndSuspicions(context.WithoutCancel(ctx))
	for _, t := range ended {
		a.env.Log.Info("tape is suspect no more", "tape", t.Barcode, "state", t.State)
	}
	return ended, err
}

// SuspectHint is what gets a suspect tape out of that.
func SuspectHint(barcode string) string {
	return fmt.Sprintf("tapefs verify --tape %[1]s reads it all back, and tapefs tape check %[1]s looks at its volume: when both find nothing, it is used again; "+
		"or, on your word: tapefs tape trust %[1]s", barcode)
}

// suspectError says that what lies on a tape does not count.
func suspectError(t catalog.Tape) error {
	return &changer.Error{Op: "count on tape " + t.Barcode, Hint: SuspectHint(t.Barcode),
		Err: fmt.Errorf("what lies on it does not count as safe: it is suspect since %s: %s", t.Suspected.Local().Format(time.DateOnly), t.Note)}
}

// doubted notes the suspect tapes of the configured pools, as long as copies lie on them that count for nothing until the tape is proved:
// "safe" leaves these out, so the run may not end as if all were well.
func (a *Archiver) doubted(ctx context.Context, noted *job.Problems) error {
	if _, err := a.endSuspicions(ctx); err != nil {
		return err
	}
	tapes, err := a.env.DB.SuspectTapes(ctx)
	if err != nil {
		return err
	}
	for _, t := range tapes {
		if _, err := a.env.Pool(t.PoolName); err != nil {
			continue
		}
		noted.Add("", "", suspectError(t))
	}
	return nil
}

// TrustTape takes a tape out of suspicion on somebody's word. was is its state before.
func (a *Archiver) TrustTape(ctx context.Context, barcode string) (t catalog.Tape, was string, err error) {
	op := "trust tape " + barcode
	if t, err = a.env.DB.TapeByBarcode(ctx, barcode); err != nil {
		return t, "", fmt.Errorf("%s: %w", op, err)
	}
	err = a.env.AsRun(ctx, "trust", []string{barcode}, func() error {
		unlock, err := a.env.LockWriter(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		t, was, err = a.env.DB.TrustTape(ctx, t.ID)
		return err
	})
	return t, was, err
}
