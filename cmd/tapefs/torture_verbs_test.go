package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// verbTroubles are kills of other commands than archive: each is run again, and has to come to its end then.
func (w *tortured) verbTroubles() []trouble {
	return []trouble{
		{"kill repack", w.killRepack},
		{"kill heal", w.killHeal},
		{"kill forget", w.killForget},
		{"kill rebuild", w.killRebuild},
		{"catalog lost, kill rebuild", w.loseCatalog},
		{"kill restore", w.killRestore},
		{"kill verify", func() bool {
			w.settled()
			met := w.struck(nil, "verify")
			w.runs("verify")
			return met
		}},
	}
}

// struck runs a command and kills it at one of the failpoints or, without any, at a random moment.
func (w *tortured) struck(points []string, args ...string) bool {
	w.t.Helper()
	cmd := w.command(args...)
	if len(points) > 0 {
		cmd.Env = append(os.Environ(), "TAPEFS_FAILPOINT="+points[w.r.IntN(len(points))])
	}
	s := w.launch(cmd)
	if len(points) == 0 {
		w.pause(s, time.Duration(w.r.Int64N(int64(w.run1))))
		s.cmd.Process.Signal(syscall.SIGKILL)
	}
	return w.ends(s) == killed
}

// killRepack repacks a tape and is killed. The next repack goes on where that was.
func (w *tortured) killRepack() bool {
	w.t.Helper()
	w.settled()
	rows := w.query(`SELECT barcode FROM tape WHERE uuid <> '' AND state IN ('open', 'full') AND used > 0 ORDER BY barcode`)
	barcode := rows[w.r.IntN(len(rows))][0].(string)
	var points []string
	if w.r.IntN(2) == 0 {
		points = []string{"repack-begun", "repack-copied", "repack-journalled", "repack-opened", "repack-proved", "salt", "sync", "part-written", "manifest"}
	}
	met := w.struck(points, "tape", "repack", barcode)
	for range settleRuns {
		if code, _ := w.runs("tape", "repack", barcode); code == exitDone {
			return met
		}
		w.operate()
	}
	w.loss("%d repacks of tape %s did not end it", settleRuns, barcode)
	return met
}

// killHeal spoils objects that another pool has, and kills the run that makes them anew.
func (w *tortured) killHeal() bool {
	w.t.Helper()
	w.settled()
	rows := w.query(`SELECT t.barcode, p.name FROM copy_part p JOIN tape t ON t.id = p.tape JOIN copy c ON c.id = p.copy
		WHERE p.state = 2 AND c.state = 3 AND t.state IN ('open', 'full') AND EXISTS (SELECT 1 FROM copy d WHERE d.object = c.object AND d.pool <> c.pool AND d.state = 3) ORDER BY p.id`)
	for _, i := range w.r.Perm(len(rows))[:min(len(rows), 3)] {
		barcode, name := rows[i][0].(string), rows[i][1].(string)
		w.must(flipByte(w.indexOf(barcode)[name].data))
		fmt.Fprintf(&w.log, "--- a byte of %s on tape %s is another one now\n", name, barcode)
	}
	w.proved = map[int64]bool{}
	gone, _ := w.damaged() // before the catalog knows of it
	w.runs("verify")
	met := w.struck(nil, "archive", "--heal", "--accept-deletions", "-v")
	w.heals(gone)
	return met
}

// killForget lets go of a file that its source has no more.
func (w *tortured) killForget() bool {
	w.t.Helper()
	w.settled()
	var gone []string
	w.must(filepath.WalkDir(w.path("kept"), func(file string, d os.DirEntry, err error) error {
		name := strings.TrimPrefix(file, w.path("kept")+"/")
		if err == nil && d.Type().IsRegular() && !exists(filepath.Join(w.path("source"), name)) {
			gone = append(gone, name)
		}
		return err
	}))
	if len(gone) == 0 {
		return false
	}
	name := gone[w.r.IntN(len(gone))]
	cmd := w.command("forget", "--yes", "/"+name)
	s := w.launch(cmd)
	w.pause(s, time.Duration(w.r.Int64N(int64(60*time.Millisecond))))
	s.cmd.Process.Signal(syscall.SIGKILL)
	met := w.ends(s) == killed
	w.runs("forget", "--yes", "/"+name)
	w.must(os.RemoveAll(filepath.Join(w.path("kept"), name)))
	delete(w.vowed, name)
	return met
}

// killRebuild reads the tapes into a catalog that has it all, and is killed.
func (w *tortured) killRebuild() bool {
	w.t.Helper()
	w.settled()
	var args []string
	for _, barcode := range w.tapesOf("") {
		args = append(args, "--tape", barcode)
	}
	met := w.struck(w.rebuildPoints(), append([]string{"catalog", "rebuild"}, args...)...)
	w.runs(append([]string{"catalog", "rebuild"}, args...)...)
	w.proved = map[int64]bool{}
	return met
}

func (w *tortured) rebuildPoints() []string {
	if w.r.IntN(2) == 0 {
		return []string{"rebuild-manifest"}
	}
	return nil
}

// loseCatalog loses the catalog, and is killed while it is rebuilt. The archive lives on with what the next rebuild gives.
func (w *tortured) loseCatalog() bool {
	w.t.Helper()
	w.settled()
	for _, ending := range []string{"", "-wal", "-shm"} {
		w.must(os.RemoveAll(w.path("state/catalog.db" + ending)))
	}
	var args []string
	if w.r.IntN(2) == 0 {
		args = []string{"--no-snapshot"}
	}
	met := w.struck(w.rebuildPoints(), append([]string{"catalog", "rebuild"}, args...)...)
	w.runs(append([]string{"catalog", "rebuild"}, args...)...)
	w.proved = map[int64]bool{}
	if w.spoilt { // what was known of damage went with the catalog: reading finds it again
		gone, _ := w.damaged()
		w.heals(gone)
	}
	return met
}

// killRestore brings everything back, and again after it was killed.
func (w *tortured) killRestore() bool {
	w.t.Helper()
	w.settled()
	to := w.path("back")
	defer os.RemoveAll(to)
	args := []string{"restore", "--to", to, "/far", "/near"}
	met := w.struck(nil, args...)
	w.runs(args...)
	if diff := differences(w.path("kept"), to); diff != "" {
		w.loss("restored after a kill:\n%s", diff)
	}
	return met
}
