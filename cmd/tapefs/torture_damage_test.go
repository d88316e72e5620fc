package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// damageTroubles are bytes that are not on a tape any more as they were written, and nobody said a word: they come out
// when they are read.
func (w *tortured) damageTroubles() []trouble {
	spoil := func(query string) func() bool {
		return func() bool { return w.spoil(query) }
	}
	return []trouble{
		{"bytes lost on tape", func() bool { return w.silent("lost-write") }},
		{"bytes wrong on tape", func() bool { return w.silent("wrong-write") }},
		{"spoilt object", spoil(`SELECT t.barcode, p.name FROM copy_part p JOIN tape t ON t.id = p.tape JOIN copy c ON c.id = p.copy
			WHERE p.state = 2 AND c.state = 3 AND t.state IN ('open', 'full') ORDER BY p.id`)},
		{"spoilt manifest", spoil(`SELECT t.barcode, m.name FROM manifest m JOIN tape t ON t.id = m.tape
			WHERE m.state = 2 AND t.state IN ('open', 'full') ORDER BY m.id`)},
		{"spoilt mac", spoil(`SELECT t.barcode, replace(m.name, '.tar.enc', '.mac') FROM manifest m JOIN tape t ON t.id = m.tape
			WHERE m.state = 2 AND t.state IN ('open', 'full') ORDER BY m.id`)},
		{"spoilt snapshot", spoil(`SELECT t.barcode, s.name FROM snapshot s JOIN tape t ON t.id = s.tape
			WHERE s.state = 2 AND t.state IN ('open', 'full') ORDER BY s.id`)},
	}
}

// silent lets a run write what comes back as other bytes, or not at all. safe --verified must not name a file before they
// were read back.
func (w *tortured) silent(fault string) bool {
	w.t.Helper()
	_, places := w.writing()
	w.fault(places(fault, 12)...)
	w.ends(w.start())
	w.clear()
	_, touched := w.damaged()
	for _, source := range []string{"far", "near"} {
		named, code := w.promised(source, w.path("source/"+source), "--verified")
		w.ended("safe", code)
		for name := range touched {
			if _, ok := named[name]; ok {
				w.loss("safe --verified names %s, of which a tape has other bytes that nobody has read back", name)
			}
		}
	}
	gone, _ := w.damaged()
	return w.heals(gone)
}

// spoil changes a byte in some of the files on tape that a query lists: one to three of them.
func (w *tortured) spoil(query string) bool {
	w.t.Helper()
	w.settled() // what is on tape is all that the sources have
	rows := w.query(query)
	var spoilt []string
	for _, i := range w.r.Perm(len(rows))[:min(len(rows), 1+w.r.IntN(3))] {
		barcode, name := rows[i][0].(string), rows[i][1].(string)
		f, ok := w.indexOf(barcode)[name]
		if !ok {
			w.loss("tape %s: %s is believed to be there and is not", barcode, name)
			continue
		}
		w.must(flipByte(f.data))
		spoilt = append(spoilt, name)
		fmt.Fprintf(&w.log, "--- a byte of %s on tape %s is another one now\n", name, barcode)
	}
	w.proved = map[int64]bool{}
	gone, _ := w.damaged()
	return w.heals(gone, spoilt...) && len(rows) > 0
}

// settled is settle in the middle of a round.
func (w *tortured) settled() {
	w.t.Helper()
	w.settle(strings.Join(w.kinds, " + "))
	w.keep()
	w.losses = append(w.losses, w.vow(true)...)
}

var saidLost = regexp.MustCompile(`its bytes are gone.* source=(far|near) path=("(?:[^"\\]|\\.)*"|\S+)`)

// heals reads all tapes, which must name the files on tape that were spoilt, and has healed what can be. A file may be lost for good
// then only if it is one of those of which no tape has the bytes, and the source has it no more, and not without a word.
func (w *tortured) heals(gone map[string]bool, spoilt ...string) bool {
	w.t.Helper()
	w.spoilt = true
	code, said := w.runs("verify")
	if len(gone) > 0 && code == exitDone {
		w.loss("tapes have other bytes than were written, and verify exits with 0")
	}
	unnamed := func() []string {
		return slices.DeleteFunc(slices.Clone(spoilt), func(name string) bool { return strings.Contains(said, strings.TrimSuffix(name, ".mac")) })
	}
	if len(unnamed()) > 0 { // it went on where an earlier one was cut short, and left out what had been read since then
		_, again := w.runs("verify")
		said += again
	}
	if left := unnamed(); len(left) > 0 {
		w.loss("a byte of each of these is another one, and verify does not name them: %q", left)
	}
	for range settleRuns {
		code, out := w.runs("archive", "--heal", "--accept-deletions", "-v")
		said += out
		if code == exitDone {
			break
		}
		w.operate()
	}
	lost := map[string]bool{}
	for _, m := range saidLost.FindAllStringSubmatch(said, -1) {
		name := m[1] + "/" + strings.Trim(m[2], `"`)
		if exists(filepath.Join(w.path("source"), name)) {
			continue // an older version of it
		}
		if !gone[name] {
			w.loss("%s is said to be lost, and a tape has its bytes", name)
		}
		lost[name] = true
	}
	for name := range lost {
		w.lost(name)
	}
	return code != exitDone
}

// lost takes a file for which nothing can be done any more out of what is expected.
func (w *tortured) lost(name string) {
	w.t.Helper()
	w.runs("forget", "--yes", "/"+name)
	w.must(os.RemoveAll(filepath.Join(w.path("kept"), name)))
	delete(w.vowed, name)
	w.all.lost(1)
}

// damaged compares all that the catalog believes to be on tape with the bytes there. It gives the files of which some part
// is good in no copy, and those of which some copy has a bad part.
func (w *tortured) damaged() (gone, touched map[string]bool) {
	w.t.Helper()
	type part struct{ object, number int64 }
	good, bad := map[part]bool{}, map[part]bool{}
	tapes := map[string]map[string]indexed{}
	for _, r := range w.query(`SELECT s.object, s.number, t.barcode, p.name, s.sha256 FROM copy_part p JOIN tape t ON t.id = p.tape
		JOIN copy c ON c.id = p.copy JOIN part s ON s.object = c.object AND s.number = p.number WHERE p.state = 2`) {
		at, barcode := part{r[0].(int64), r[1].(int64)}, r[2].(string)
		if tapes[barcode] == nil {
			tapes[barcode] = w.indexOf(barcode)
		}
		f, ok := tapes[barcode][r[3].(string)]
		sum, err := sumOf(f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.must(err)
		}
		if ok && bytes.Equal(sum, r[4].([]byte)) {
			good[at] = true
		} else {
			bad[at] = true
		}
	}
	lost, hit := map[int64]bool{}, map[int64]bool{}
	for at := range bad {
		hit[at.object] = true
		if !good[at] {
			lost[at.object] = true
		}
	}
	return w.filesOf(lost), w.filesOf(hit)
}

// filesOf are the paths, from the source on, of the files that have bytes in objects.
func (w *tortured) filesOf(objects map[int64]bool) map[string]bool {
	w.t.Helper()
	type dir struct {
		parent int64
		name   string
	}
	tree := map[int64]dir{}
	for _, r := range w.query(`SELECT id, parent, CAST(name AS TEXT) FROM version`) {
		tree[r[0].(int64)] = dir{r[1].(int64), r[2].(string)}
	}
	files := map[string]bool{}
	for _, r := range w.query(`SELECT m.object, v.id FROM member m JOIN version v ON v.data = m.version WHERE v.kind = 1`) {
		if !objects[r[0].(int64)] {
			continue
		}
		var names []string
		for id := r[1].(int64); id > 1; id = tree[id].parent {
			names = append(names, tree[id].name)
		}
		slices.Reverse(names)
		files[strings.Join(names, "/")] = true
	}
	return files
}
