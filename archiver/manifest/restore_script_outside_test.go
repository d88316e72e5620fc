package manifest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bareTar makes a tar stream of just these members, without the directories above them.
func bareTar(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		h.ModTime = time.Unix(1700000000, 0)
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		must(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte("evil"))
			must(t, err)
		}
	}
	must(t, w.Close())
	return out.Bytes()
}

// Names and links of objects, also of several that are unpacked one after the other, lead to nothing outside of the target,
// whoever made them; and no program gets its maker's rights.
func restoreOutside(t *testing.T, shell []string) {
	tape := newHandTape(t, volumeA, 1)
	k, keyFile := newTestKey(t, t.TempDir())
	outside, target := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "there"), []byte("mine"), 0o600))
	must(t, os.Symlink(outside, filepath.Join(target, "own"))) // one that was in the target before
	file := func(name string, mode int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}
	}
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}
	}
	up := strings.Repeat("../", strings.Count(target, "/")) + strings.TrimPrefix(outside, "/")
	for i, plain := range [][]byte{
		bareTar(t, link("src/way", outside), link("src/up", up), link("src/good", "one"), file("src/one", 0o644), file("src/suid", 0o6755)),
		bareTar(t, file("src/way/evil", 0o644), file("src/up/evil", 0o644), file("own/evil", 0o644), file(outside+"/evil", 0o644)),
		bareTar(t, tar.Header{Typeflag: tar.TypeLink, Name: "src/hard", Linkname: filepath.Join(outside, "there")}, file("src/hard", 0o644)),
		bareTar(t, file("src/way/there", 0o644), file("../../"+filepath.Base(outside)+"/evil", 0o644)),
		bareTar(t, file("src/last", 0o644)),
	} {
		tape.object(k, oid(i+1), sealObject(t, k, fmt.Sprintf("salt%04d", i), plain))
	}
	tape.list()
	// Each object gets a tar of its own, as when files of it were forgotten.
	var voids strings.Builder
	for i := range 5 {
		fmt.Fprintf(&voids, "%s src/none\n", oid(i+1))
	}
	tape.put(k, "manifest-"+volumeA+"-000001.tar.enc", sealObject(t, k, "saltmani", tarOf(t, map[string]string{"void.list": voids.String()})))
	tape.put(k, "manifest-"+volumeA+"-000001.mac", nil)
	if code, stderr := runScript(t, shell, filepath.Join(tape.dir, "restore.sh"), keyFile, target); code != 0 && code != 3 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	compare(t, outside, map[string]string{"there": "mine"})
	if info, err := os.Stat(filepath.Join(target, "src/suid")); err != nil || info.Mode() != 0o755 {
		t.Errorf("a set-uid program: %v, %v", info, err)
	}
	for _, name := range []string{"src/one", "src/last"} {
		if b, err := os.ReadFile(filepath.Join(target, name)); err != nil || string(b) != "evil" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if to, err := os.Readlink(filepath.Join(target, "src/good")); err != nil || to != "one" {
		t.Errorf("a symlink that leads nowhere else: %q, %v", to, err)
	}
	names, err := filepath.Glob(filepath.Join(target, ".*"))
	must(t, err)
	if len(names) > 0 {
		t.Errorf("left in the target: %q", names)
	}
}

// What was forgotten goes at its moment: others may have its bytes, and what took its name later stays.
func restoreGone(t *testing.T, shell []string) {
	tape := newHandTape(t, volumeA, 1)
	k, keyFile := newTestKey(t, t.TempDir())
	tape.object(k, oid(1), sealObject(t, k, "salt0001", tarOf(t, map[string]string{"src/old": "bytes", "src/taken": "first", "src/d/deep/f": "f", "src/odd \xff\n": "odd",
		"src/link": "->old", "src/stays": "stays"})))
	tape.object(k, oid(5), sealObject(t, k, "salt0005", tarOf(t, map[string]string{"src/taken": "again", "src/five": "5"})))
	tape.list()
	at := func(change int, path string) string {
		return fmt.Sprintf("- %s %d %s\n", oid(3), change, appendEscaped(nil, path))
	}
	gone := at(1, "src/old") + at(2, "src/taken") + at(3, "src/d/deep/f") + at(10, "src/d/deep/") + at(11, "src/d/") + at(4, "src/odd \xff\n") +
		at(5, "src/link") + at(6, "src/none") + at(7, "../../etc/none") + "- x 1 src/stays\n- " + oid(3) + " 8 $(touch x)\n"
	moved := fmt.Sprintf("%s src/new src/old\n%s src/later src/old\n", oid(2), oid(4)) // one before it was forgotten, one after
	tape.put(k, "manifest-"+volumeA+"-000001.tar.enc", sealObject(t, k, "saltmani", tarOf(t, map[string]string{"void.list": "", "meta.list": "", "moved.list": moved,
		"forget.list": "", "gone.list": gone})))
	tape.put(k, "manifest-"+volumeA+"-000001.mac", nil)
	target := t.TempDir()
	if code, stderr := runScript(t, shell, filepath.Join(tape.dir, "restore.sh"), keyFile, target); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	compare(t, target, map[string]string{"src/new": "bytes", "src/later": "bytes", "src/taken": "again", "src/five": "5", "src/stays": "stays"})
	if _, err := os.Lstat(filepath.Join(target, "src/d")); err == nil {
		t.Error("a forgotten directory came back")
	}
	if info, err := os.Stat(filepath.Join(target, "src")); err != nil || info.ModTime().UnixNano() != 1700000000123456789 {
		t.Errorf("the time of a directory in which something was forgotten: %v, %v", info, err)
	}
}
