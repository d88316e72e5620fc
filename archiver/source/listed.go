package source

import (
	"bytes"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/localfs"
)

// Listed streams a sorted listing with one entry of foresight. The marks of names that
// others are hard links to have become entry.first.
type Listed struct {
	s    *extsort.Sorter
	tree *localfs.Tree // of a source on this machine; nil for others
	key  []byte        // of the record taken from s last
	val  []byte
	more bool
	Head Entry
	Ok   bool
}

func NewListed(s *extsort.Sorter, t *localfs.Tree) (*Listed, error) {
	l := &Listed{s: s, tree: t}
	if err := l.pull(); err != nil {
		return nil, err
	}
	return l, l.Advance()
}

func (l *Listed) pull() error {
	k, v, ok, err := l.s.Next()
	l.key, l.val, l.more = append(l.key[:0], k...), append(l.val[:0], v...), ok
	return err
}

// Advance puts the next entry into head.
func (l *Listed) Advance() error {
	for l.more {
		key := string(l.key)
		e, found := Entry{}, false
		first := false
		var times []byte
		for l.more && string(l.key) == key {
			if bytes.Equal(l.val, LinkMark) {
				first = true
			} else if l.val[0] == timesMark {
				times = bytes.Clone(l.val)
			} else if !found {
				e, found = DecodeEntry(l.key, l.val), true
			}
			if err := l.pull(); err != nil {
				return err
			}
		}
		if found {
			e.First = first
			if times != nil {
				e.refine(times)
			}
			e.askTime(l.tree)
			l.Head, l.Ok = e, true
			return nil
		}
	}
	l.Ok = false
	return nil
}
