package safe

import (
	"context"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// Recount asks anew what is on tape of files that Check found safe: whoever acts on that some time later asks again. What it has asked of an
// object it keeps, so one serves a page of files and no longer. Not safe for concurrent use.
type Recount struct{ judge }

// NewRecount counts with the same options as Check; Copies must say how many.
func NewRecount(env *job.Env, o Options) *Recount {
	return &Recount{judge{env: env, o: o, held: map[int64][]catalog.HeldCopy{}}}
}

// Count brings f's counts up to date for the version that it equals, and says in f.Why if it is not safe any more.
func (r *Recount) Count(ctx context.Context, v *catalog.Version, f *File) error {
	_, err := r.count(ctx, v, f)
	return err
}
