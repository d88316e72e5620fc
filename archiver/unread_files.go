package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/tapefs/tapefs/archiver/spool"
	"github.com/tapefs/tapefs/catalog"
)

// leaveAway gives a source up for this run because it cannot be read any more: what is still to be written of it waits there.
func (s *stock) leaveAway(source int64, why error) {
	if s.known.away[source] {
		return
	}
	s.known.away[source] = true
	name := s.sources[source].Name
	s.noted.Add(name, "", fmt.Errorf("source %s cannot be read any more: %w; what is still to be written of it stays there until a later run", name, why))
}

// giveUpUnread takes files out of an object because they cannot be read where they are, or are not any more what was listed. What else
// is in the object is written as planned. No tape is used for them.
func (s *stock) giveUpUnread(ctx context.Context, o catalog.PlannedObject, lost []spoolLoss) error {
	if err := s.toBePacked(ctx, o); err != nil {
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
		links, err := s.a.env.DB.DropSpooled(ctx, o.ID, ids, wait)
		if err != nil {
			return err
		}
		if err := s.noteVoided(ctx, links); err != nil {
			return err
		}
	}
	if err := s.a.env.DB.DropLinked(ctx, o.ID); err != nil {
		return err
	}
	counts := map[string]int64{}
	for _, l := range lost {
		if errors.Is(l.why, fs.ErrNotExist) {
			counts[string(spool.Vanished)]++
			if err := s.a.env.RunNote(ctx, s.run.ID, l.source, l.path, spool.VanishedWhy); err != nil {
				return err
			}
			continue
		}
		counts["void"]++
		s.noted.Add(l.source, l.path, fmt.Errorf("not archived this time: %w", l.why))
	}
	return s.a.env.DB.Count(ctx, s.run.ID, lost[0].source, counts)
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
