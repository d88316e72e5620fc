package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/inventory"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/fs/recall"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

type infoCmd struct {
	Path     string `arg:"" help:"A path of the archive: /source/dir/file."`
	Versions bool   `help:"Show all versions, not only the current one."`
}

// infoJSON is all that is known of a path.
type infoJSON struct {
	ui.PathText
	Versions []versionJSON `json:"versions"`
}

type versionJSON struct {
	entryJSON
	Number  int        `json:"number"` // of the path's versions, 1 the oldest
	Of      int        `json:"of"`
	Current bool       `json:"current"`
	Shown   bool       `json:"shown"` // by the path: the newest version that can be read
	State   string     `json:"state"`
	Newer   string     `json:"newer,omitempty"` // why the path does not show the newest version
	Since   *time.Time `json:"since,omitempty"`
	Until   *time.Time `json:"until,omitempty"`
	Inode   catalog.ID `json:"inode"`
	Links   uint32     `json:"links"`
	Grew    bool       `json:"grew,omitempty"` // while it was archived: these are the bytes it had when it was listed
	Spooled string     `json:"spooled,omitempty"`
	Cached  int64      `json:"cached,omitempty"` // bytes
	Pinned  bool       `json:"pinned,omitempty"`
	Object  string     `json:"object,omitempty"`
	Key     string     `json:"key,omitempty"`
	Offset  int64      `json:"offset,omitempty"`
	Copies  []copyJSON `json:"copies"`
}

type copyJSON struct {
	Pool     string     `json:"pool"`
	State    string     `json:"state"`
	Verified *time.Time `json:"verified,omitempty"`
	Parts    []partJSON `json:"parts"`
}

type partJSON struct {
	Tape  string `json:"tape"`
	File  string `json:"file"`
	Size  int64  `json:"size"`
	State string `json:"state"`
}

func (c *infoCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	v, err := resolve(ctx, db.Now(), c.Path)
	if err != nil {
		return err
	}
	versions, first, all := []catalog.Version{v}, 1, 1
	newer := ""
	if v.Kind != catalog.Directory {
		if versions, err = db.Versions(ctx, v.Parent, v.Name); err != nil {
			return err
		}
		if newer, err = newerText(ctx, db, &v, versions); err != nil {
			return err
		}
		if all = len(versions); !c.Versions {
			first = 1 + slices.IndexFunc(versions, func(one catalog.Version) bool { return one.ID == v.ID })
			versions = []catalog.Version{v}
		}
	}
	pools, err := poolNames(ctx, db)
	if err != nil {
		return err
	}
	cached := cacheView(ctx, conf)
	base := cleanPath(c.Path)
	out := infoJSON{PathText: ui.NewPathText(base)}
	for i := range versions {
		described, err := describe(ctx, db, pools, base, &versions[i])
		if err != nil {
			return err
		}
		if use, err := cached(versions[i].Inode); err == nil {
			described.Cached, described.Pinned = use.Cached, use.Pinned
		}
		described.Grew = versions[i].Grew
		described.Number, described.Of = first+i, all
		if versions[i].ID == v.ID {
			described.Shown, described.Newer = true, newer
		}
		out.Versions = append(out.Versions, described)
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, out)
	}
	fmt.Fprintln(a.stdout, ui.Printable(base))
	for i := range out.Versions {
		printVersion(a, &versions[i], &out.Versions[i])
	}
	return nil
}

// newerText says which newer version a path does not show, because it cannot be read; "" where v is the newest.
func newerText(ctx context.Context, db *catalog.DB, v *catalog.Version, versions []catalog.Version) (string, error) {
	for i := range versions {
		if newest := &versions[i]; newest.ID == v.InsteadOf {
			why, err := db.Unreadable(ctx, newest)
			return fmt.Sprintf("version %d of %s cannot be read: %s", i+1, ui.DateOr(&newest.Since, "an unknown day"), why), err
		}
	}
	return "", nil
}

// cacheView returns what tells how much of a version is in the cache: the process that owns it, or the folder.
func cacheView(ctx context.Context, conf *settings) func(id catalog.ID) (cache.FileUse, error) {
	if owner, err := recall.AskOwner(conf.SocketPath()); err == nil {
		return func(id catalog.ID) (cache.FileUse, error) { return owner.File(ctx, id) }
	}
	folder, err := cache.Inspect(conf.Cache.Dir, int64(conf.Cache.Max))
	return func(id catalog.ID) (cache.FileUse, error) {
		if err != nil {
			return cache.FileUse{}, err
		}
		return folder.Of(id), nil
	}
}

func poolNames(ctx context.Context, db *catalog.DB) (map[int64]string, error) {
	pools, err := db.Pools(ctx)
	if err != nil {
		return nil, err
	}
	names := map[int64]string{}
	for _, p := range pools {
		names[p.ID] = p.Name
	}
	return names, nil
}

func describe(ctx context.Context, db *catalog.DB, pools map[int64]string, path string, v *catalog.Version) (versionJSON, error) {
	d := versionJSON{
		entryJSON: entryOf(path, v), Current: v.Current, State: inventory.VersionStateName(v.State),
		Since: ui.TimeOrNil(v.Since), Until: ui.TimeOrNil(v.Until), Inode: v.Inode, Links: v.Nlink,
		Copies: []copyJSON{},
	}
	if lost, err := db.IsLost(ctx, v.ID); err != nil {
		return d, err
	} else if lost && v.State == catalog.Present {
		d.State = "lost"
	}
	loc, err := db.Locate(ctx, v.ID)
	if errors.Is(err, catalog.ErrNotFound) {
		return d, nil
	} else if err != nil {
		return d, err
	}
	if loc.Batch != nil {
		d.Spooled = loc.Batch.Dir
	}
	if loc.Object.ID == 0 {
		return d, nil
	}
	d.Object, d.Key, d.Offset = loc.Object.OID, loc.Object.Fingerprint, loc.Data
	copies, err := db.ObjectCopies(ctx, loc.Object.ID)
	if err != nil {
		return d, err
	}
	for _, one := range copies {
		parts, err := db.CopyParts(ctx, one.ID)
		if err != nil {
			return d, err
		}
		listed := copyJSON{Pool: pools[one.Pool], State: inventory.CopyStateName(one.State), Verified: ui.TimeOrNil(one.Verified), Parts: []partJSON{}}
		for _, p := range parts {
			listed.Parts = append(listed.Parts, partJSON{Tape: p.Barcode, File: p.Name, Size: p.Size, State: inventory.PartStateName(p.State)})
		}
		d.Copies = append(d.Copies, listed)
	}
	return d, nil
}

func printVersion(a *app, v *catalog.Version, d *versionJSON) {
	user, group := ownerText(v.Owner)
	t := ui.NewTable(a.stdout)
	t.Row("  version", fmt.Sprintf("%d of %d (%s%s), id %d", d.Number, d.Of, d.State, map[bool]string{true: ", current"}[d.Current], d.ID))
	if d.Newer != "" {
		t.Row("  newer", d.Newer+"; the path shows this one")
	}
	t.Row("  kind", d.Kind)
	t.Row("  mode, owner", modeText(v)+" "+user+":"+group)
	if v.Kind == catalog.File {
		t.Row("  size", fmt.Sprintf("%d bytes (%s)", d.Size, ui.Bytes(d.Size)))
	}
	if d.Target != nil {
		t.Row("  target", ui.Printable(v.Target))
	}
	t.Row("  modified", d.MTime.Time().Format(time.RFC3339Nano))
	if d.SHA256 != "" {
		t.Row("  sha256", d.SHA256)
	}
	if d.Links > 1 {
		t.Row("  hard links", fmt.Sprintf("%d, inode %d", d.Links, d.Inode))
	}
	if d.Until != nil {
		t.Row("  replaced", ui.DateOr(d.Until, ""))
	}
	if d.Grew {
		t.Row("  grew", "while it was archived: this is what it held when it was listed")
	}
	if d.Vanished != nil {
		t.Row("  vanished", ui.DateOr(d.Vanished, ""))
	}
	if d.Removed != nil {
		t.Row("  removed", ui.DateOr(d.Removed, "")+" from its source, after it was safe")
	}
	if d.Spooled != "" {
		t.Row("  spooled", ui.Printable(d.Spooled))
	}
	if d.Cached > 0 || d.Pinned {
		t.Row("  cached", fmt.Sprintf("%s%s", ui.Bytes(d.Cached), map[bool]string{true: ", pinned"}[d.Pinned]))
	}
	if d.Object != "" {
		t.Row("  object", fmt.Sprintf("%s, key %s, offset %d", d.Object, d.Key, d.Offset))
	}
	for _, c := range d.Copies {
		t.Row("  copy in "+c.Pool, c.State)
		for _, p := range c.Parts {
			t.Row("    on "+p.Tape, fmt.Sprintf("%s (%s, %s)", p.File, ui.Bytes(p.Size), p.State))
		}
	}
	t.Flush()
}
