package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type receiptsCmd struct {
	Patterns []string `arg:"" optional:"" name:"path" help:"Only these: a pattern without a slash is held against names, another against paths of the archive and what lies below. Else all."`
	Since    moment   `help:"Only what was removed since: ${moment}." placeholder:"TIME"`
}

func (c *receiptsCmd) Run(ctx context.Context, a *app) error {
	_, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	out := bufio.NewWriter(a.stdout)
	var files, bytes int64
	err = archiver.Receipts(ctx, db, archiver.ReceiptFilter{Since: c.Since.Time, Patterns: c.Patterns}, func(full string, r archiver.ReceiptLine) error {
		files++
		bytes += r.Size
		if a.JSON {
			return ui.WriteJSONLine(out, r)
		}
		_, err := fmt.Fprintln(out, receiptText(full, r))
		return err
	})
	if err := errors.Join(err, out.Flush()); err != nil {
		return err
	}
	if !a.JSON {
		fmt.Fprintf(a.stderr, "%s, %s, removed after being safe\n", ui.Count(files, "file", "files"), ui.Bytes(bytes))
	}
	return nil
}

// receiptText is what people read: when, sum, size, path, and the tapes that were counted.
func receiptText(full string, r archiver.ReceiptLine) string {
	var tapes []string
	for _, c := range r.Verified {
		tapes = append(tapes, c.Tapes...)
	}
	slices.Sort(tapes)
	return fmt.Sprintf("%s  %-64s %14d  %s  (%s)", r.Removed.Local().Format(time.DateTime), ui.OrDash(r.SHA256), r.Size, ui.Printable(full),
		ui.OrDash(strings.Join(slices.Compact(tapes), " ")))
}
