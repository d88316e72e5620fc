package main

import (
	"context"
	"errors"
	"fmt"
	gopath "path"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type restoreCmd struct {
	Paths     []string `arg:"" optional:"" name:"path" help:"Paths of the archive: /source/dir. Each comes with all below it. One with *, ?, [a-z] or ** (any directories) is a pattern, unless something is called so."`
	To        string   `required:"" help:"The directory to restore to: /source/dir becomes DIR/dir." placeholder:"DIR"`
	FilesFrom string   `help:"Restore what this file lists, one path of the archive a line; - is standard input. Each comes back below DIR with its whole path." placeholder:"FILE"`
	Null      bool     `name:"null" short:"0" help:"The names in --files-from end with a NUL byte, as find -0 writes them."`
	Exclude   []string `help:"Leave out what matches, with all below it: a pattern without a slash is held against names, another against whole paths of the archive." placeholder:"PATTERN" sep:"none"`
	DryRun    bool     `help:"Only say what would come from which tapes, and about how long that takes. No tape moves."`
	Overwrite bool     `help:"Replace files that are there and differ."`
	Number    int      `name:"version" help:"Restore the N-th version of the one file that is named, 1 the oldest; tapefs info --versions lists them." placeholder:"N"`
	OneOf     int64    `name:"version-id" help:"The same by the version's id." placeholder:"ID"`
	At        moment   `help:"Restore the tree as it was then: ${moment}." placeholder:"TIME"`
}

func (c *restoreCmd) Run(ctx context.Context, a *app) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	to, err := filepath.Abs(c.To)
	if err != nil {
		return usagef("--to: %w", err)
	}
	if c.DryRun {
		return c.look(ctx, a, to)
	}
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	o, err := c.options(ctx, a, conf, db, to)
	if err != nil {
		return err
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
	s, err := arch.Restore(ctx, c.Paths, o)
	if s.Run == 0 {
		return err
	}
	if a.JSON {
		err = errors.Join(err, ui.WriteJSON(a.stdout, &s))
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
		return catalog.Version{}, withHint(fmt.Errorf("%s has %s, and none of them is number %d", ui.Printable(clean), ui.Count(int64(len(list)), "version", "versions"), n),
			"tapefs info --versions %s lists them", ui.Printable(clean))
	}
	return list[n-1], nil
}

func restoreLine(s archiver.RestoreSummary) string {
	line := fmt.Sprintf("restored: %s, %s", ui.Count(s.Files, "file", "files"), ui.Bytes(s.Bytes))
	if len(s.Tapes) > 0 {
		line += " from " + strings.Join(s.Tapes, ", ")
	}
	line += symlinksAmong(s.Symlinks, "of the files restored")
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
		line += fmt.Sprintf("; %s (%s) wait for tape %s", ui.Count(m.Files, "file", "files"), ui.Bytes(m.Bytes), m.Barcode)
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
