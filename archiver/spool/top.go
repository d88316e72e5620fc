package spool

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// completeTop adds what a listing does not say of the source's own directory: its nanoseconds, and
// its owner's names. A list of files cannot name it without all it holds, so another rsync asks for
// it alone; dir is the batch's directory.
func (s fetcher) completeTop(ctx context.Context, run catalog.Run, src job.Source, b catalog.Batch, top catalog.Version, dir string, names *source.OwnerNames) error {
	m := catalog.Meta{Mode: top.Mode, Owner: names.Complete(top.Owner), MTime: top.MTime}
	if m.MTime.Nsec == 0 {
		info, err := s.lookAtTop(ctx, src, b, dir)
		if err != nil {
			return fmt.Errorf("look at the directory of source %s: %w", src.Name, err)
		}
		if info != nil && info.IsDir() {
			if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Mtim.Sec == m.MTime.Sec {
				m.MTime.Nsec = int32(st.Mtim.Nsec)
			}
		}
	}
	if m.Owner == top.Owner && m.MTime == top.MTime {
		return nil
	}
	_, err := s.env.DB.EnsureDir(ctx, run.ID, top.Parent, top.Name, m)
	return err
}

// lookAtTop is nil when rsync did not bring the directory: the seconds of the listing stand then.
func (s fetcher) lookAtTop(ctx context.Context, src job.Source, b catalog.Batch, dir string) (fs.FileInfo, error) {
	if b.Local {
		return os.Stat(dir)
	}
	at, err := source.ParseAddress(src.URL)
	if err != nil {
		return nil, err
	}
	copied := filepath.Join(dir+FetchSuffix, "top")
	if err := os.MkdirAll(copied, 0o700); err != nil {
		return nil, err
	}
	r, err := source.Reach(ctx, s.env, src, at, func(secluded bool) []string {
		args := append([]string{"-dt", "--exclude=*"}, at.RemoteOptions(src, s.env.Config.SSH, secluded)...)
		return append(args, "--", at.Listed(), copied+"/")
	}, nil, func([]byte) error { return nil })
	if err != nil {
		return nil, err
	}
	if r.Exit != 0 {
		s.env.Log.Info("the time of a source's directory is known to the second only", "source", src.Name, "err", r.Err())
		return nil, nil
	}
	return os.Lstat(copied)
}
