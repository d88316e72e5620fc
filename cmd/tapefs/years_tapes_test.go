package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"github.com/tapefs/tapefs/changer/virtual"
)

func (y *years) tapes() (tapes []tapeJSON) {
	y.t.Helper()
	decode(y.t, y.archive.run("tape", "list", "--json"), &tapes)
	return tapes
}

// event is what somebody does to the archive after a run.
func (y *years) event(run int) {
	y.t.Helper()
	switch run % 5 {
	case 1:
		time.Sleep(2 * time.Millisecond) // until --vanished-before is after what vanished
		y.archive.run("forget", "--vanished-before", "1ms", "--keep-versions", "2", "--yes")
		y.sync("rsync", "-aH", "--delete", y.source+"/", y.model+"/")
		y.done["forget"]++
	case 2:
		y.repack(run)
	case 3:
		y.archive.run("key", "new")
		y.done["key"]++
	case 4:
		y.export(run)
	}
}

// tapeDir is where the virtual library has a tape: no place in it is outside of it.
func (y *years) tapeDir(barcode string) string { return y.archive.path("library/tapes/" + barcode) }

// used finds a tape of a pool that is in the library and holds something.
func (y *years) used(pool string) tapeJSON {
	y.t.Helper()
	tapes := y.tapes()
	for _, tape := range tapes {
		if tape.Pool == pool && (tape.State == "open" || tape.State == "full") && tape.Used > 0 && y.abroad[tape.Barcode] == 0 {
			return tape
		}
	}
	y.t.Fatalf("%s: no tape of pool %s is there: %+v", y.round, pool, tapes)
	return tapeJSON{}
}

// repack moves what lives on the first tape of a pool, every other time killed at some moment and run again. Then the
// tape is erased or retired.
func (y *years) repack(run int) {
	y.t.Helper()
	tape := y.used([]string{"main", "offsite"}[run/5%2])
	if run/5%2 == run/10%2 {
		y.killRepack(tape.Barcode)
	}
	began := time.Now()
	if i := slices.IndexFunc(y.tapes(), func(t tapeJSON) bool { return t.Barcode == tape.Barcode && t.State != "superseded" }); i >= 0 {
		y.archive.run("tape", "repack", tape.Barcode)
		y.repacking = time.Since(began)
	}
	y.done["repack"]++
	if run/5%3 == 2 {
		y.archive.run("tape", "retire", tape.Barcode)
		y.done["retire"]++
		return
	}
	y.archive.run("tape", "erase", tape.Barcode, "--yes")
	y.done["erase"]++
}

func (y *years) killRepack(barcode string) {
	y.t.Helper()
	cmd := y.archive.command("tape", "repack", barcode)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	y.must(cmd.Start())
	time.Sleep(time.Duration(y.r.Int64N(int64(y.repacking))))
	y.must(cmd.Process.Kill())
	if err := cmd.Wait(); err != nil {
		y.done["repack killed"]++
	}
}

// export brings a tape of a pool to the mail slot, from which it goes to a shelf for a few runs. What it holds is read from
// the other pool's tapes meanwhile.
func (y *years) export(run int) {
	y.t.Helper()
	tape := y.used([]string{"offsite", "main"}[run/5%2])
	y.archive.run("tape", "export", tape.Barcode, "--to", "shelf")
	y.must(os.Rename(y.tapeDir(tape.Barcode), filepath.Join(y.shelf, tape.Barcode)))
	y.must(y.lib.Remove(yearMail))
	y.abroad[tape.Barcode] = run + 1 + y.r.IntN(4) // before the next one goes: a tape of each pool may hold the two copies of a file
	y.done["export"]++
}

// comeBack imports the tapes whose time on the shelf is over.
func (y *years) comeBack(run int) {
	y.t.Helper()
	var due []string
	for barcode, when := range y.abroad {
		if when <= run {
			due = append(due, barcode)
		}
	}
	sort.Strings(due)
	for _, barcode := range due {
		y.must(y.lib.Add(yearMail, virtual.Cartridge{Barcode: barcode}))
		y.must(os.RemoveAll(y.tapeDir(barcode)))
		y.must(os.Rename(filepath.Join(y.shelf, barcode), y.tapeDir(barcode)))
		y.archive.run("tape", "import")
		delete(y.abroad, barcode)
		y.done["import"]++
	}
}
