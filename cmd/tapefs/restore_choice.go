package main

import (
	"context"
	"errors"
	"strings"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
)

// check refuses what does not go together.
func (c *restoreCmd) check() error {
	switch {
	case len(c.Paths) == 0 && c.FilesFrom == "":
		return usagef("name paths of the archive, or a list of them with --files-from")
	case len(c.Paths) > 0 && c.FilesFrom != "":
		return usagef("--files-from takes the place of paths: restore the others by themselves")
	case c.Null && c.FilesFrom == "":
		return usagef("--null is about the names in --files-from")
	case c.OneOf < 0 || c.Number < 0 || c.OneOf+int64(c.Number) > 0 && len(c.Paths) != 1 || c.OneOf > 0 && c.Number > 0:
		return usagef("--version and --version-id take one version, with the path of its file alone")
	case looksRemote(c.To):
		return withHint(usagef("--to %s looks like a place on another machine, and restore writes to this one", c.To),
			"for a directory of that name here, write --to ./%s", c.To)
	}
	return nil
}

// looksRemote reports whether rsync or a person would take a target for one on another machine: host:path or scheme://host/path.
func looksRemote(to string) bool {
	head, _, ok := strings.Cut(to, ":")
	return ok && head != "" && !strings.Contains(head, "/")
}

// options are those of the restore. What is named must be there, before anything begins.
func (c *restoreCmd) options(ctx context.Context, a *app, conf *settings, db *catalog.DB, to string) (o archiver.RestoreOptions, err error) {
	for _, own := range conf.ownFolders() {
		if own != "" && isWithin(realPath(to), realPath(own)) {
			return o, withHint(usagef("--to %s lies in %s, where tapefs keeps files of its own", to, own), "restore to a folder outside of it")
		}
	}
	o = archiver.RestoreOptions{To: to, Overwrite: c.Overwrite, Version: catalog.ID(c.OneOf), At: c.At.Time, Exclude: c.Exclude}
	if c.Number > 0 {
		v, err := numbered(ctx, db, c.Paths[0], c.Number)
		if err != nil {
			return o, err
		}
		o.Version = v.ID
	}
	for _, p := range c.Paths {
		_, err := resolve(ctx, db.View(c.At.Time, false), p)
		if errors.Is(err, catalog.ErrNotFound) && (o.Version != 0 || strings.ContainsAny(p, `*?[`)) {
			continue
		}
		if err != nil {
			return o, err
		}
	}
	if c.FilesFrom != "" {
		o.Listed, err = readNames(a.stdin, c.FilesFrom, c.Null)
	}
	return o, err
}

// look says what a restore would do.
func (c *restoreCmd) look(ctx context.Context, a *app, to string) error {
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	o, err := c.options(ctx, a, conf, db, to)
	if err != nil {
		return err
	}
	arch, err := a.newArchiver(conf, db, nil)
	if err != nil {
		return err
	}
	out, err := arch.LookAtRestore(ctx, c.Paths, o)
	if err != nil {
		return err
	}
	return errors.Join(sayOutlook(a, "restore would read", "file", "files", &out), outlookError(&out))
}
