package volume

import (
	"context"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// EndSuspicions takes tapes out of suspicion that proved themselves, and says so.
func EndSuspicions(ctx context.Context, env *job.Env) ([]catalog.Tape, error) {
	ended, err := env.DB.EndSuspicions(context.WithoutCancel(ctx))
	for _, t := range ended {
		env.Log.Info("tape is suspect no more", "tape", t.Barcode, "state", t.State)
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

// Doubted notes the suspect tapes of the configured pools, as long as copies lie on them that count for nothing until the tape is proved:
// "safe" leaves these out, so the run may not end as if all were well.
func Doubted(ctx context.Context, env *job.Env, noted *job.Problems) error {
	if _, err := EndSuspicions(ctx, env); err != nil {
		return err
	}
	tapes, err := env.DB.SuspectTapes(ctx)
	if err != nil {
		return err
	}
	for _, t := range tapes {
		if _, err := env.Pool(t.PoolName); err != nil {
			continue
		}
		noted.Add("", "", suspectError(t))
	}
	return nil
}

// TrustTape takes a tape out of suspicion on somebody's word. was is its state before.
func TrustTape(ctx context.Context, env *job.Env, barcode string) (t catalog.Tape, was string, err error) {
	op := "trust tape " + barcode
	if t, err = env.DB.TapeByBarcode(ctx, barcode); err != nil {
		return t, "", fmt.Errorf("%s: %w", op, err)
	}
	err = env.AsRun(ctx, "trust", []string{barcode}, func() error {
		unlock, err := env.LockWriter(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		t, was, err = env.DB.TrustTape(ctx, t.ID)
		return err
	})
	return t, was, err
}

// MarkSuspect keeps a tape from being written again.
func MarkSuspect(ctx context.Context, env *job.Env, tape int64, why error) error {
	_, err := env.DB.UpdateTape(context.WithoutCancel(ctx), tape, func(t *catalog.Tape) error {
		t.State, t.Note = catalog.TapeSuspect, why.Error()
		return nil
	})
	if err != nil {
		return fmt.Errorf("record that a tape is suspect: %w", err)
	}
	return nil
}
