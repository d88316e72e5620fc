package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// entryJSON is a file as ls and find print it for programs.
type entryJSON struct {
	ui.PathText
	ID       catalog.ID   `json:"id"`
	Kind     string       `json:"kind"`
	Mode     string       `json:"mode"`
	UID      uint32       `json:"uid"`
	GID      uint32       `json:"gid"`
	User     string       `json:"user,omitempty"`
	Group    string       `json:"group,omitempty"`
	Size     int64        `json:"size"`
	MTime    ui.FileTime  `json:"mtime"`
	Target   *ui.PathText `json:"target,omitempty"`
	SHA256   string       `json:"sha256,omitempty"`
	Vanished *time.Time   `json:"vanished,omitempty"`
	Removed  *time.Time   `json:"removed,omitempty"` // by safe --delete or at an inbox: it did not vanish

	InsteadOf catalog.ID `json:"instead_of,omitempty"` // a newer version, which cannot be read
}

func entryOf(path string, v *catalog.Version) entryJSON {
	e := entryJSON{
		PathText: ui.NewPathText(path), ID: v.ID, Kind: kindName(v.Kind), Mode: fmt.Sprintf("%04o", v.Mode),
		UID: v.Owner.UID, GID: v.Owner.GID,
		User: strings.ToValidUTF8(v.Owner.User, "\ufffd"), Group: strings.ToValidUTF8(v.Owner.Group, "\ufffd"),
		Size: v.Size, MTime: mtime(v), Vanished: ui.TimeOrNil(v.Vanished), InsteadOf: v.InsteadOf,
	}
	if v.Removed {
		e.Vanished, e.Removed = nil, e.Vanished
	}
	if v.Kind == catalog.Symlink {
		target := ui.NewPathText(v.Target)
		e.Target = &target
	}
	if len(v.SHA256) > 0 {
		e.SHA256 = fmt.Sprintf("%x", v.SHA256)
	}
	return e
}

func mtime(v *catalog.Version) ui.FileTime { return ui.FileTime(v.MTime) }

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
	return ui.Printable(user), ui.Printable(group)
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
		return v, withHint(fmt.Errorf("%s: %w", ui.Printable(p), err), "paths start with the name of a source: tapefs ls /")
	}
	return v, err
}

// entryPrinter prints entries: names, long lines, or one JSON object a line.
type entryPrinter struct {
	a    *app
	long bool
}

// goneText says of a file that its source does not have it any more, since when, and who did that; "" where that is not so.
func goneText(since time.Time, removed bool) string {
	switch day := since.Local().Format(time.DateOnly); {
	case since.IsZero():
		return ""
	case removed:
		return "  (removed from the source " + day + ", after it was safe)"
	default:
		return "  (vanished from the source " + day + ")"
	}
}

func newEntryPrinter(a *app, long bool) *entryPrinter { return &entryPrinter{a, long} }

func (p *entryPrinter) print(full, shown string, v *catalog.Version) error {
	if p.a.JSON {
		return ui.WriteJSONLine(p.a.stdout, entryOf(full, v))
	}
	name := ui.Printable(shown)
	if !p.long {
		if v.Kind == catalog.Directory {
			name += "/"
		}
		_, err := fmt.Fprintln(p.a.stdout, name)
		return err
	}
	if v.Kind == catalog.Symlink {
		name += " -> " + ui.Printable(v.Target)
	}
	name += goneText(v.Vanished, v.Removed)
	if v.InsteadOf != 0 {
		name += fmt.Sprintf("  (an older state: version %d cannot be read)", v.InsteadOf)
	}
	user, group := ownerText(v.Owner)
	_, err := fmt.Fprintf(p.a.stdout, "%s %-8s %-8s %14d %s %s\n", modeText(v), user, group, v.Size,
		mtime(v).Time().Local().Format("2006-01-02 15:04"), name)
	return err
}
