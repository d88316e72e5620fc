package source

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// Stats counts what a listing and its comparison found.
type Stats struct {
	Listed     int64 // files and symlinks
	Dirs       int64
	Skipped    int64 // sockets, fifos, devices
	New        int64
	Changed    int64
	Same       int64
	Metadata   int64 // only mode or owner differ: no bytes are archived again
	Waiting    int64 // planned already by an earlier run
	Left       int64 // not planned because of a limit
	Again      int64 // unchanged, and taken again because the archive has lost their bytes
	Young      int64 // not planned because modified too recently
	Missing    int64 // not in the listing, until it is decided what that means
	Vanished   int64
	Unmarked   int64 // not in the listing, which was not believed
	Revived    int64
	Planned    int64 // files and symlinks in batches
	Bytes      int64 // of those
	Errors     int64
	Unreadable int64 // could not be read before, and are not tried again yet
	Compared   int64 // by content
	TooLarge   int64 // not planned because the spool cannot hold them
	Uncompared int64 // of these, could not be
	MaybeMoved int64 // new names with the size and time of files that are missing
	Excluded   int64 // not in the listing, and at the source all the same: its filters leave them out
	LeftOut    int64 // of these, when they are others than in the run before
	Filtered   bool
	Seconds    bool // the source tells times in whole seconds only
	Partial    bool // the source could not be listed whole, or an entry not be read
}

func (s *Stats) Counts() map[string]int64 {
	all := map[string]int64{
		"listed": s.Listed, "directories": s.Dirs, "skipped": s.Skipped, "new": s.New, "changed": s.Changed,
		"same": s.Same, "metadata": s.Metadata, "waiting": s.Waiting, "left": s.Left, "again": s.Again, "young": s.Young, "vanished": s.Vanished, "unmarked": s.Unmarked,
		"revived": s.Revived, "planned": s.Planned, "planned_bytes": s.Bytes, "list_errors": s.Errors,
		"unreadable": s.Unreadable, "compared": s.Compared, "excluded": s.Excluded, "left_out": s.LeftOut, "uncompared": s.Uncompared, "too_large": s.TooLarge,
	}
	for k, v := range all {
		if v == 0 {
			delete(all, k)
		}
	}
	return all
}

// Doubtful says that something of the source could not be seen, or too little to be believed.
func (s *Stats) Doubtful() bool {
	return s.Errors > 0 || s.Partial || s.Unmarked > 0 || s.TooLarge > 0
}

// listStep is after how many files the progress is told.
const listStep = 10000

// MaxJunk is how many lines of a listing that cannot be read are recorded; the others are counted.
const MaxJunk = 100

// List runs rsync against nothing and puts what it prints into the sorter. With a nil error the
// sorter holds all that could be listed; st.Partial says that this is not all there is.
func List(ctx context.Context, env *job.Env, run int64, src job.Source, at Address, into *extsort.Sorter, st *Stats) error {
	// Compared with a directory that is not there, every entry is printed, the top too.
	nowhere := filepath.Join(into.Dir, "nothing")
	filters, err := filters(ctx, env, src, at)
	if err != nil {
		return err
	}
	st.Filtered = len(filters) > 0
	args := func(secluded bool) []string {
		args := append([]string{"-rlptgoDnH", "--numeric-ids", Format}, filters...)
		args = append(args, at.RemoteOptions(src, env.Config.SSH, secluded)...)
		return append(args, "--", at.Listed(), nowhere+"/")
	}
	special := map[byte]int64{}
	junk := 0
	var refused *nameTooLong
	var val []byte
	r, err := Reach(ctx, env, src, at, args, nil, func(line []byte) error {
		e, err := parseEntry(line)
		if err == nil && len(e.Path) > maxFetched && at.Transport != InPlace {
			err = &nameTooLong{e.Path}
		}
		switch {
		case err == nil:
		case errors.Is(err, errNoEntry) || len(line) == 0:
			return nil
		case errors.Is(err, errSpecial):
			special[line[1]]++
			st.Skipped++
			return nil
		case errors.As(err, &refused): // it alone: what is beside it is as good as ever
			st.Errors++
			return env.RunError(ctx, run, src.Name, refused.path, refused.Error())
		default: // it may be a file: what is not understood must not count as vanished
			st.Partial = true
			st.Errors++
			if junk++; junk > MaxJunk {
				return nil
			}
			return env.RunError(ctx, run, src.Name, "", err.Error())
		}
		if e.Kind == catalog.Directory {
			st.Dirs++
		} else if st.Listed++; st.Listed%listStep == 0 {
			env.Stage("list", env.Flow.Listed.Add(listStep), 0)
		}
		if e.Link != "" {
			if err := into.Add(PathKey(e.Link), LinkMark); err != nil {
				return err
			}
		}
		val = e.Encode(val[:0])
		return into.Add(PathKey(e.Path), val)
	})
	if err != nil {
		return fmt.Errorf("list source %s: %w", src.Name, err)
	}
	if r.Exit != 0 && !r.Partial() {
		return fmt.Errorf("list source %s: %w", src.Name, r.Err())
	}
	if junk > MaxJunk {
		if err := env.RunError(ctx, run, src.Name, "", fmt.Sprintf("%d more lines of the listing could not be read", junk-MaxJunk)); err != nil {
			return err
		}
	}
	if r.Exit == 0 {
		for _, l := range r.Stderr[:min(len(r.Stderr), MaxJunk)] { // banners and warnings of ssh
			env.Log.Info("listing says", "source", src.Name, "line", job.Shortened(l))
		}
	} else {
		st.Partial = true
		for _, c := range Complaints(at, r.Stderr) {
			st.Errors++
			if err := env.RunError(ctx, run, src.Name, c.Path, c.Text); err != nil {
				return err
			}
		}
		if r.Dropped > 0 {
			st.Errors += int64(r.Dropped)
			if err := env.RunError(ctx, run, src.Name, "", fmt.Sprintf("%d more messages", r.Dropped)); err != nil {
				return err
			}
		}
	}
	if at.Transport != InPlace {
		var stalled *StallError
		switch err := listTimes(ctx, env, src, at, filters, into); {
		case ctx.Err() != nil, errors.As(err, &stalled):
			return fmt.Errorf("list source %s: %w", src.Name, err)
		case errors.Is(err, errSecondsOnly):
			st.Seconds = true
			env.Log.Info(err.Error(), "source", src.Name)
		case err != nil:
			env.Log.Info("times are compared in whole seconds", "source", src.Name, "err", err)
		}
	}
	if st.Skipped > 0 {
		env.Log.Info("special files are not archived", "source", src.Name, "sockets_and_fifos", special['S'], "devices", special['D'])
	}
	all := env.Flow.Listed.Add(st.Listed % listStep)
	env.Stage("list", all, all)
	return nil
}

// filters are rsync's options for what of a source is listed. The archive's own folders come first: nothing that is
// configured brings them back.
func filters(ctx context.Context, env *job.Env, src job.Source, at Address) ([]string, error) {
	args, err := ownFilters(ctx, env, src, at)
	if err != nil {
		return nil, err
	}
	for _, p := range src.Include {
		args = append(args, "--include="+p)
	}
	for _, p := range src.Exclude {
		args = append(args, "--exclude="+p)
	}
	if src.OneFileSystem {
		args = append(args, "--one-file-system")
	}
	return args, nil
}

// globLiteral makes a pattern of rsync that matches a path as it is: a backslash quotes only where there are wildcards.
func globLiteral(path string) string {
	if !strings.ContainsAny(path, "*?[") {
		return path
	}
	return globQuote.Replace(path)
}

var globQuote = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
