package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type findCmd struct {
	Path    string    `arg:"" optional:"" default:"/" help:"Where to start."`
	Name    string    `help:"Pattern the last part of the path must match: *, ?, [a-z]." placeholder:"PATTERN"`
	Regex   string    `help:"Regular expression that must match somewhere in the path (RE2 syntax)." placeholder:"RE"`
	Type    string    `help:"Only files (f), directories (d) or symlinks (l)." enum:"f,d,l," default:""`
	Larger  *sizeArg  `help:"Only files of more bytes: 500MB, 10GiB." placeholder:"SIZE"`
	Smaller *sizeArg  `help:"Only files of fewer bytes." placeholder:"SIZE"`
	Newer   moment    `help:"Only what was modified after: ${moment}." placeholder:"TIME"`
	Older   moment    `help:"Only what was modified before." placeholder:"TIME"`
	SHA256  sha256Arg `name:"sha256" help:"Only files with this SHA-256." placeholder:"HEX"`
	Tape    string    `help:"Only files of which something lies on this tape." placeholder:"BARCODE"`
	Is      []string  `help:"Only files and symlinks in one of these states, as the catalog knows them: durable, pending, suspect, damaged, lost, void, vanished, removed. Durable: with as many durable copies as the source asks for; what may be deleted there only tapefs safe says." enum:"durable,pending,suspect,damaged,lost,void,vanished,removed" placeholder:"STATE"`
	Long    bool      `short:"l" help:"Show mode, owner, size, time."`
	Null    bool      `name:"null" short:"0" help:"End each path with a NUL byte, as xargs -0 reads it, and print it as it is."`
	At      moment    `help:"Look into the tree as it was then: ${moment}." placeholder:"TIME"`
}

// sizeArg is a number of bytes on the command line.
type sizeArg int64

// UnmarshalText reads 64MiB, 1.5TB or a plain number.
func (s *sizeArg) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > 1<<62 {
		return fmt.Errorf("%q is not a size such as 500MB or 10GiB", text)
	}
	*s = sizeArg(n)
	return nil
}

// sha256Arg is a SHA-256 on the command line; empty when none was given.
type sha256Arg []byte

// UnmarshalText reads 64 hex digits.
func (s *sha256Arg) UnmarshalText(text []byte) error {
	sum, err := hex.DecodeString(string(text))
	if err != nil || len(sum) != 32 {
		return fmt.Errorf("%q is not a SHA-256 of 64 hex digits", text)
	}
	*s = sum
	return nil
}

func (c *findCmd) Run(ctx context.Context, a *app) error {
	if c.Null && (a.JSON || c.Long) {
		return usagef("--null prints paths and nothing else: it goes with neither --json nor --long")
	}
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	wanted, err := c.filter(ctx, conf, db)
	if err != nil {
		return err
	}
	tree := db.View(c.At.Time, false)
	v, err := resolve(ctx, tree, c.Path)
	if err != nil {
		return err
	}
	base := cleanPath(c.Path)
	p := newEntryPrinter(a, c.Long)
	to := a.stdout
	if c.Null {
		to = ui.RawOutput(to)
	}
	out := bufio.NewWriter(to)
	visit := func(full string, v *catalog.Version) error {
		ok, err := wanted(full, v)
		if err != nil || !ok {
			return err
		}
		if c.Null {
			_, err := io.WriteString(out, full+"\x00")
			return err
		}
		return p.print(full, full, v)
	}
	if err = visit(base, &v); err == nil && v.Kind == catalog.Directory {
		err = tree.Walk(ctx, v.ID, func(rel string, v *catalog.Version) error {
			return visit(path.Join(base, rel), v)
		})
	}
	return errors.Join(err, out.Flush())
}

// filter returns what decides whether a file is printed. The questions come in the order of what they cost.
func (c *findCmd) filter(ctx context.Context, conf *settings, db *catalog.DB) (func(full string, v *catalog.Version) (bool, error), error) {
	if _, err := path.Match(c.Name, ""); err != nil {
		return nil, usagef("--name %q: %w", c.Name, err)
	}
	pattern, err := regexp.Compile(c.Regex)
	if err != nil {
		return nil, usagef("--regex: %w", err)
	}
	var tape catalog.Tape
	if c.Tape != "" {
		if tape, err = knownTape(ctx, db, c.Tape); err != nil {
			return nil, err
		}
	}
	kind := map[string]catalog.Kind{"f": catalog.File, "d": catalog.Directory, "l": catalog.Symlink}[c.Type]
	inState := c.stateFilter(conf, db)
	filesOnly := c.Larger != nil || c.Smaller != nil || c.SHA256 != nil
	return func(full string, v *catalog.Version) (bool, error) {
		switch modified := time.Unix(v.MTime.Sec, int64(v.MTime.Nsec)); {
		case kind != 0 && v.Kind != kind,
			filesOnly && v.Kind != catalog.File,
			c.Larger != nil && v.Size <= int64(*c.Larger),
			c.Smaller != nil && v.Size >= int64(*c.Smaller),
			!c.Newer.IsZero() && !modified.After(c.Newer.Time),
			!c.Older.IsZero() && !modified.Before(c.Older.Time),
			c.SHA256 != nil && !bytes.Equal(c.SHA256, v.SHA256):
			return false, nil
		}
		if c.Name != "" {
			if ok, _ := path.Match(c.Name, path.Base(full)); !ok {
				return false, nil
			}
		}
		if !pattern.MatchString(full) {
			return false, nil
		}
		if (c.Tape != "" || len(c.Is) > 0) && v.Kind == catalog.Directory {
			return false, nil
		}
		if c.Tape != "" {
			if ok, err := db.LiesOn(ctx, v.ID, tape.ID); err != nil || !ok {
				return false, err
			}
		}
		return inState(ctx, full, v)
	}, nil
}

// stateFilter returns what reports whether a file is in one of the states asked for. A path that shows an older version, because the
// newest cannot be read, is in the states of both.
func (c *findCmd) stateFilter(conf *settings, db *catalog.DB) func(ctx context.Context, full string, v *catalog.Version) (bool, error) {
	if len(c.Is) == 0 {
		return func(context.Context, string, *catalog.Version) (bool, error) { return true, nil }
	}
	keeper, asked := db.Keeper(), copiesAsked(conf)
	return func(ctx context.Context, full string, v *catalog.Version) (bool, error) {
		if !v.Vanished.IsZero() {
			gone := "vanished"
			if v.Removed { // by this program, once it was safe
				gone = "removed"
			}
			if slices.Contains(c.Is, gone) {
				return true, nil
			}
		}
		versions := []catalog.Version{*v}
		if v.InsteadOf != 0 {
			newest, err := db.Get(ctx, v.InsteadOf)
			if err != nil {
				return false, err
			}
			versions = append(versions, newest)
		}
		for i := range versions {
			kept, err := keeper.Of(ctx, &versions[i])
			if err != nil {
				return false, err
			}
			if slices.Contains(c.Is, string(kept.State(asked(full)))) {
				return true, nil
			}
		}
		return false, nil
	}
}

// copiesAsked returns what tells how many copies the source of a path asks for: one where it is not configured any more.
func copiesAsked(conf *settings) func(path string) int {
	asked := map[string]int{}
	for _, s := range conf.ArchiverSources() {
		asked[s.Name] = len(s.Copies)
	}
	return func(path string) int {
		name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		return max(asked[name], 1)
	}
}
