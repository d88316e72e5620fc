package verify

import (
	"context"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// Look says which tapes Run would read. Nothing is recorded and no tape moves. Of a share drawn at random it is another draw.
func Look(ctx context.Context, env *job.Env, o Options) (out job.Outlook, err error) {
	inv, err := env.LookAround(ctx)
	if err != nil {
		return out, err
	}
	v := &verifier{env: env, run: catalog.Run{Kind: "verify", Args: o.Args, Started: time.Now()}, openssl: o.OpenSSL, journal: map[string][]journalItem{}}
	items, err := v.choose(ctx, o)
	if err != nil {
		return out, err
	}
	if err := v.chooseJournal(ctx, o, items); err != nil {
		return out, err
	}
	tapes := job.NewTapesToRead(inv)
	for _, item := range items {
		for _, p := range item {
			tapes.Add(p.CopyPart)
		}
	}
	for barcode, files := range v.journal {
		tapes.Of(barcode).Files += int64(len(files)) // small ones, on the way
	}
	return tapes.Outlook(ctx, env, 1, 0)
}
