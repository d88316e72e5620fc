package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// outcome is what became of a planned file when it was fetched. The values are the names of a run's counters.
type outcome string

const (
	arrived    outcome = ""           // as it was listed
	Vanished   outcome = "gone"       // between listing and fetch
	unreadable outcome = "unreadable" // it is there, and could not be read
	another    outcome = "became_other"
	shrunk     outcome = "cut_short"
	longer     outcome = "grown" // since it was listed: it is archived as it is now
)

const VanishedWhy = "it vanished after it was listed"

// looked is a planned file as it was found.
type looked struct {
	catalog.Fetched
	key linkKey
	outcome
	why string // what is said of it
}

// look compares a fetched file, or one that is read in place, with what was planned. Names of one inode share a key.
func look(t *localfs.Tree, it wanted, came *arrival, names *source.OwnerNames) looked {
	l := looked{Fetched: catalog.Fetched{Version: it.ID, Nlink: 1, Meta: catalog.Meta{Mode: it.Mode, Owner: it.Owner}}}
	info, err := t.Lstat(it.path)
	if err != nil {
		return came.missing(it, err)
	}
	if !came.within(it.path) {
		return l.lost(another, "its directory is none any more")
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return l.lost(unreadable, "no stat")
	}
	l.MTime = catalog.Time{Sec: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec)}
	if came == nil { // read in place
		l.Mode = st.Mode & 0o7777
		l.Owner = catalog.Owner{UID: st.Uid, GID: st.Gid}
		l.CTime, l.Ino = time.Unix(st.Ctim.Unix()).UTC(), st.Ino
	} else if it.MTime.Nsec != 0 || it.MTime.Sec != l.MTime.Sec {
		if it.MTime.KeptAs(l.MTime) { // the spool cannot hold the time that was listed
			l.MTime = it.MTime
		}
	}
	l.Owner = names.Complete(l.Owner)
	switch {
	case it.Kind == catalog.File && info.Mode().IsRegular():
		l.Size = info.Size()
		if st.Nlink > 1 {
			l.key = linkKey{it.object, uint64(st.Dev), st.Ino}
		}
		if came == nil {
			f, err := t.OpenFile(it.path)
			if err != nil {
				return l.lost(unreadable, localfs.ShortError(err))
			}
			f.Close()
		} else if sent, known := came.sizes[it.path]; known && sent != l.Size {
			l.Grew = true
		}
		switch {
		case l.Size < it.Size:
			l.outcome, l.why = shrunk, fmt.Sprintf("it was cut short: %d bytes were listed and %d found; it is archived as it is now", it.Size, l.Size)
		case l.Size > it.Size || l.Grew:
			l.outcome, l.why = longer, fmt.Sprintf("it grows: %d bytes were listed and %d found; it is archived as it is now, and taken again by the next run if it goes on", it.Size, l.Size)
		}
	case it.Kind == catalog.Symlink && info.Mode().Type() == fs.ModeSymlink:
		if l.Target, err = t.Readlink(it.path); err != nil {
			return l.lost(unreadable, localfs.ShortError(err))
		}
		l.Size = int64(len(l.Target))
	default:
		return l.lost(another, "it is no longer what was listed")
	}
	return l
}

// lost is what look says of a file that is not archived.
func (l looked) lost(o outcome, why string) looked {
	text := "not archived: it could not be read: " + why
	if o == another {
		text = "not archived: it became something else since it was listed: " + why
	}
	return looked{Fetched: catalog.Fetched{Version: l.Version, Gone: true}, outcome: o, why: text}
}

// missing judges a file that is not where it was to be.
func (c *arrival) missing(it wanted, err error) looked {
	l := looked{Fetched: catalog.Fetched{Version: it.ID}}
	gone := looked{Fetched: catalog.Fetched{Version: it.ID, Gone: true}, outcome: Vanished, why: VanishedWhy}
	if c == nil {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return gone
		case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
			return l.lost(another, "its directory is none any more")
		}
		return l.lost(unreadable, localfs.ShortError(err))
	}
	text := c.about[it.path]
	switch {
	case strings.Contains(text, "vanished"), strings.Contains(text, "No such file or directory"):
		return gone
	case text != "":
		return l.lost(unreadable, text)
	case c.partial:
		return l.lost(unreadable, "rsync did not bring it")
	case c.lacks:
		return gone
	}
	return l.lost(another, "rsync passed it over")
}

// tellOutcome names and counts a file that did not come as it was listed.
func (s fetcher) tellOutcome(ctx context.Context, run catalog.Run, src job.Source, path string, l *looked, counts map[string]int64) error {
	if l.outcome == arrived {
		return nil
	}
	counts[string(l.outcome)]++
	if l.outcome == Vanished || l.outcome == longer {
		return s.env.RunNote(ctx, run.ID, src.Name, path, l.why)
	}
	return s.env.RunError(ctx, run.ID, src.Name, path, l.why)
}
