package archiver

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"tapefs/catalog"
)

// completeTop adds what a listing does not say of the source's own directory: its nanoseconds, and
// its owner's names. A list of files cannot name it without all it holds, so another rsync asks for
// it alone; dir is the batch's directory.
func (a *Archiver) completeTop(ctx context.Context, run catalog.Run, src Source, b catalog.Batch, top catalog.Version, dir string, names *ownerNames) error {
	m := catalog.Meta{Mode: top.Mode, Owner: names.complete(top.Owner), MTime: top.MTime}
	if m.MTime.Nsec == 0 {
		info, err := a.lookAtTop(ctx, src, b, dir)
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
	_, err := a.env.DB.EnsureDir(ctx, run.ID, top.Parent, top.Name, m)
	return err
}

// lookAtTop is nil when rsync did not bring the directory: the seconds of the listing stand then.
func (a *Archiver) lookAtTop(ctx context.Context, src Source, b catalog.Batch, dir string) (fs.FileInfo, error) {
	if b.Local {
		return os.Stat(dir)
	}
	at, err := parseURL(src.URL)
	if err != nil {
		return nil, err
	}
	copied := filepath.Join(dir+fetchSuffix, "top")
	if err := os.MkdirAll(copied, 0o700); err != nil {
		return nil, err
	}
	r, err := a.rsyncReach(ctx, src, at, func(secluded bool) []string {
		args := append([]string{"-dt", "--exclude=*"}, at.remoteOptions(src, a.env.Config.SSH, secluded)...)
		return append(args, "--", at.listed(), copied+"/")
	}, nil, func([]byte) error { return nil })
	if err != nil {
		return nil, err
	}
	if r.exit != 0 {
		a.env.Log.Info("the time of a source's directory is known to the second only", "source", src.Name, "error", r.err())
		return nil, nil
	}
	return os.Lstat(copied)
}
