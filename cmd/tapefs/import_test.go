package main

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the sum that tapebackup keeps
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// oldArchive is an archive of tapebackup, made by sqlite3 and openssl, on tapes of a virtual library.
type oldArchive struct {
	t    *testing.T
	a    *archive
	dir  string
	rows []string
	n    int
}

const oldPassphrase = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz00" + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz00"

func (o *oldArchive) sql(format string, args ...any) {
	o.rows = append(o.rows, fmt.Sprintf(format, args...)+";")
}

// seal puts a file as tapebackup would onto a tape, and its row into the database.
func (o *oldArchive) seal(id int, path string, content []byte, tape int, label string, deleted int) {
	o.t.Helper()
	o.n++
	name := fmt.Sprintf("%064d", o.n) + ".enc"
	plain := filepath.Join(o.dir, "plain")
	if err := os.WriteFile(plain, content, 0o600); err != nil {
		o.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(o.dir, label), 0o700); err != nil {
		o.t.Fatal(err)
	}
	sealed := filepath.Join(o.dir, label, name)
	out, err := exec.Command("openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "100000", "-in", plain, "-out", sealed, "-k", oldPassphrase).CombinedOutput()
	if err != nil {
		o.t.Fatalf("openssl: %s", out)
	}
	text, err := os.ReadFile(sealed)
	if err != nil {
		o.t.Fatal(err)
	}
	o.sql(`INSERT INTO file (id, filename, path, filename_encrypted, mtime, filesize, filesize_encrypted, md5sum_file, md5sum_encrypted, tape_id, downloaded, encrypted, written, deleted)
		VALUES (%d, '%s', '%s', '%s', '2015-03-04 05:06:07.500000', %d, %d, '%x', '%x', %d, 1, 1, 1, %d)`, id, filepath.Base(path), path, name, len(content), len(text),
		md5.Sum(content), md5.Sum(text), tape, deleted) //nolint:gosec // as above
}

const oldSchema = `CREATE TABLE config (id INTEGER PRIMARY KEY, name VARCHAR, value VARCHAR);
CREATE TABLE tape (id INTEGER PRIMARY KEY, label VARCHAR UNIQUE, full_date DATETIME, files_count INTEGER, end_of_data INTEGER, full BOOLEAN, verified_count INTEGER, verified_last DATETIME);
CREATE TABLE file (id INTEGER PRIMARY KEY, duplicate_id INTEGER REFERENCES file (id), filename VARCHAR, path VARCHAR UNIQUE, filename_encrypted VARCHAR UNIQUE, mtime DATETIME,
	filesize INTEGER, filesize_encrypted INTEGER, md5sum_file VARCHAR, md5sum_encrypted VARCHAR, tape_id INTEGER REFERENCES tape (id), downloaded_date DATETIME, encrypted_date DATETIME,
	written_date DATETIME, tapeposition INTEGER, downloaded BOOLEAN, encrypted BOOLEAN, written BOOLEAN, verified_count INTEGER, verified_last DATETIME, deleted BOOLEAN);
INSERT INTO config (name, value) VALUES ('version', '1');
INSERT INTO tape (id, label) VALUES (1, 'VT0002L8'), (2, 'VT0003L8'), (3, 'OLD001L4');
`

// write makes database and tapes.
func (o *oldArchive) write(db string) {
	o.t.Helper()
	cmd := exec.Command("sqlite3", "-bail", db)
	cmd.Stdin = strings.NewReader(oldSchema + "BEGIN;" + strings.Join(o.rows, "\n") + "COMMIT;")
	if out, err := cmd.CombinedOutput(); err != nil {
		o.t.Fatalf("sqlite3: %v\n%s", err, out)
	}
	lib := o.a.library()
	for _, label := range []string{"VT0002L8", "VT0003L8"} {
		loadByHand(o.t, lib, label)
		byHand(o.t, lib, "mkltfs", "-d", lib.Drives[0].Device, "-s", label[:6], "-n", label)
		dir := o.t.TempDir()
		o.t.Cleanup(func() { unmountBelow(dir) })
		byHand(o.t, lib, "ltfs", "-o", "devname="+lib.Drives[0].Device, dir)
		if out, err := exec.Command("sh", "-c", `cp "$0"/*.enc "$1"/`, filepath.Join(o.dir, label), dir).CombinedOutput(); err != nil {
			o.t.Fatalf("%s", out)
		}
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			o.t.Fatalf("umount: %s", out)
		}
		unmountBelow(dir)
	}
}

// tapeState is what lies on a tape, byte for byte, and its index; not how often it was loaded and where its head is.
func (o *oldArchive) tapeState(label string) string {
	o.t.Helper()
	out, err := exec.Command("sh", "-c", `cd "$0" && find . -type f ! -name meta.json ! -name position | sort | xargs md5sum`, o.a.path("library/tapes/"+label)).CombinedOutput()
	if err != nil {
		o.t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// An archive of tapebackup is read through the mount, by restore and by verify, without a byte written to its tapes.
func TestImportTapebackup(t *testing.T) {
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, "# include: [\"*\"]", `include: ["VT0001*"]`, 1)
	}, "--slots", "5", "--drives", "1", "--tape-size", "64MiB", "--source", "src="+t.TempDir())
	o := &oldArchive{t: t, a: a, dir: t.TempDir()}
	content := map[string][]byte{}
	random := func(name string, size int64) []byte {
		t.Helper()
		p := filepath.Join(o.dir, "random")
		writeRandom(t, p, size, byte(len(name)))
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		content[name] = b
		return b
	}
	o.seal(1, "photos/2015/beach.raw", random("photos/2015/beach.raw", 5<<20+7), 1, "VT0002L8", 0) // more than an extent
	o.seal(2, "/photos/it''s ü.jpg", random("photos/it's ü.jpg", 32), 1, "VT0002L8", 0)            // whole blocks: padding alone in the last
	o.seal(3, "films/gone.mkv", random("films/gone.mkv", 4<<20-16), 2, "VT0003L8", 1)              // ends with an extent but for the padding
	o.seal(4, "films/empty", random("films/empty", 0), 2, "VT0003L8", 0)
	o.seal(5, "films/bad.mkv", random("films/bad.mkv", 100_000), 2, "VT0003L8", 0)
	o.sql(`INSERT INTO file (id, duplicate_id, filename, path, mtime, filesize, written) VALUES (6, 1, 'x', 'copies/beach again.raw', '2016-01-02 03:04:05', %d, 0)`, 5<<20+7)
	o.sql(`INSERT INTO file (id, duplicate_id, filename, path, mtime, filesize) VALUES (7, 6, 'x', 'copies/and again', '2016-01-02 03:04:05', %d)`, 5<<20+7)
	content["copies/beach again.raw"], content["copies/and again"] = content["photos/2015/beach.raw"], content["photos/2015/beach.raw"]
	// Rows that have a path and the number of another row, and nothing else; also of one that is such a row itself, before and after it.
	o.sql(`INSERT INTO file (id, duplicate_id, filename, path) VALUES (30, 1, 'x', 'copies/bare')`)
	o.sql(`INSERT INTO file (id, duplicate_id, filename, path) VALUES (31, 32, 'x', 'copies/a bare chain')`)
	o.sql(`INSERT INTO file (id, duplicate_id, filename, path) VALUES (32, 30, 'x', 'copies/z bare chain')`)
	for _, name := range []string{"bare", "a bare chain", "z bare chain"} {
		content["copies/"+name] = content["photos/2015/beach.raw"]
	}
	o.seal(8, "photos/2015", []byte("a file that became a directory"), 1, "VT0002L8", 1)
	// What cannot be read.
	bad := func(id int, path, more, values string) {
		o.sql(`INSERT INTO file (id, path, mtime, filesize%s) VALUES (%d, '%s', '2015-03-04 05:06:07', 100%s)`, more, id, path, values)
	}
	sealed := ", filename_encrypted, filesize_encrypted, md5sum_encrypted, tape_id, written"
	values := func(n, tape int) string { return fmt.Sprintf(", '%064d.enc', 128, '%032d', %d, 1", n, n, tape) }
	bad(20, "waits", "", "")
	bad(21, "old/plain.tar", sealed, values(21, 3))
	bad(22, "../../etc/passwd", sealed, values(22, 1))
	bad(23, "bad/md5", sealed, strings.Replace(values(23, 1), "'00000000000000000000000000000023'", "'x'", 1))
	bad(24, "bad/name", sealed, strings.Replace(values(24, 1), ".enc", "/../x", 1))
	bad(25, "bad/size", sealed, strings.Replace(values(25, 1), "128", "129", 1))
	bad(27, "loop/a", ", duplicate_id", ", 28")
	bad(28, "loop/b", ", duplicate_id", ", 27")
	bad(29, "dup/of waits", ", duplicate_id", ", 20")
	o.sql(`INSERT INTO file (id, duplicate_id, filename, path) VALUES (33, 99, 'x', 'dangling')`)
	db := filepath.Join(t.TempDir(), "tapebackup ü?.db")
	o.write(db)
	// A damaged file: openssl would open it without a word.
	sealedBad := a.path("library/tapes/VT0003L8/files/" + fmt.Sprintf("%064d.enc", 5))
	f, err := os.OpenFile(sealedBad, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1, 2, 3}, 50_000); err != nil {
		t.Fatal(err)
	}
	f.Close()
	before := map[string]string{}
	for _, label := range []string{"VT0002L8", "VT0003L8"} {
		before[label] = o.tapeState(label)
	}

	key := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(key, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("not the passphrase at all")
	out := a.run("catalog", "import-tapebackup", db, "--key", key, "--timezone", "UTC", "--dry-run")
	if !strings.Contains(out, "would import 11 files as /tapebackup") || strings.Contains(a.run("ls", "/"), "tapebackup") {
		t.Fatalf("dry run: %s", out)
	}
	out = a.run("catalog", "import-tapebackup", db, "--key", key, "--timezone", "UTC")
	for _, want := range []string{
		"imported 11 files (11 new) as /tapebackup", "on 2 tapes (VT0002L8 VT0003L8)", "5 with the bytes of another, 2 deleted at the source, 10 not readable",
		"waits: it was never written to a tape", "old/plain.tar: tape OLD001L4 is LTO-4, which has no LTFS: tapebackup wrote it as plain tar",
		"../../etc/passwd: its path is not one", "bad/md5: the database has no MD5", "bad/name: its name on tape", "bad/size: 129 bytes sealed cannot be 100",
		"loop/a: it is a duplicate of row", "dangling: it is a duplicate of row 99, which is not there", "dup/of waits: its bytes are those of row 20: it was never written",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("import does not say %q:\n%s", want, out)
		}
	}
	if out := a.run("catalog", "check"); !strings.Contains(out, "the catalog is whole") {
		t.Errorf("catalog check: %s", out)
	}
	// A wrong passphrase is noticed by the padding, is no damage, and the right one can be given later.
	if out := a.fails(3, "restore", "/tapebackup/photos", "--to", a.path("none")); !strings.Contains(out, "failed") {
		t.Errorf("restore with a wrong passphrase: %s", out)
	}
	if out := a.run("status"); strings.Contains(out, "DAMAGED") {
		t.Errorf("a wrong passphrase is no damage:\n%s", out)
	}
	write(oldPassphrase)
	for _, want := range []string{"(0 new)", "(0 new)"} {
		if out := a.run("catalog", "import-tapebackup", db, "--key", key, "--timezone", "UTC"); !strings.Contains(out, want) {
			t.Errorf("again: %s", out)
		}
	}

	// Listing needs no tape; names, sizes, times, and what vanished.
	events := len(a.events(0))
	if out := a.run("ls", "-l", "/tapebackup/photos"); !strings.Contains(out, "it's ü.jpg") {
		t.Errorf("ls: %s", out)
	}
	if n := len(a.events(0)); n != events {
		t.Error("listing touched a tape")
	}
	mnt := a.mount()
	info, err := os.Stat(filepath.Join(mnt, "tapebackup/photos/2015/beach.raw"))
	if err != nil || info.Size() != 5<<20+7 || !info.ModTime().Equal(time.Date(2015, 3, 4, 5, 6, 7, 500_000_000, time.UTC)) {
		t.Errorf("%v, %v", info, err)
	}
	// From the middle, as a player does: only then is it known that all of it is good.
	got := make([]byte, 100)
	large, err := os.Open(filepath.Join(mnt, "tapebackup/photos/2015/beach.raw"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := large.ReadAt(got, 4<<20-50); err != nil || !bytes.Equal(got, content["photos/2015/beach.raw"][4<<20-50:][:100]) {
		t.Errorf("read in the middle: %v", err)
	}
	large.Close()
	for name, want := range content {
		b, err := os.ReadFile(filepath.Join(mnt, "tapebackup", name))
		if name == "films/bad.mkv" {
			if err == nil {
				t.Error("a damaged file was served")
			}
			continue
		}
		if err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
		}
	}
	a.unmount(mnt)

	// Its volume is known now, and its files have sums.
	var tapes []tapeJSON
	decode(t, a.run("tape", "list", "--json"), &tapes)
	for _, tape := range tapes {
		if tape.State != "foreign" || tape.UUID == "" {
			t.Errorf("tape %+v", tape)
		}
	}
	if out := a.fails(3, "restore", "/tapebackup", "--to", a.path("back")); !strings.Contains(out, "1") {
		t.Errorf("restore: %s", out)
	}
	for name, want := range content {
		if b, err := os.ReadFile(a.path("back/tapebackup/" + name)); name != "films/bad.mkv" && (err != nil || !bytes.Equal(b, want)) {
			t.Errorf("restore: %s: %v, %d bytes", name, err, len(b))
		}
	}
	out = a.fails(1, "verify", "--source", "tapebackup") // the bad one is known
	if !strings.Contains(out, "verified: 5 parts") || !strings.Contains(out, "damaged copies: 1") {
		t.Errorf("verify: %s", out)
	}
	if out := a.run("status"); !strings.Contains(out, "DAMAGED in tapebackup") {
		t.Errorf("status does not tell of the damaged file:\n%s", out)
	}
	a.run("catalog", "check", "--tapes")
	if out := a.fails(1, "tape", "format", "VT0002L8", "--erase", "VT0002L8"); !strings.Contains(out, "pool") {
		t.Errorf("format: %s", out)
	}
	if out := a.fails(1, "tape", "erase", "VT0002L8", "--lose-copies"); !strings.Contains(out, "only read") {
		t.Errorf("erase: %s", out)
	}
	a.fails(2, "tape", "check", "VT0002L8")
	for label, want := range before {
		if got := o.tapeState(label); got != want {
			t.Errorf("tape %s was written to:\n%s\n%s", label, want, got)
		}
	}
}

// A database of another version is refused and changes nothing.
func TestImportTapebackupVersion(t *testing.T) {
	a := newArchive(t, nil, "--slots", "1", "--drives", "1")
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"newer":   strings.Replace(oldSchema, "'version', '1'", "'version', '2'", 1),
		"none":    "CREATE TABLE x (y);",
		"unnamed": "CREATE TABLE config (id INTEGER, name TEXT, value TEXT);",
	} {
		db := filepath.Join(t.TempDir(), name)
		cmd := exec.Command("sqlite3", db)
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		if out := a.fails(1, "catalog", "import-tapebackup", db, "--key", key); !strings.Contains(out, "not a tapebackup database of schema version 1") || !strings.Contains(out, "hint:") {
			t.Errorf("%s: %s", name, out)
		}
	}
	if left, _ := filepath.Glob(a.path("state/keys/*.passphrase")); len(left) > 0 {
		t.Errorf("a passphrase was kept: %v", left)
	}
}
