package archiver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

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
	Uncompared int64 // of these, could not be
	maybeMoved int64 // new names with the size and time of files that are missing
	Seconds    bool  // the source tells times in whole seconds only
	Partial    bool  // the source could not be listed whole, or an entry not be read
}

func (s *listStats) counts() map[string]int64 {
	all := map[string]int64{
		"listed": s.Listed, "directories": s.Dirs, "skipped": s.Skipped, "new": s.New, "changed": s.Changed,
		"same": s.Same, "metadata": s.Metadata, "waiting": s.Waiting, "left": s.Left, "again": s.Again, "young": s.Young, "vanished": s.Vanished, "unmarked": s.Unmarked,
		"revived": s.Revived, "planned": s.Planned, "planned_bytes": s.Bytes, "list_errors": s.Errors,
		"unreadable": s.Unreadable, "compared": s.Compared, "uncompared": s.Uncompared,
	}
	for k, v := range all {
		if v == 0 {
			delete(all, k)
		}
	}
	return all
}

// doubtful says that something of the source could not be seen, or too little to be believed.
func (s *listStats) doubtful() bool { return s.Errors > 0 || s.Partial || s.Unmarked > 0 }

// list runs rsync against nothing and puts what it prints into the sorter. With a nil error the
// sorter holds all that could be listed; st.Partial says that this is not all there is.
func (a *Archiver) list(ctx context.Context, run int64, src Source, at address, into *sorter, st *listStats) error {
	// Compared with a directory that is not there, every entry is printed, the top too.
	nowhere := filepath.Join(into.dir, "nothing")
	filters := a.filters(src, at)
	args := func(secluded bool) []string {
		args := append([]string{"-rlptgoDnH", "--numeric-ids", listFormat}, filters...)
		args = append(args, at.remoteOptions(src, a.cfg.SSH, secluded)...)
		return append(args, "--", at.listed(), nowhere+"/")
	}
	special := map[byte]int64{}
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
		default: // it may be a file: what is not understood must not count as vanished
			st.Partial = true
			st.Errors++
			return a.runError(ctx, run, src.Name, "", err.Error())
		}
		if e.kind == catalog.Directory {
			st.Dirs++
		} else if st.Listed++; st.Listed%10000 == 0 {
			a.stage("list", st.Listed, 0)
		}
		if e.link != "" {
			if err := into.add(pathKey(e.link), mark); err != nil {
				return err
			}
		}
		val = e.encode(val[:0])
		return into.add(pathKey(e.path), val)
	})
	if err != nil {
		return fmt.Errorf("list source %s: %w", src.Name, err)
	}
	if r.exit != 0 && !r.partial() {
		return fmt.Errorf("list source %s: %w", src.Name, r.err())
	}
	if r.exit == 0 {
		for _, l := range r.stderr { // banners and warnings of ssh
			a.log.Info("listing says", "source", src.Name, "line", l)
		}
	} else {
		st.Partial = true
		for _, c := range complaints(at, r.stderr) {
			st.Errors++
			if err := a.runError(ctx, run, src.Name, c.path, c.text); err != nil {
				return err
			}
		}
		if r.dropped > 0 {
			st.Errors += int64(r.dropped)
			if err := a.runError(ctx, run, src.Name, "", fmt.Sprintf("%d more messages", r.dropped)); err != nil {
				return err
			}
		}
	}
	if at.transport != inPlace {
		switch err := a.listTimes(ctx, src, at, filters, into); {
		case ctx.Err() != nil:
			return fmt.Errorf("list source %s: %w", src.Name, err)
		case errors.Is(err, errSecondsOnly):
			st.Seconds = true
			a.log.Info(err.Error(), "source", src.Name)
		case err != nil:
			a.log.Info("times are compared in whole seconds", "source", src.Name, "error", err)
		}
	}
	if st.Skipped > 0 {
		a.log.Info("special files are not archived", "source", src.Name, "sockets_and_fifos", special['S'], "devices", special['D'])
	}
	a.stage("list", st.Listed, st.Listed)
	return nil
}

// filters are rsync's options for what of a source is listed.
func (a *Archiver) filters(src Source, at address) []string {
	var args []string
	for _, p := range src.Include {
		args = append(args, "--include="+p)
	}
	for _, p := range src.Exclude {
		args = append(args, "--exclude="+p)
	}
	if p, ok := a.spoolWithin(at); ok {
		args = append(args, "--exclude="+p)
	}
	return args
}

// spoolWithin is the pattern that keeps the spool out of a local source it lies in.
func (a *Archiver) spoolWithin(at address) (string, bool) {
	spool, err := filepath.Abs(a.cfg.SpoolDir)
	if at.transport != inPlace || err != nil || a.cfg.SpoolDir == "" {
		return "", false
	}
	rel, err := filepath.Rel(at.path, spool)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	return "/" + globQuote.Replace(rel) + "/", true
}

var globQuote = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
