package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// unkindTroubles are those of tapes that fail in silence, of what lies in the spool, and of a catalog that is put back.
func (w *tortured) unkindTroubles() []trouble {
	at := func(fault string) func() bool {
		return func() bool {
			_, places := w.writing()
			return w.faulty(places(fault, 12)...)
		}
	}
	return []trouble{
		{"write error told by close", at("close-eio")},
		{"write error that sticks", at("sticky-eio")},
		{"write error for good", at("write-perm")},
		{"sync lies", func() bool { return w.faulty("sync-lies") }},
		{"sync and unmount lie", func() bool { return w.faulty("sync-lies", "umount-lies") }},
		{"unmount lies", func() bool { w.faulty("umount-lies"); return true }},
		{"end of tape, and no sync", func() bool {
			used, _ := w.writing()
			return w.faulty("full-no-sync", fmt.Sprintf("enospc-after=%d", max(used+int64(w.r.IntN(4<<20)), 12<<20)))
		}},
		{"killed volume needs ltfsck", func() bool {
			w.fault("kill-needs-check")
			s := w.start()
			w.wait(s, func() bool { return len(w.processes(" ltfs ")) > 0 })
			w.pause(s, time.Duration(w.r.Int64N(int64(w.run1))))
			w.killTapefs(s)
			met := w.kill(" ltfs ")
			w.ends(s)
			return met
		}},
		{"mt eod fails", func() bool {
			w.fillTapes()
			return w.faulty("eod-eio")
		}},
		{"second pool late", func() bool {
			var faults []string
			for n := range w.tapes["OF"] {
				faults = append(faults, fmt.Sprintf("write-protect=OF%04dL8", n+1))
			}
			return w.faulty(faults...)
		}},
		{"content changed, time put back", func() bool { return w.changeInSecret() && w.ends(w.start()) == exitDone }},
		{"spool lost", func() bool { return w.hurtSpool(os.RemoveAll) }},
		{"spool rotten", func() bool { return w.hurtSpool(flipByte) }},
		{"older catalog put back", w.olderCatalog},
	}
}

// changeInSecret gives a file of the local source other bytes of the same size, and its time back.
func (w *tortured) changeInSecret() bool {
	w.t.Helper()
	w.ends(w.start()) // it is archived as it was before
	found, err := filepath.Glob(w.path("source/near/*/*"))
	w.must(err)
	for _, i := range w.r.Perm(len(found)) {
		info, err := os.Lstat(found[i])
		w.must(err)
		if !info.Mode().IsRegular() || info.Size() < 1000 {
			continue
		}
		w.must(flipByte(found[i]))
		w.must(os.Chtimes(found[i], info.ModTime(), info.ModTime()))
		w.forgetChanged()
		return true
	}
	return false
}

// flipByte changes one byte in the middle of a file.
func flipByte(name string) error {
	b, err := os.ReadFile(name)
	if err != nil || len(b) == 0 {
		return err
	}
	b = bytes.Clone(b)
	b[len(b)/2] ^= 0x40
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b[len(b)/2:len(b)/2+1], int64(len(b)/2))
	return err
}

// hurtSpool lets a run die when files wait in the spool, and does something to one or more of them.
func (w *tortured) hurtSpool(hurt func(string) error) bool {
	w.t.Helper()
	if w.ends(w.start("TAPEFS_FAILPOINT=pack")) != -1 {
		return false
	}
	var waiting []string
	w.must(filepath.WalkDir(w.path("state/spool"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && (strings.Contains(name, "/picture ") || strings.Contains(name, ".mp4") || strings.Contains(name, ".mkv")) {
			waiting = append(waiting, name)
		}
		return err
	}))
	for range min(len(waiting), 1+w.r.IntN(3)) {
		i := w.r.IntN(len(waiting))
		info, err := os.Stat(waiting[i])
		w.must(err)
		w.must(hurt(waiting[i]))
		if exists(waiting[i]) {
			w.must(os.Chtimes(waiting[i], info.ModTime(), info.ModTime()))
		}
		waiting = slices.Delete(waiting, i, i+1)
	}
	w.ends(w.start())
	return true
}

// olderCatalog puts the catalog back as it was before a run. Nothing may be written then, until rebuild has read what is newer.
func (w *tortured) olderCatalog() bool {
	w.t.Helper()
	older := w.path("older.db")
	w.must(os.RemoveAll(older))
	w.must(os.RemoveAll(older + ".json"))
	w.runs("catalog", "backup", older)
	if w.ends(w.start()) != exitDone {
		return false
	}
	w.keep() // the archive has it, whatever changes below
	for _, ending := range []string{"", "-wal", "-shm"} {
		w.must(os.RemoveAll(w.path("state/catalog.db" + ending)))
	}
	if out, err := exec.Command("cp", older, w.path("state/catalog.db")).CombinedOutput(); err != nil {
		w.t.Fatalf("%s: put the older catalog back: %v\n%s", w.round, err, out)
	}
	w.change(true)
	w.forgetChanged()
	told := w.ends(w.start()) == exitFailed
	w.runs("catalog", "rebuild")
	w.proved = map[int64]bool{} // rows have other numbers now
	return told
}
