package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/inventory"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/crypto"
)

// tapeFilesCmd says what is on a tape, from the catalog alone.
type tapeFilesCmd struct {
	Barcode string `arg:"" help:"The tape."`
	Sort    string `help:"By position on the tape, or by path." enum:"position,path" default:"position"`
	Long    bool   `short:"l" help:"Show block, size, time and SHA-256, too."`
	Null    bool   `name:"null" short:"0" help:"End each path with a NUL byte, as xargs -0 reads it, and print it as it is."`
}

// tapeFileJSON is a file of which something lies on a tape.
type tapeFileJSON struct {
	entryJSON
	Current bool              `json:"current"` // false: an older version
	Object  string            `json:"object"`  // its name
	Bytes   int64             `json:"bytes"`   // of it on this tape; fewer than size when it goes on elsewhere
	Pieces  []inventory.Piece `json:"pieces"`
}

func (c *tapeFilesCmd) Run(ctx context.Context, a *app) error {
	if c.Null && (a.JSON || c.Long) {
		return usagef("--null prints paths and nothing else: it goes with neither --json nor --long")
	}
	_, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	tape, err := knownTape(ctx, db, c.Barcode)
	if err != nil {
		return err
	}
	to := a.stdout
	if c.Null {
		to = ui.RawOutput(to)
	}
	out := bufio.NewWriter(to)
	if c.Sort == "position" {
		err = eachTapeFile(ctx, db, tape.ID, func(f *tapeFileJSON, path string) error { return c.print(a, out, f, path) })
	} else {
		err = c.byPath(ctx, a, db, tape.ID, out)
	}
	return errors.Join(err, out.Flush())
}

// byPath prints in the order of paths; where a file lies twice, in the order of positions.
func (c *tapeFilesCmd) byPath(ctx context.Context, a *app, db *catalog.DB, tape int64, out io.Writer) error {
	s := &extsort.Sorter{Dir: os.TempDir()}
	defer s.Close()
	err := eachTapeFile(ctx, db, tape, func(f *tapeFileJSON, path string) error {
		text, err := json.Marshal(f)
		if err != nil {
			return err
		}
		return s.Add([]byte(path), text)
	})
	if err == nil {
		err = s.Sort()
	}
	for err == nil {
		var path, text []byte
		var more bool
		if path, text, more, err = s.Next(); err != nil || !more {
			break
		}
		var f tapeFileJSON
		if err = json.Unmarshal(text, &f); err == nil {
			err = c.print(a, out, &f, string(path))
		}
	}
	return err
}

func (c *tapeFilesCmd) print(a *app, out io.Writer, f *tapeFileJSON, path string) error {
	if a.JSON {
		return ui.WriteJSONLine(out, f)
	}
	if c.Null {
		_, err := fmt.Fprintf(out, "%s\x00", path)
		return err
	}
	name := ui.Printable(path)
	if f.Kind == "file" && f.Bytes < f.Size {
		name += fmt.Sprintf("  (%d bytes of it)", f.Bytes)
	}
	if slices.ContainsFunc(f.Pieces, func(p inventory.Piece) bool { return p.Damaged }) {
		name += "  (damaged here)"
	}
	if f.Vanished != nil {
		name += goneText(*f.Vanished, false)
	}
	if f.Removed != nil {
		name += goneText(*f.Removed, true)
	}
	if !f.Current {
		name += fmt.Sprintf("  (version %d, an older state)", f.ID)
	}
	if !c.Long {
		_, err := fmt.Fprintln(out, name)
		return err
	}
	block, sum := "-", f.SHA256
	if b := f.Pieces[0].Block; b != nil {
		block = fmt.Sprint(*b)
	}
	if sum == "" {
		sum = "-"
	}
	_, err := fmt.Fprintf(out, "%9s %14d %s %-64s %s\n", block, f.Size, f.MTime.Time().Local().Format("2006-01-02 15:04"), sum, name)
	return err
}

// knownTape is the tape of a barcode as a person spells it.
func knownTape(ctx context.Context, db *catalog.DB, barcode string) (catalog.Tape, error) {
	barcode, err := spelt(ctx, db, barcode)
	if err != nil {
		return catalog.Tape{}, err
	}
	tape, err := db.TapeByBarcode(ctx, barcode)
	if errors.Is(err, catalog.ErrNotFound) {
		err = withHint(err, "tapefs tape list shows the tapes of this catalog")
	}
	return tape, err
}

// eachTapeFile calls fn once for each file and symlink of which something lies on a tape, in the order in which their objects begin there.
func eachTapeFile(ctx context.Context, db *catalog.DB, tape int64, fn func(f *tapeFileJSON, path string) error) error {
	parts, err := db.PartsOnTape(ctx, tape)
	if err != nil {
		return err
	}
	of := map[int64][]catalog.TapePart{} // by copy
	var copies []int64
	for _, p := range parts {
		if of[p.Copy] == nil {
			copies = append(copies, p.Copy)
		}
		of[p.Copy] = append(of[p.Copy], p)
	}
	for _, id := range copies {
		if err := eachMemberOn(ctx, db, of[id], fn); err != nil {
			return err
		}
	}
	return nil
}

// eachMemberOn is eachTapeFile for the parts of one copy.
func eachMemberOn(ctx context.Context, db *catalog.DB, parts []catalog.TapePart, fn func(f *tapeFileJSON, path string) error) error {
	type member struct {
		v  catalog.Version
		at int64
	}
	var members []member // fn and Path ask the catalog while no rows are read
	if err := db.MembersOf(ctx, parts[0].Object, func(v *catalog.Version, at int64) error {
		members = append(members, member{*v, at})
		return nil
	}); err != nil {
		return err
	}
	for i := range members {
		m := &members[i]
		f := tapeFileJSON{Current: m.v.Current, Object: parts[0].OID}
		for i := range parts {
			if piece, ok := inventory.PieceIn(&parts[i].CopyPart, parts[i].PartSize, crypto.HeaderSize+m.at, dataSize(&m.v)); ok {
				f.Bytes += piece.Bytes
				f.Pieces = append(f.Pieces, piece)
			}
		}
		if len(f.Pieces) == 0 {
			continue
		}
		path, err := db.Path(ctx, m.v.ID)
		if err != nil {
			return err
		}
		f.entryJSON = entryOf(path, &m.v)
		if err := fn(&f, path); err != nil {
			return err
		}
	}
	return nil
}

// dataSize is how many bytes of a version lie in its object's stream, behind its header.
func dataSize(v *catalog.Version) int64 {
	if v.Kind != catalog.File {
		return 0
	}
	return v.Size
}
