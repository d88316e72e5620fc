package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"tapefs/catalog"
)

// entryJSON is a file as ls and find print it for programs.
type entryJSON struct {
	pathJSON
	ID       catalog.ID `json:"id"`
	Kind     string     `json:"kind"`
	Mode     string     `json:"mode"`
	UID      uint32     `json:"uid"`
	GID      uint32     `json:"gid"`
	User     string     `json:"user,omitempty"`
	Group    string     `json:"group,omitempty"`
	Size     int64      `json:"size"`
	MTime    time.Time  `json:"mtime"`
	Target   *pathJSON  `json:"target,omitempty"`
	SHA256   string     `json:"sha256,omitempty"`
	Vanished *time.Time `json:"vanished,omitempty"`

	InsteadOf catalog.ID `json:"instead_of,omitempty"` // a newer version, which cannot be read
}

func entryOf(path string, v *catalog.Version) entryJSON {
	e := entryJSON{
		pathJSON: jsonPath(path), ID: v.ID, Kind: kindName(v.Kind), Mode: fmt.Sprintf("%04o", v.Mode),
		UID: v.Owner.UID, GID: v.Owner.GID,
		User: strings.ToValidUTF8(v.Owner.User, "\ufffd"), Group: strings.ToValidUTF8(v.Owner.Group, "\ufffd"),
		Size: v.Size, MTime: mtime(v), Vanished: timeOrNil(v.Vanished), InsteadOf: v.InsteadOf,
	}
	if v.Kind == catalog.Symlink {
		target := jsonPath(v.Target)
		e.Target = &target
	}
	if len(v.SHA256) > 0 {
		e.SHA256 = fmt.Sprintf("%x", v.SHA256)
	}
	return e
}

func mtime(v *catalog.Version) time.Time {
	return time.Unix(v.MTime.Sec, int64(v.MTime.Nsec)).UTC()
}

func kindName(k catalog.Kind) string {
	switch k {
	case catalog.File:
		return "file"
	case catalog.Directory:
		return "directory"
	case catalog.Symlink:
		return "symlink"
	}
	return "unknown"
}

// modeText is a mode as ls -l shows it.
func modeText(v *catalog.Version) string {
	mode := fs.FileMode(v.Mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if v.Mode&bit != 0 {
			mode |= flag
		}
	}
	text := []byte(mode.Perm().String())
	text[0] = map[catalog.Kind]byte{catalog.File: '-', catalog.Directory: 'd', catalog.Symlink: 'l'}[v.Kind]
	for _, special := range []struct {
		flag fs.FileMode
		at   int
		with byte
	}{{fs.ModeSetuid, 3, 's'}, {fs.ModeSetgid, 6, 's'}, {fs.ModeSticky, 9, 't'}} {
		if mode&special.flag == 0 {
			continue
		}
		if text[special.at] == 'x' {
			text[special.at] = special.with
		} else {
			text[special.at] = special.with - 'a' + 'A'
		}
	}
	return string(text)
}

func ownerText(o catalog.Owner) (user, group string) {
	user, group = o.User, o.Group
	if user == "" {
		user = fmt.Sprint(o.UID)
	}
	if group == "" {
		group = fmt.Sprint(o.GID)
	}
	return printable(user), printable(group)
}

type lsCmd struct {
	Path      string `arg:"" optional:"" default:"/" help:"A path of the archive: /source/dir."`
	Long      bool   `short:"l" help:"Show mode, owner, size, time."`
	Recursive bool   `short:"R" help:"List everything below."`
	At        moment `help:"List the tree as it was then: ${moment}." placeholder:"TIME"`
}

func (c *lsCmd) Run(ctx context.Context, a *app) error {
	_, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	tree := db.View(c.At.Time, false)
	v, err := resolve(ctx, tree, c.Path)
	if err != nil {
		return err
	}
	base := cleanPath(c.Path)
	p := newEntryPrinter(a, c.Long)
	switch {
	case v.Kind != catalog.Directory:
		err = p.print(base, path.Base(base), &v)
	case c.Recursive:
		err = tree.Walk(ctx, v.ID, func(rel string, v *catalog.Version) error {
			return p.print(path.Join(base, rel), rel, v)
		})
	default:
		err = eachByName(ctx, tree, v.ID, func(v *catalog.Version) error {
			return p.print(path.Join(base, v.Name), v.Name, v)
		})
	}
	return err
}

// eachByName walks one directory in pages, so that nothing is held open while it prints.
func eachByName(ctx context.Context, tree *catalog.View, dir catalog.ID, fn func(*catalog.Version) error) error {
	const page = 1000
	after := ""
	for {
		n := 0
		err := tree.ChildrenByName(ctx, dir, after, page, func(v *catalog.Version) error {
			n++
			after = strings.Clone(v.Name)
			return fn(v)
		})
		if err != nil || n < page {
			return err
		}
	}
}

// cleanPath is an archive path with one leading slash.
func cleanPath(p string) string { return path.Clean("/" + p) }

func resolve(ctx context.Context, tree *catalog.View, p string) (catalog.Version, error) {
	v, err := tree.Resolve(ctx, cleanPath(p))
	if errors.Is(err, catalog.ErrNotFound) {
		return v, withHint(fmt.Errorf("%s: %w", printable(p), err), "paths start with the name of a source: tapefs ls /")
	}
	return v, err
}

// entryPrinter prints entries: names, long lines, or one JSON object a line.
type entryPrinter struct {
	a    *app
	long bool
}

func newEntryPrinter(a *app, long bool) *entryPrinter { return &entryPrinter{a, long} }

func (p *entryPrinter) print(full, shown string, v *catalog.Version) error {
	if p.a.JSON {
		return printJSONLine(p.a.stdout, entryOf(full, v))
	}
	name := printable(shown)
	if !p.long {
		if v.Kind == catalog.Directory {
			name += "/"
		}
		_, err := fmt.Fprintln(p.a.stdout, name)
		return err
	}
	if v.Kind == catalog.Symlink {
		name += " -> " + printable(v.Target)
	}
	if !v.Vanished.IsZero() {
		name += "  (vanished from the source " + v.Vanished.Local().Format("2006-01-02") + ")"
	}
	if v.InsteadOf != 0 {
		name += fmt.Sprintf("  (an older state: version %d cannot be read)", v.InsteadOf)
	}
	user, group := ownerText(v.Owner)
	_, err := fmt.Fprintf(p.a.stdout, "%s %-8s %-8s %14d %s %s\n", modeText(v), user, group, v.Size,
		mtime(v).Local().Format("2006-01-02 15:04"), name)
	return err
}
