package recall

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

// A file that waits in the spool, or is read where it always was, takes one descriptor, however often it is open. How many of them all
// users together have, and how many each, is bounded: the rest is for tapes, the cache and the catalog.

// spoolFile is such a file, open.
type spoolFile struct {
	*os.File
	id    catalog.ID
	users map[uint32]int // who has it open, and how often; protected by Queue.mu
	*spoolProof
}

// spoolBounds are how many spool files may be open at once, in all and by one user.
type spoolBounds struct{ all, user int }

// keptDescriptors are those that tapes, cache, catalog and programs need.
const keptDescriptors = 192

// maxSpoolFiles bounds them where descriptors are plenty.
const maxSpoolFiles = 1 << 16

// maxSpoolSums bounds the files whose block sums are made at once: each reads as fast as the disk gives.
const maxSpoolSums = 2

// maxSpoolReads bounds the reads of spool files that are under way: each takes a thread of the system, and a source that is read in
// place may hang.
const maxSpoolReads = 256

// spoolBoundsOf divides this process's limit of descriptors. (The Go runtime raised it to the hard limit when the process began.)
func spoolBoundsOf() spoolBounds {
	all := maxSpoolFiles
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < maxSpoolFiles {
		all = max(int(limit.Cur)-keptDescriptors, int(limit.Cur)/4)
	}
	return spoolBounds{all, max(all/2, 1)}
}

// shareSpool opens a version's bytes in the spool for a user, or takes part in those that are open already. Nil without an error: no batch
// has them. Each call that gives a file is undone by leaveShared.
func (q *Queue) shareSpool(loc catalog.Location, user uint32) (*spoolFile, error) {
	if loc.Batch == nil || loc.Batch.State != catalog.Synced {
		return nil, nil
	}
	id := loc.Version.ID
	q.mu.Lock()
	s := q.spoolFiles[id]
	err := q.chargeSpool(s, id, user)
	q.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if s != nil {
		if err := q.sameSpool(s, loc); err == nil {
			return s, nil
		}
		// It is no longer what was opened, and what is there now may be: whoever has it open keeps it.
		q.mu.Lock()
		if q.spoolFiles[id] == s {
			delete(q.spoolFiles, id)
		}
		q.mu.Unlock()
		if err := q.leaveShared(s, user); err != nil {
			return nil, err
		}
		return q.shareSpool(loc, user)
	}
	f, err := q.openSpool(loc)
	if err != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.unchargeSpool(user)
		return nil, err
	}
	s = &spoolFile{File: f, id: id, users: map[uint32]int{user: 1}, spoolProof: q.proofOf(loc)}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.spoolFiles[id] == nil { // else another one was opened at the same time, and both are used
		q.spoolFiles[id] = s
	}
	return s, nil
}

// sameSpool checks again what openSpool checked, and that the file was not removed since.
func (q *Queue) sameSpool(s *spoolFile, loc catalog.Location) error {
	var st unix.Stat_t
	err := unix.Fstat(int(s.Fd()), &st)
	if err == nil && st.Nlink == 0 {
		err = errChanged
	}
	if err == nil {
		err = unchanged(s.File, loc.Version.Size, loc.Version.MTime)
	}
	switch {
	case err != nil:
	case loc.Batch.Local:
		err = sameInode(s.File, &loc.Version)
	case s.size != loc.Version.Size || !bytes.Equal(s.sum, loc.Version.SHA256):
		err = errChanged
	}
	return err
}

// chargeSpool counts a descriptor for a user, who takes part in a file (nil: opens one). Called with the lock held, as unchargeSpool.
func (q *Queue) chargeSpool(s *spoolFile, id catalog.ID, user uint32) error {
	if s != nil && s.users[user] > 0 {
		s.users[user]++
		return nil
	}
	if q.spoolUsers[user] >= q.spoolBounds.user {
		return fmt.Errorf("open spool copy of version %d: user %d has %d of them open: %w", id, user, q.spoolUsers[user], unix.EMFILE)
	}
	if s == nil && q.spoolCount >= q.spoolBounds.all {
		return fmt.Errorf("open spool copy of version %d: %d of them are open: %w", id, q.spoolCount, unix.ENFILE)
	}
	q.spoolUsers[user]++
	if s == nil {
		q.spoolCount++
	} else {
		s.users[user] = 1
	}
	return nil
}

// unchargeSpool takes back what a file would have counted that could not be opened.
func (q *Queue) unchargeSpool(user uint32) {
	q.spoolCount--
	q.leaveUser(user)
}

func (q *Queue) leaveUser(user uint32) {
	if q.spoolUsers[user]--; q.spoolUsers[user] <= 0 {
		delete(q.spoolUsers, user)
	}
}

// leaveShared gives a file up; the last one closes it.
func (q *Queue) leaveShared(s *spoolFile, user uint32) error {
	q.mu.Lock()
	if s.users[user]--; s.users[user] <= 0 {
		delete(s.users, user)
		q.leaveUser(user)
	}
	last := len(s.users) == 0
	if last {
		q.spoolCount--
		if q.spoolFiles[s.id] == s {
			delete(q.spoolFiles, s.id)
		}
	}
	q.mu.Unlock()
	if !last {
		return nil
	}
	if err := s.File.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
