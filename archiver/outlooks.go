package archiver

import (
	"context"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/verify"
)

// LookAtVerify says which tapes Verify would read. Nothing is recorded and no tape moves. Of a share drawn at random it is another draw.
func (a *Archiver) LookAtVerify(ctx context.Context, o VerifyOptions) (Outlook, error) {
	return verify.Look(ctx, a.env, o)
}

// LookAtRepack says which tapes Repack would read. What is moved passes the drives three times: it is read, written and read back.
func (a *Archiver) LookAtRepack(ctx context.Context, o RepackOptions) (out Outlook, err error) {
	inv, err := a.env.LookAround(ctx)
	if err != nil {
		return out, err
	}
	tapes, _, err := a.toRepack(ctx, o)
	if err != nil {
		return out, err
	}
	read, pools := job.NewTapesToRead(inv), map[string]bool{}
	for _, t := range tapes {
		parts, err := a.env.DB.RepackParts(ctx, t.ID)
		if err != nil {
			return out, err
		}
		for _, p := range parts {
			if p.Moved || p.Replaced {
				continue
			}
			life, err := a.env.DB.ObjectLife(ctx, p.Object)
			if err != nil {
				return out, err
			}
			if life.Dead {
				continue
			}
			read.Add(p.CopyPart)
			pools[t.PoolName] = true
		}
	}
	return read.Outlook(ctx, a.env, 3, len(pools))
}

// Reckon says how long the tapes of an outlook take, for what the caller has planned.
func (a *Archiver) Reckon(ctx context.Context, out *Outlook) error {
	inv, err := a.env.LookAround(ctx)
	if err != nil {
		return err
	}
	return a.env.Reckon(ctx, out, inv)
}
