package rebuild

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/changer"
)

// errLtfsDied: the program that shows a volume was killed, or crashed, while it was read. Nothing follows for what lies on the tape.
var errLtfsDied = errors.New("its ltfs process died meanwhile, which says nothing of what lies on the tape")

// onTape loads a tape, mounts it read-only and runs fn. uuid "" accepts any volume. An ltfs that dies under fn gives errLtfsDied; one that
// dies when fn has read all that it wanted is only logged, for nothing was written.
func onTape(ctx context.Context, env *job.Env, code changer.Barcode, purpose, uuid string, fn func(*changer.Volume) error) (err error) {
	lease, err := env.Lib.Lease(ctx, changer.Request{Barcode: code, Purpose: purpose,
		Wait: func(holder string) { env.Note("waiting for a drive: %s has it", holder) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	env.Note("loading %s into drive %d", code, lease.Drive().Element)
	if err := lease.Load(ctx, code); err != nil {
		return err
	}
	v, err := lease.Mount(ctx, changer.MountRequest{UUID: uuid, ReadOnly: true})
	switch {
	case errors.Is(err, changer.ErrNotFormatted):
		return &passError{"no LTFS volume"}
	case errors.Is(err, changer.ErrKilled):
		return ltfsDied(env, code, lease, err)
	case err != nil:
		return err
	}
	err = fn(v)
	killed := err != nil && v.Killed(err)
	uerr := v.Unmount(context.WithoutCancel(ctx))
	switch {
	case killed:
		return ltfsDied(env, code, lease, err)
	case err == nil && errors.Is(uerr, changer.ErrKilled):
		env.Log.Warn("ltfs died after all was read that was wanted", "tape", code, "err", uerr)
		return nil
	}
	return errors.Join(err, uerr)
}

// ltfsDied says that the program died, and what to do.
func ltfsDied(env *job.Env, code changer.Barcode, lease *changer.Lease, why error) error {
	return &changer.Error{Op: "read tape " + string(code), Err: fmt.Errorf("%w: %w: %w", errLtfsDied, changer.ErrKilled, why),
		Hint: fmt.Sprintf("run it again; if ltfs dies each time, the end of %s says more", filepath.Join(env.Config.RunDir, "ltfs-"+lease.Drive().Serial+".log"))}
}
