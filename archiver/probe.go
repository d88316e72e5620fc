package archiver

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"tapefs/archiver/job"
)

// ProbeSource tells whether a source can be reached and its top directory read, the way a run would reach it,
// and fetches nothing. rsync and ssh are programs, "" the usual names. The time limit is ctx's.
func ProbeSource(ctx context.Context, src Source, rsync, ssh string) error {
	op := "look at source " + src.Name
	at, err := parseURL(src.URL)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if at.transport == inPlace {
		dir, err := os.Open(at.path)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		defer dir.Close()
		if info, err := dir.Stat(); err != nil || !info.IsDir() {
			return fmt.Errorf("%s: %s is not a directory", op, at.path)
		}
		return nil
	}
	empty, err := os.MkdirTemp("", "tapefs-probe-")
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer os.Remove(empty)
	a := &Archiver{env: &job.Env{Config: Config{Rsync: rsync, SSH: ssh}, Log: slog.New(slog.DiscardHandler)}}
	r, err := a.rsyncReach(ctx, src, at, func(secluded bool) []string {
		args := append([]string{"-dtn", "--exclude=*"}, at.remoteOptions(src, ssh, secluded)...)
		return append(args, "--", at.listed(), empty+"/")
	}, nil, func([]byte) error { return nil })
	if err == nil {
		err = r.err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// NeedsSSH tells whether a source is reached over ssh.
func NeedsSSH(src Source) bool {
	at, err := parseURL(src.URL)
	return err == nil && at.transport == overSSH
}
