package archiver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"tapefs/archiver/extsort"
	"tapefs/archiver/job"
	"tapefs/catalog"
)

// listStats counts what a listing and its comparison found.
type listStats struct {
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
	maybeMoved int64 // new names with the size and time of files that are missing
	Excluded   int64 // not in the listing, and at the source all the same: its filters leave them out
	LeftOut    int64 // of these, when they are others than in the run before
	Filtered   bool
	Seconds    bool // the source tells times in whole seconds only
	Partial    bool // the source could not be listed whole, or an entry not be read
}

func (s *listStats) counts() map[string]int64 {
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

// doubtful says that something of the source could not be seen, or too little to be believed.
func (s *listStats) doubtful() bool {
	return s.Errors > 0 || s.Partial || s.Unmarked > 0 || s.TooLarge > 0
}

// listStep is after how many files the progress is told.
const listStep = 10000

// maxJunk is how many lines of a listing that cannot be read are recorded; the others are counted.
const maxJunk = 100

// list runs rsync against nothing and puts what it prints into the sorter. With a nil error the
// sorter holds all that could be listed; st.Partial says that this is not all there is.
func (a *Archiver) list(ctx context.Context, run int64, src Source, at address, into *extsort.Sorter, st *listStats) error {
	// Compared with a directory that is not there, every entry is printed, the top too.
	nowhere := filepath.Join(into.Dir, "nothing")
	filters, err := a.filters(ctx, src, at)
	if err != nil {
		return err
	}
	st.Filtered = len(filters) > 0
	args := func(secluded bool) []string {
		args := append([]string{"-rlptgoDnH", "--numeric-ids", listFormat}, filters...)
		args = append(args, at.remoteOptions(src, a.env.Config.SSH, secluded)...)
		return append(args, "--", at.listed(), nowhere+"/")
	}
	special := map[byte]int64{}
	junk := 0
	var refused *nameTooLong
	var val []byte
	r, err := a.rsyncReach(ctx, src, at, args, nil, func(line []byte) error {
		e, err := parseEntry(line)
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
			return a.env.RunError(ctx, run, src.Name, refused.path, refused.Error())
		default: // it may be a file: what is not understood must not count as vanished
			st.Partial = true
			st.Errors++
			if junk++; junk > maxJunk {
				return nil
			}
			return a.env.RunError(ctx, run, src.Name, "", err.Error())
		}
		if e.kind == catalog.Directory {
			st.Dirs++
		} else if st.Listed++; st.Listed%listStep == 0 {
			a.env.Stage("list", a.env.Flow.Listed.Add(listStep), 0)
		}
		if e.link != "" {
			if err := into.Add(pathKey(e.link), mark); err != nil {
				return err
			}
		}
		val = e.encode(val[:0])
		return into.Add(pathKey(e.path), val)
	})
	if err != nil {
		return fmt.Errorf("list source %s: %w", src.Name, err)
	}
	if r.exit != 0 && !r.partial() {
		return fmt.Errorf("list source %s: %w", src.Name, r.err())
	}
	if junk > maxJunk {
		if err := a.env.RunError(ctx, run, src.Name, "", fmt.Sprintf("%d more lines of the listing could not be read", junk-maxJunk)); err != nil {
			return err
		}
	}
	if r.exit == 0 {
		for _, l := range r.stderr[:min(len(r.stderr), maxJunk)] { // banners and warnings of ssh
			a.env.Log.Info("listing says", "source", src.Name, "line", job.Shortened(l))
		}
	} else {
		st.Partial = true
		for _, c := range complaints(at, r.stderr) {
			st.Errors++
			if err := a.env.RunError(ctx, run, src.Name, c.path, c.text); err != nil {
				return err
			}
		}
		if r.dropped > 0 {
			st.Errors += int64(r.dropped)
			if err := a.env.RunError(ctx, run, src.Name, "", fmt.Sprintf("%d more messages", r.dropped)); err != nil {
				return err
			}
		}
	}
	if at.transport != inPlace {
		var stalled *stallError
		switch err := a.listTimes(ctx, src, at, filters, into); {
		case ctx.Err() != nil, errors.As(err, &stalled):
			return fmt.Errorf("list source %s: %w", src.Name, err)
		case errors.Is(err, errSecondsOnly):
			st.Seconds = true
			a.env.Log.Info(err.Error(), "source", src.Name)
		case err != nil:
			a.env.Log.Info("times are compared in whole seconds", "source", src.Name, "error", err)
		}
	}
	if st.Skipped > 0 {
		a.env.Log.Info("special files are not archived", "source", src.Name, "sockets_and_fifos", special['S'], "devices", special['D'])
	}
	all := a.env.Flow.Listed.Add(st.Listed % listStep)
	a.env.Stage("list", all, all)
	return nil
}

// filters are rsync's options for what of a source is listed. The archive's own folders come first: nothing that is
// configured brings them back.
func (a *Archiver) filters(ctx context.Context, src Source, at address) ([]string, error) {
	args, err := a.ownFilters(ctx, src, at)
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
