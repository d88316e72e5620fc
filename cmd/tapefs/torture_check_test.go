package main

import (
	"bufio"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// query reads rows of the catalog. No run is going on, or one that died.
func (w *tortured) query(text string) [][]any {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+w.path("state/catalog.db")+"?_pragma=query_only(1)&_pragma=busy_timeout(10000)")
	w.must(err)
	defer db.Close()
	rows, err := db.Query(text)
	w.must(err)
	defer rows.Close()
	columns, err := rows.Columns()
	w.must(err)
	var out [][]any
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		w.must(rows.Scan(into...))
		out = append(out, row)
	}
	w.must(rows.Err())
	return out
}

// openTape is a tape that the next run may write to: bytes on it, and the block that comes next.
type openTape struct {
	barcode    string
	used, next int64
}

func (w *tortured) openTapes() (tapes []openTape) {
	w.t.Helper()
	for _, r := range w.query(`SELECT t.barcode, t.used + t.leftover, coalesce((SELECT max(p.startblock + (p.size + 524287) / 524288)
		FROM copy_part p WHERE p.tape = t.id AND p.startblock >= 0), 5) FROM tape t WHERE t.state = 'open' AND t.uuid <> ''`) {
		tapes = append(tapes, openTape{r[0].(string), r[1].(int64), r[2].(int64)})
	}
	return tapes
}

// indexed is a file in the index of a virtual tape.
type indexed struct {
	data string // path of the file that has its bytes
	size int64
}

type indexEntry struct {
	Name     string       `json:"name"`
	Kind     string       `json:"kind"`
	Size     int64        `json:"size"`
	Data     string       `json:"data"`
	Children []indexEntry `json:"children"`
}

// tapeFolder is where the virtual library keeps a tape. A tape that was formatted while the library left the suffix of its labels out is
// in the catalog without it.
func (w *tortured) tapeFolder(barcode string) string {
	w.t.Helper()
	found, err := filepath.Glob(w.path("library/tapes/" + barcode + "*"))
	w.must(err)
	if len(found) != 1 {
		w.t.Fatalf("the tape %s is %d folders: %q", barcode, len(found), found)
	}
	return found[0]
}

// indexOf reads what the last index on a virtual tape lists, by path.
func (w *tortured) indexOf(barcode string) map[string]indexed {
	w.t.Helper()
	dir := w.tapeFolder(barcode)
	text, err := os.ReadFile(filepath.Join(dir, "index.json"))
	w.must(err)
	var x struct{ Root indexEntry }
	w.must(json.Unmarshal(text, &x))
	files := map[string]indexed{}
	var walk func(string, indexEntry)
	walk = func(at string, e indexEntry) {
		for _, c := range e.Children {
			name := path.Join(at, c.Name)
			if c.Kind == "file" {
				files[name] = indexed{filepath.Join(dir, "files", c.Data), c.Size}
			}
			walk(name, c)
		}
	}
	walk("", x.Root)
	return files
}

// believed compares what the catalog believes to be safe with what is on the tapes: each durable part is in its tape's
// index, with its size and its sum.
func (w *tortured) believed() (losses []string) {
	w.t.Helper()
	tapes := map[string]map[string]indexed{}
	for _, r := range w.query(`SELECT p.id, t.barcode, p.name, p.size, s.sha256 FROM copy_part p JOIN tape t ON t.id = p.tape
		JOIN copy c ON c.id = p.copy LEFT JOIN part s ON s.object = c.object AND s.number = p.number WHERE p.state = 2`) {
		id, barcode, name, size := r[0].(int64), r[1].(string), r[2].(string), r[3].(int64)
		if tapes[barcode] == nil {
			tapes[barcode] = w.indexOf(barcode)
		}
		f, ok := tapes[barcode][name]
		switch {
		case !ok:
			losses = append(losses, fmt.Sprintf("tape %s: %s is believed to be there and is not", barcode, name))
			continue
		case f.size != size:
			losses = append(losses, fmt.Sprintf("tape %s: %s has %d bytes, believed are %d", barcode, name, f.size, size))
			continue
		case w.proved[id] && w.r.IntN(20) > 0:
			continue
		}
		sum, err := sumOf(f)
		for errors.Is(err, fs.ErrNotExist) {
			// The ltfs of a run that was killed may write its last index now, and removes what only the one before it showed.
			shown := w.indexOf(barcode)[name]
			if shown == f {
				break
			}
			f = shown
			sum, err = sumOf(f)
		}
		if want, _ := r[4].([]byte); err != nil || string(want) != string(sum) {
			losses = append(losses, fmt.Sprintf("tape %s: %s has not the bytes that are believed (%v)", barcode, name, err))
			continue
		}
		w.proved[id] = true
	}
	return losses
}

// named wants for each durable part a durable manifest that is on its tape, with its mac, as far as the tape shows: without one a
// rebuild does not find the part.
func (w *tortured) named() (losses []string) {
	w.t.Helper()
	tapes := map[string]map[string]indexed{}
	there := map[string]bool{} // manifests by tape and name
	for _, r := range w.query(`SELECT p.name, o.barcode, t.barcode, m.name, coalesce(m.state, 0) FROM copy_part p JOIN copy c ON c.id = p.copy
		JOIN tape o ON o.id = p.tape LEFT JOIN manifest m ON m.id = p.manifest LEFT JOIN tape t ON t.id = m.tape WHERE p.state = 2 AND c.state = 3`) {
		part, on := r[0].(string), r[1].(string)
		barcode, isNamed := r[2].(string)
		if !isNamed || r[4].(int64) != 2 {
			losses = append(losses, fmt.Sprintf("tape %s: %s is durable, and no durable manifest names it", on, part))
			continue
		}
		if tapes[barcode] == nil {
			tapes[barcode] = w.indexOf(barcode)
		}
		name := r[3].(string)
		for _, file := range []string{name, strings.TrimSuffix(name, ".tar.enc") + ".mac"} {
			ok, known := there[barcode+file]
			if !known {
				f, listed := tapes[barcode][file]
				sum, err := sumOf(f)
				ok = listed && f.size > 0 && err == nil && len(sum) > 0
				there[barcode+file] = ok
			}
			if !ok {
				losses = append(losses, fmt.Sprintf("tape %s: %s is named by %s on tape %s, which has not %s", on, part, name, barcode, file))
			}
		}
	}
	return losses
}

func sumOf(f indexed) ([]byte, error) {
	h := sha256.New()
	if f.size == 0 {
		return h.Sum(nil), nil
	}
	in, err := os.Open(f.data)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if _, err := io.CopyN(h, in, f.size); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// quick compares catalog and sources after a run that said that all is done: every file is there as it is, in exactly
// the wanted copies, and nothing is left over from the trouble.
func (w *tortured) quick() (losses []string) {
	w.t.Helper()
	loss := func(format string, args ...any) { losses = append(losses, fmt.Sprintf(format, args...)) }
	losses = slices.Concat(w.believed(), w.named())

	listed := map[string]entryJSON{}
	lines := bufio.NewScanner(strings.NewReader(w.archive.run("ls", "--json", "-R", "/")))
	for lines.Scan() {
		var e entryJSON
		w.must(json.Unmarshal(lines.Bytes(), &e))
		listed[e.Path] = e
	}
	for _, e := range listed {
		kept := filepath.Join(w.path("source"), e.Path)
		if e.Vanished == nil && !exists(kept) {
			loss("%s is shown and the source has it not", e.Path)
		}
	}
	source := w.path("source")
	w.must(filepath.WalkDir(source, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == source {
			return err
		}
		name := strings.TrimPrefix(file, source)
		e, ok := listed[name]
		if !ok {
			loss("%s is not archived", name)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if kind := map[fs.FileMode]string{0: "file", fs.ModeDir: "directory", fs.ModeSymlink: "symlink"}[info.Mode().Type()]; kind != e.Kind ||
			kind == "file" && info.Size() != e.Size || !info.ModTime().Equal(e.MTime.Time()) || e.Vanished != nil {
			loss("%s is %s, %d bytes, %v; archived is %+v", name, kind, info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano), e)
		}
		return nil
	}))

	for _, c := range []struct{ what, text string }{
		{"copies are not durable", `SELECT c.id, c.state, o.oid FROM copy c JOIN object o ON o.id = c.object WHERE c.state < 3 AND o.state < 2`},
		{"parts are not settled", `SELECT p.id, p.state, p.name FROM copy_part p WHERE p.state < 2`},
		{"batches are not released", `SELECT id, state, dir FROM batch WHERE state < 2`},
		{"objects have more than one live copy in a pool", `SELECT object, pool, count(*) FROM copy WHERE state < 4 GROUP BY object, pool HAVING count(*) > 1`},
		{"parts are there twice", `SELECT copy, number, count(*) FROM copy_part WHERE state = 2 GROUP BY copy, number HAVING count(*) > 1`},
		{"durable copies lack parts", `SELECT c.id, o.oid, s.number FROM copy c JOIN object o ON o.id = c.object JOIN part s ON s.object = o.id
			WHERE c.state = 3 AND NOT EXISTS (SELECT 1 FROM copy_part p WHERE p.copy = c.id AND p.number = s.number AND p.state = 2)`},
		{"files have not the copies that are wanted", `SELECT v.id, v.name, count(DISTINCT c.pool) FROM version v
			LEFT JOIN member m ON m.version = v.data LEFT JOIN copy c ON c.object = m.object AND c.state = 3
			WHERE v.current = 1 AND v.kind = 1 AND v.vanished = 0 GROUP BY v.id
			HAVING count(DISTINCT c.pool) <> (WITH RECURSIVE up(id, parent) AS (SELECT v.id, v.parent UNION ALL
				SELECT x.id, x.parent FROM version x JOIN up ON x.id = up.parent WHERE x.id <> 1)
				SELECT CASE s.name WHEN 'far' THEN 2 ELSE 1 END FROM source s JOIN up ON up.id = s.root)`},
		{"versions are planned and never came", `SELECT id, name, state FROM version WHERE current = 1 AND state <> 1`},
		{"runs are said to be running", `SELECT id, kind, state FROM run WHERE state = 'running' AND id = (SELECT max(id) FROM run)`},
	} {
		if rows := w.query(c.text); len(rows) > 0 {
			loss("%d %s: %s", len(rows), c.what, strings.ReplaceAll(fmt.Sprintf("%s", rows[:min(len(rows), 5)]), "\n", " "))
		}
	}
	left, err := os.ReadDir(w.path("state/spool"))
	w.must(err)
	for _, e := range left {
		inside, _ := filepath.Glob(filepath.Join(w.path("state/spool"), e.Name(), "*"))
		if len(inside) > 0 {
			loss("the spool still has %s", e.Name())
		}
	}
	if mounts := mountsBelow(w.path("state/run")); len(mounts) > 0 {
		loss("still mounted: %v", mounts)
	}
	// Only the rsync of a run that was killed may take its time: it ends when it finds nobody at the other end of its pipe.
	for deadline := time.Now().Add(orphanLimit); ; time.Sleep(20 * time.Millisecond) {
		left := w.commandsOf(w.processes(""))
		late := time.Now().After(deadline)
		if len(left) == 0 {
			break
		}
		if late || slices.ContainsFunc(left, func(command string) bool { return !strings.Contains(command, "rsync") }) {
			loss("processes are left: %s", strings.Join(left, "; "))
			break
		}
	}
	return losses
}

// forgottenOnTape has the tapes told of what was forgotten since the last bytes came. No tape is loaded for names alone, so that
// restore.sh brings those files back before: docs/safe.md says so.
func (w *tortured) forgottenOnTape() {
	w.t.Helper()
	w.settling = true
	defer func() { w.settling = false }()
	waiting := func() bool {
		return len(w.query(`SELECT id FROM change WHERE kind = 'forget' AND id > (SELECT min(journalled) FROM pool)`)) > 0
	}
	for range settleRuns {
		if !waiting() {
			return
		}
		switch w.ends(w.launch(w.command("archive", "--now", "-v", "--accept-deletions"))) {
		case exitDone:
			if waiting() {
				w.loss("archive --now exits with 0, and no manifest names what was forgotten")
				return
			}
		case exitOperator:
			w.operate()
		default:
			w.trustTapes()
		}
	}
	w.loss("%d runs of archive --now did not write what was forgotten", settleRuns)
}

// restored compares what the tapes' own restore.sh brings back, with openssl and tar, from copies of all tapes.
func (w *tortured) restored() (losses []string) {
	w.t.Helper()
	w.forgottenOnTape()
	var barcodes []string
	for _, r := range w.query(`SELECT barcode FROM tape WHERE uuid <> '' ORDER BY number, barcode`) {
		barcodes = append(barcodes, r[0].(string))
	}
	work, err := os.MkdirTemp(w.dir, "restore-")
	w.must(err)
	defer os.RemoveAll(work)
	var dirs []string
	for _, barcode := range barcodes {
		dir := filepath.Join(work, "tapes", barcode)
		for name, f := range w.indexOf(barcode) {
			to := filepath.Join(dir, name)
			w.must(os.MkdirAll(filepath.Dir(to), 0o755))
			info, err := os.Stat(f.data)
			if err == nil && info.Size() == f.size && os.Link(f.data, to) == nil {
				continue
			}
			w.must(os.WriteFile(to, nil, 0o644))
			if f.size > 0 {
				w.must(copyPrefix(f.data, to, f.size))
			}
		}
		if exists(filepath.Join(dir, "restore.sh")) {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		return []string{"no tape has a restore.sh"}
	}
	target := filepath.Join(work, "restored")
	cmd := exec.Command("/bin/sh", append([]string{filepath.Join(dirs[0], "restore.sh"), w.path("state/keys"), target}, dirs...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=" + work}
	if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != 3 { // 3: of a tape that failed only some parts may be there
		losses = append(losses, fmt.Sprintf("restore.sh: %v\n%s", err, out))
	}
	if diff := differences(w.path("kept"), target, "--omit-dir-times"); diff != "" {
		losses = append(losses, "restored by restore.sh:\n"+diff)
	}
	return losses
}

// mounted compares what the mount shows. What is not in the cache comes from the tapes in their order first: rsync
// would go from tape to tape.
func (w *tortured) mounted() (losses []string) {
	w.t.Helper()
	w.archive.run("prefetch", "/far", "/near")
	mnt := w.archive.mount()
	if diff := differences(w.path("kept"), mnt); diff != "" {
		losses = append(losses, "seen through the mount:\n"+diff)
	}
	if out, err := exec.Command("umount", mnt).CombinedOutput(); err != nil {
		w.t.Fatalf("umount: %v\n%s", err, out)
	}
	for deadline := time.Now().Add(runLimit); processesNaming(w.dir); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, pid := range w.processes("") {
				syscall.Kill(pid, syscall.SIGQUIT) // prints its stacks
			}
			w.t.Fatalf("%s: the mount's process does not end", w.round)
		}
	}
	return losses
}

// differences lists what rsync sees, "" for none: type, size, bytes, mode, time, owner, links.
func differences(want, got string, more ...string) string {
	args := append([]string{"-aHnc", "--delete", "--itemize-changes", "--exclude=/lost+found"}, more...)
	out, err := exec.Command("rsync", append(args, want+"/", got+"/")...).CombinedOutput()
	var real []string
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if line != "" && !strings.HasSuffix(line, " ./") { // the top itself belongs to no source
			real = append(real, line)
		}
	}
	if err != nil {
		real = append(real, err.Error())
	}
	return strings.Join(real[:min(len(real), 40)], "\n")
}

func copyPrefix(from, to string, size int64) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.CopyN(out, in, size)
	return err
}
