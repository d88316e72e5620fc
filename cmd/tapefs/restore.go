package main

import (
	"context"
	"errors"
	"fmt"
	gopath "path"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"

	"tapefs/archiver"
	"tapefs/catalog"
)

type restoreCmd struct {
	Paths     []string `arg:"" name:"path" help:"Paths of the archive: /source/dir. Each comes with all below it."`
	To        string   `required:"" help:"The directory to restore to: /source/dir becomes DIR/dir." placeholder:"DIR"`
	Overwrite bool     `help:"Replace files that are there and differ."`
	Number    int      `name:"version" help:"Restore the N-th version of the one file that is named, 1 the oldest; tapefs info --versions lists them." placeholder:"N"`
	OneOf     int64    `name:"version-id" help:"The same by the version's id." placeholder:"ID"`
	At        moment   `help:"Restore the tree as it was then: ${moment}." placeholder:"TIME"`
}

type restoreJSON struct {
	Run     int64         `json:"run"`
	Files   int64         `json:"files"`
	Bytes   int64         `json:"bytes"`
	Present int64         `json:"present"`
	Failed  int64         `json:"failed"`
	Without int64         `json:"attributes_refused"`
	Older   int64         `json:"older"`
	Tapes   []string      `json:"tapes"`
	Missing []missingJSON `json:"missing"`
}

type missingJSON struct {
	Tape  string `json:"tape"`
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
}

func (c *restoreCmd) Run(ctx context.Context, a *app) (err error) {
	to, err := filepath.Abs(c.To)
	if err != nil {
		return usagef("--to: %w", err)
	}
	if c.OneOf < 0 || c.Number < 0 || c.OneOf+int64(c.Number) > 0 && len(c.Paths) != 1 || c.OneOf > 0 && c.Number > 0 {
		return usagef("--version and --version-id take one version, with the path of its file alone")
	}
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, own := range conf.ownFolders() {
		if own != "" && isWithin(realPath(to), realPath(own)) {
			return withHint(usagef("--to %s lies in %s, where tapefs keeps files of its own", to, own), "restore to a folder outside of it")
		}
	}
	if c.Number > 0 {
		v, err := numbered(ctx, db, c.Paths[0], c.Number)
		if err != nil {
			return err
		}
		c.OneOf = int64(v.ID)
	}
	for _, p := range c.Paths {
		if _, err := resolve(ctx, db.View(c.At.Time, false), p); err != nil && (c.OneOf == 0 || !errors.Is(err, catalog.ErrNotFound)) {
			return err
		}
	}
	if err := conf.openKeys(); err != nil {
		return err
	}
	end := a.working(ctx, "restore", conf, db)
	defer func() { end(err, nil) }()
	arch, err := a.newArchiver(conf, db, newProgress(a))
	if err != nil {
		return err
	}
	s, err := arch.Restore(ctx, c.Paths, archiver.RestoreOptions{To: to, Overwrite: c.Overwrite, Version: catalog.ID(c.OneOf), At: c.At.Time})
	if s.Run == 0 {
		return err
	}
	if a.JSON {
		out := restoreJSON{s.Run, s.Files, s.Bytes, s.Present, s.Failed, s.Without, s.Older, s.Tapes, []missingJSON{}}
		if out.Tapes == nil {
			out.Tapes = []string{}
		}
		for _, m := range s.Missing {
			out.Missing = append(out.Missing, missingJSON{m.Barcode, m.Files, m.Bytes})
		}
		err = errors.Join(err, printJSON(a.stdout, out))
	} else {
		fmt.Fprintln(a.stdout, restoreLine(s))
	}
	switch {
	case errors.Is(err, archiver.ErrNeedsOperator):
		return withHint(err, "tapefs status lists the wanted tapes; tapefs runs %d has what failed", s.Run)
	case errors.Is(err, archiver.ErrPartial):
		return withHint(&restoreError{err, s.Failed}, "tapefs runs %d lists them", s.Run)
	}
	return err
}

// numbered is the n-th version of a path, counted from 1 as info --versions does.
func numbered(ctx context.Context, db *catalog.DB, path string, n int) (catalog.Version, error) {
	clean := cleanPath(path)
	dir, err := resolve(ctx, db.Now(), gopath.Dir(clean))
	if err != nil {
		return catalog.Version{}, err
	}
	list, err := db.Versions(ctx, dir.ID, gopath.Base(clean))
	if err != nil {
		return catalog.Version{}, err
	}
	if n > len(list) {
		return catalog.Version{}, withHint(fmt.Errorf("%s has %s, and none of them is number %d", printable(clean), count(int64(len(list)), "version", "versions"), n),
			"tapefs info --versions %s lists them", printable(clean))
	}
	return list[n-1], nil
}

func restoreLine(s archiver.RestoreSummary) string {
	line := fmt.Sprintf("restored: %s, %s", count(s.Files, "file", "files"), bytesText(s.Bytes))
	if len(s.Tapes) > 0 {
		line += " from " + strings.Join(s.Tapes, ", ")
	}
	if s.Present > 0 {
		line += fmt.Sprintf("; %s there already", humanize.Comma(s.Present))
	}
	if s.Failed > 0 {
		line += fmt.Sprintf("; %s failed", humanize.Comma(s.Failed))
	}
	if s.Without > 0 {
		line += fmt.Sprintf("; %s without the owner, mode or time of the archive", humanize.Comma(s.Without))
	}
	if s.Older > 0 {
		line += fmt.Sprintf("; %s in an older state, as the newest cannot be read", humanize.Comma(s.Older))
	}
	for _, m := range s.Missing {
		line += fmt.Sprintf("; %s (%s) wait for tape %s", count(m.Files, "file", "files"), bytesText(m.Bytes), m.Barcode)
	}
	return line
}

// restoreError says of a restore what archiver.ErrPartial says of archive.
type restoreError struct {
	err    error
	failed int64
}

func (e *restoreError) Error() string {
	if e.failed == 0 {
		return "some files were restored without their owner, mode or time"
	}
	return "some files were not restored"
}

func (e *restoreError) Unwrap() error { return e.err }
