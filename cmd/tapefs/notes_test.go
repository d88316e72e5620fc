package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Notes are for people. All are reworded again and again while tapes are repacked, erased, formatted, retired and rebuilt, and fail
// in a drive: everything ends as it does when nobody touches them.
func TestNotesDecideNothing(t *testing.T) {
	asWritten := noteJourney(t, "")
	reworded := noteJourney(t, "words of somebody else")
	all := strings.Join(asWritten, "\n")
	for _, state := range []string{"superseded repacked", "superseded repacking", "open formatting", "let go 1", "retired", "drive VTLDRV0001 ok 2", "drive VTLDRV0001 suspect 3"} {
		if !strings.Contains(all, state) {
			t.Errorf("nothing was ever %q", state)
		}
	}
	if !slices.Equal(asWritten, reworded) {
		t.Errorf("with the notes as they are written:\n%s\nreworded:\n%s", strings.Join(asWritten, "\n"), strings.Join(reworded, "\n"))
	}
}

// noteJourney brings tapes and a drive into every state that a note tells of, and out of it again. It returns what became of them.
// After each step all notes are replaced by words, unless that is empty.
func noteJourney(t *testing.T, words string) []string {
	var told []string
	pools := func(worn string) string {
		return "pools:\n" +
			"  main: {include: [\"VT000[1-3]*\"], format_blank: true}\n" +
			"  offsite: {include: [\"VT000[45]*\"], format_blank: true}\n" +
			"  worn: {include: [\"" + worn + "\"], format_blank: true}\n"
	}
	src, other := t.TempDir(), t.TempDir()
	a := newArchive(t, func(text string) string {
		before, after, _ := strings.Cut(text, "pools:\n")
		_, after, _ = strings.Cut(after, "\nsources:")
		text = before + pools("VT000[67]*") + "\nsources:" + after
		text = strings.Replace(text, "url: \""+src+"\"\n", "url: \""+src+"\"\n    copies: [main, offsite]\n", 1)
		return strings.Replace(text, "url: \""+other+"\"\n", "url: \""+other+"\"\n    copies: [worn]\n", 1)
	}, "--tape-size", "64MiB", "--slots", "10", "--drives", "1", "--source", "src="+src, "--source", "other="+other)
	step := func(point string, args ...string) {
		t.Helper()
		cmd := a.command(args...)
		cmd.Env = append(os.Environ(), "TAPEFS_FAILPOINT="+point)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		code := 0
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if point != "" && code != -1 {
			t.Fatalf("tapefs %v did not come to %s: %v\n%s", args, point, err, out)
		}
		told = append(told, fmt.Sprintf("tapefs %s: %d", strings.Join(args, " "), code))
		became := reword(t, a.path("state/catalog.db"), words)
		t.Logf("%s\n%s%s", told[len(told)-1], out, strings.Join(became, "\n"))
		told = append(told, became...)
	}
	writeRandom(t, filepath.Join(src, "film"), 3<<20, 1)
	step("", "archive", "src")
	step("", "tape", "repack", "VT0001L8")
	step("repack-begun", "tape", "repack", "VT0002L8")
	step("erase-forgotten", "tape", "erase", "VT0004L8", "--yes")
	step("mkltfs", "tape", "format", "VT0006L8")
	// Written to other tapes, with manifests that tell of all of these.
	writeRandom(t, filepath.Join(src, "second"), 1<<20, 2)
	step("", "archive", "src")
	if err := os.Rename(a.path("state/catalog.db"), a.path("lost.db")); err != nil {
		t.Fatal(err)
	}
	step("", "catalog", "rebuild", "--no-snapshot")

	step("", "tape", "repack", "--below", "1%")
	step("", "tape", "erase", "VT0004L8", "--yes")
	step("", "tape", "erase", "VT0001L8", "--yes")
	step("", "tape", "retire", "VT0002L8", "--reason", "worn out")
	step("", "tape", "retire", "VT0002L8")

	step("", "archive", "src") // writes manifests anew, so that the drive has nothing else to do below

	// A format that was cut short is brought to its end. Then two tapes fail in the drive in one run, a third in the next.
	writeRandom(t, filepath.Join(other, "film"), 12<<20, 3)
	var faults []string
	for _, barcode := range []string{"VT0006L8", "VT0007L8", "VT0008L8"} {
		for offset := 6 << 20; offset < 12<<20; offset += 512 << 10 { // one of them is where bytes are written, not between two files
			faults = append(faults, fmt.Sprintf("write-eio=%s:%d", barcode, offset))
		}
	}
	if err := a.library().Fault(faults...); err != nil {
		t.Fatal(err)
	}
	step("", "tape", "format", "VT0006L8")
	step("", "archive", "other")
	a.edit("VT000[67]*", "VT000[678]*")
	step("", "archive", "other")
	if err := a.library().Fault("clear"); err != nil {
		t.Fatal(err)
	}
	step("", "drive", "trust", "0")
	step("", "archive", "other")
	step("", "verify")
	step("", "catalog", "check")
	return told
}

// reword replaces all notes of a catalog by words, unless that is empty, and tells what else it has of tapes, drives and pools.
func reword(t *testing.T, path, words string) []string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if words != "" {
		if _, err := db.Exec(`UPDATE tape SET note = ?1 || ' ' || id; UPDATE drive SET note = ?1 || ' ' || serial`, words); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.Query(`SELECT 'tape ' || barcode || ' ' || state || ' ' || stage || ' volume ' || (uuid <> '') || ' let go ' || (emptied_uuid <> '') || ' used ' || used
			|| ' number ' || number FROM tape
		UNION ALL SELECT 'drive ' || serial || ' ' || state || ' ' || (SELECT count(*) FROM drive_failure f WHERE f.serial = drive.serial) FROM drive
		UNION ALL SELECT 'pool ' || name || ' journalled ' || (journalled > 0) FROM pool
		UNION ALL SELECT 'copies in ' || p.name || ' in state ' || c.state || ': ' || count(*) FROM copy c JOIN pool p ON p.id = c.pool GROUP BY p.name, c.state
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var told []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		told = append(told, "  "+line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return told
}
