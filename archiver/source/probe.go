package source

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/tapefs/tapefs/archiver/job"
)

// Probe tells whether a source can be reached and its top directory read, the way a run would reach it,
// and fetches nothing. rsync and ssh are programs, "" the usual names. The time limit is ctx's.
func Probe(ctx context.Context, src job.Source, rsync, ssh string) error {
	op := "look at source " + src.Name
	at, err := ParseAddress(src.URL)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if at.Transport == InPlace {
		dir, err := os.Open(at.Path)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		defer dir.Close()
		if info, err := dir.Stat(); err != nil || !info.IsDir() {
			return fmt.Errorf("%s: %s is not a directory", op, at.Path)
		}
		return nil
	}
	empty, err := os.MkdirTemp("", "tapefs-probe-")
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer os.Remove(empty)
	env := &job.Env{Config: job.Config{Rsync: rsync, SSH: ssh}, Log: slog.New(slog.DiscardHandler)}
	r, err := Reach(ctx, env, src, at, func(secluded bool) []string {
		args := append([]string{"-dtn", "--exclude=*"}, at.RemoteOptions(src, ssh, secluded)...)
		return append(args, "--", at.Listed(), empty+"/")
	}, nil, func([]byte) error { return nil })
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// NeedsSSH tells whether a source is reached over ssh.
func NeedsSSH(src job.Source) bool {
	at, err := ParseAddress(src.URL)
	return err == nil && at.Transport == overSSH
}
