package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"tapefs/catalog"
)

// awayErrors are what a file system says of all its files when the server, the disk or the process behind it is gone. EIO is
// none: it is also what one bad sector gives.
var awayErrors = []error{syscall.ENOTCONN, syscall.ESTALE, syscall.ENODEV, syscall.ENXIO, syscall.ENOMEDIUM, syscall.ESHUTDOWN, syscall.EREMOTEIO, syscall.ENOLINK,
	syscall.ETIMEDOUT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.ENETRESET, syscall.ECONNABORTED, syscall.ECONNRESET,
	syscall.ECONNREFUSED}

// placeGone says why a source that is read in place cannot be read at all; nil if it is only the file that gave err. A source that does not
// answer within limit is gone, too.
func placeGone(ctx context.Context, b catalog.Batch, limit time.Duration, err error) error {
	if !b.Local {
		return nil
	}
	var silent *stallError
	if errors.As(err, &silent) {
		return err
	}
	for _, away := range awayErrors {
		if errors.Is(err, away) {
			return err
		}
	}
	answer := make(chan bool, 1) // a late one is nobody's
	terr := answered(ctx, limit, func() error {
		empty, err := topReadable(b.Dir)
		answer <- empty
		return err
	})
	if terr != nil {
		return terr
	}
	if empty := <-answer; empty && errors.Is(err, fs.ErrNotExist) { // most likely a place where nothing is mounted
		return fmt.Errorf("%s is empty", b.Dir)
	}
	return nil
}

// topReadable reads the beginning of a source's directory.
func topReadable(dir string) (empty bool, err error) {
	top, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer top.Close()
	if _, err = top.ReadDir(1); err == io.EOF {
		return true, nil
	}
	return false, err
}

// leaveAway gives a source up for this run because it cannot be read any more: what is still to be written of it waits there.
func (w *writer) leaveAway(source int64, why error) {
	if w.away[source] {
		return
	}
	w.away[source] = true
	name := w.sources[source].Name
	w.noted.Add(name, "", fmt.Errorf("source %s cannot be read any more: %w; what is still to be written of it stays there until a later run", name, why))
}

// giveUpUnread takes files out of an object because they cannot be read where they are, or are not any more what was listed. What else
// is in the object is written as planned. No tape is used for them.
func (w *writer) giveUpUnread(ctx context.Context, o catalog.PlannedObject, lost []spoolLoss) error {
	if err := w.toBePacked(ctx, o); err != nil {
		return err
	}
	for _, wait := range []catalog.Retry{catalog.TryAgain, catalog.TryLater} {
		var ids []catalog.ID
		for _, l := range lost {
			if retryOf(l.why) == wait {
				ids = append(ids, l.version.ID)
			}
		}
		if len(ids) == 0 {
			continue
		}
		links, err := w.a.env.DB.DropSpooled(ctx, o.ID, ids, wait)
		if err != nil {
			return err
		}
		if err := w.noteVoided(ctx, links); err != nil {
			return err
		}
	}
	if err := w.a.env.DB.DropLinked(ctx, o.ID); err != nil {
		return err
	}
	counts := map[string]int64{}
	for _, l := range lost {
		if errors.Is(l.why, fs.ErrNotExist) {
			counts[string(vanished)]++
			if err := w.a.env.RunNote(ctx, w.run.ID, l.source, l.path, vanishedWhy); err != nil {
				return err
			}
			continue
		}
		counts["void"]++
		w.noted.Add(l.source, l.path, fmt.Errorf("not archived this time: %w", l.why))
	}
	return w.a.env.DB.Count(ctx, w.run.ID, lost[0].source, counts)
}

// retryOf says when a file that could not be read is tried again. One that cannot be read though it is what was listed will most
// likely not be readable tomorrow.
func retryOf(why error) catalog.Retry {
	for _, e := range []error{syscall.EIO, syscall.EUCLEAN, syscall.EBADMSG, syscall.EACCES, syscall.EPERM} {
		if errors.Is(why, e) {
			return catalog.TryLater
		}
	}
	return catalog.TryAgain
}
