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
	"time"

	"github.com/dustin/go-humanize"

	"tapefs/catalog"
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
	_, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	wanted, err := c.filter(ctx, db)
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
		to = rawOutput(to)
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
func (c *findCmd) filter(ctx context.Context, db *catalog.DB) (func(full string, v *catalog.Version) (bool, error), error) {
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
		if c.Tape == "" {
			return true, nil
		}
		if v.Kind == catalog.Directory {
			return false, nil
		}
		return db.LiesOn(ctx, v.ID, tape.ID)
	}, nil
}
