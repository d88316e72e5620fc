package manifest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
)

// handTape is a tape's directory, made by hand.
type handTape struct {
	t     *testing.T
	dir   string
	label volume.Label
	seq   int
	sums  *scratch
}

const (
	volumeA = "11111111-2222-3333-4444-555555555555"
	volumeB = "aaaaaaaa-2222-3333-4444-555555555555"
)

func newHandTape(t *testing.T, vol string, number int) *handTape {
	t.Helper()
	h := &handTape{t: t, dir: filepath.Join(t.TempDir(), fmt.Sprintf("tape %d", number))}
	h.label = volume.Label{Catalog: "cccccccc-0000-0000-0000-000000000000", Volume: vol, Pool: "main", Number: number, Barcode: fmt.Sprintf("VT%04dL8", number), Version: "1.0"}
	must(t, os.MkdirAll(filepath.Join(h.dir, "tapefs"), 0o755))
	must(t, volume.WriteTapeTexts(h.dir, h.label))
	h.sums, _ = newScratch(t.TempDir())
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// oid is an object id made at a millisecond.
func oid(ms int) string { return fmt.Sprintf("%012x%020x", ms, ms*7) }

// sealObject returns sealed bytes of a tar stream.
func sealObject(t *testing.T, k *crypto.Key, salt string, plain []byte) []byte {
	t.Helper()
	s, err := k.Stream([]byte(salt))
	must(t, err)
	var out bytes.Buffer
	w, err := s.NewWriter(&out)
	must(t, err)
	_, err = w.Write(plain)
	must(t, err)
	return out.Bytes()
}

// put writes a file below the key's folder.
func (h *handTape) put(k *crypto.Key, name string, b []byte) string {
	h.t.Helper()
	name = path.Join(keyFolder(k.Fingerprint()), name)
	must(h.t, os.MkdirAll(filepath.Dir(filepath.Join(h.dir, name)), 0o755))
	must(h.t, os.WriteFile(filepath.Join(h.dir, name), b, 0o644))
	return name
}

// object writes all of an object here, in one part, and lists it.
func (h *handTape) object(k *crypto.Key, id string, sealed []byte) {
	h.t.Helper()
	h.sums.object(catalog.Object{OID: id, SealedSize: int64(len(sealed)), PartSize: 1 << 30, State: catalog.ObjectPacked}, k.Fingerprint())
	h.part(k, id+".tar.enc", sealed)
}

func (h *handTape) part(k *crypto.Key, name string, b []byte) {
	h.t.Helper()
	sum := sha256.Sum256(b)
	h.sums.here(sum[:], h.put(k, name, b))
}

// list writes what SHA256SUMS has so far.
func (h *handTape) list() {
	h.t.Helper()
	h.seq++
	var out bytes.Buffer
	out.WriteString(sumsHead(h.label.Volume, h.seq))
	must(h.t, h.sums.copyTo(&out))
	must(h.t, os.WriteFile(filepath.Join(h.dir, sumsName(h.seq)), out.Bytes(), 0o644))
	h.sums, _ = newScratch(h.t.TempDir())
}

// tarOf makes a tar stream with parent directories, as objects have. A value that begins with "->" is a
// symlink, "=" a hard link.
func tarOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var names []string
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	made := map[string]bool{}
	when := time.Unix(1700000000, 123456789)
	for _, name := range names {
		for i := range name {
			if dir := name[:i+1]; name[i] == '/' && !made[dir] {
				made[dir] = true
				must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: when, Format: tar.FormatPAX}))
			}
		}
		body := files[name]
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o640, Size: int64(len(body)), ModTime: when, Format: tar.FormatPAX}
		if target, ok := strings.CutPrefix(body, "->"); ok {
			h.Typeflag, h.Linkname, h.Size, body = tar.TypeSymlink, target, 0, ""
		} else if target, ok := strings.CutPrefix(body, "="); ok {
			h.Typeflag, h.Linkname, h.Size, body = tar.TypeLink, target, 0, ""
		}
		must(t, w.WriteHeader(h))
		_, err := w.Write([]byte(body))
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

func newTestKey(t *testing.T, dir string) (*crypto.Key, string) {
	t.Helper()
	k, err := crypto.NewKey()
	must(t, err)
	file := filepath.Join(dir, k.Fingerprint()+".key")
	must(t, k.Save(file))
	return k, file
}

// shells are those the script must work in.
func shells(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{"sh": {"sh"}}
	sh, _ := filepath.EvalSymlinks("/bin/sh")
	if dash, err := exec.LookPath("dash"); err == nil && filepath.Base(sh) != "dash" {
		all["dash"] = []string{dash}
	}
	if box, err := exec.LookPath("busybox"); err == nil {
		all["busybox"] = []string{box, "sh"}
	}
	return all
}

// runScript runs a tape's restore.sh and returns exit code and stderr.
func runScript(t *testing.T, shell []string, script string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(shell[0], append(append(shell[1:], script), args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if _, exit := err.(*exec.ExitError); err != nil && !exit {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(cmd.Env[len(cmd.Env)-2][len("TMPDIR="):]); len(left) > 0 {
		t.Errorf("restore.sh left %v behind", left)
	}
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// compare checks a directory against what it should hold, hard links as their content.
func compare(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.Type()&os.ModeSymlink != 0 {
			target, err := os.Readlink(p)
			got[name] = "->" + target
			return err
		}
		b, err := os.ReadFile(p)
		got[name] = string(b)
		return err
	})
	must(t, err)
	for name, body := range want {
		if have, ok := got[name]; !ok || have != body {
			t.Errorf("%q: %d bytes, there: %v; want %d", name, len(have), ok, len(body))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%q should not be there", name)
		}
	}
}

// oddNames come back through a shell as they are.
var oddNames = map[string]string{
	"src/plain": "plain", "src/a b": "blank", "src/a\nb": "newline", "src/-rf": "dash", "src/'\"`$(id)": "quotes",
	"src/*?[x]": "glob", "src/back\\slash": "backslash", "src/\xff\xfe": "bytes", "src/ü": "umlaut", "src/co:lon": "colon",
	"src/end ": "blank at the end", "src/sub/-x/\\n": "deep", "src/link": "->-rf", "src/" + strings.Repeat("l", 255): "long", "src/empty": "",
}

func TestRestore(t *testing.T) {
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("one tape", func(t *testing.T) { restoreOne(t, shell) })
			t.Run("two keys", func(t *testing.T) { restoreTwoKeys(t, shell) })
			t.Run("spanning", func(t *testing.T) { restoreSpanning(t, shell) })
			t.Run("damage", func(t *testing.T) { restoreDamage(t, shell) })
			t.Run("void", func(t *testing.T) { restoreVoid(t, shell) })
			t.Run("forgotten", func(t *testing.T) { restoreForgotten(t, shell) })
			t.Run("metadata", func(t *testing.T) { restoreMeta(t, shell) })
			t.Run("leftover", func(t *testing.T) { restoreLeftover(t, shell) })
			t.Run("healed", func(t *testing.T) { restoreHealed(t, shell) })
			t.Run("healed late", func(t *testing.T) { restoreHealedLate(t, shell) })
			t.Run("by hand", func(t *testing.T) { restoreByHand(t, shell) })
			t.Run("hostile", func(t *testing.T) { restoreHostile(t, shell) })
			t.Run("outside", func(t *testing.T) { restoreOutside(t, shell) })
			t.Run("gone", func(t *testing.T) { restoreGone(t, shell) })
		})
	}
}

func restoreOne(t *testing.T, shell []string) {
	tape, target := newHandTape(t, volumeA, 1), filepath.Join(t.TempDir(), "-new 'target")
	k, keyFile := newTestKey(t, t.TempDir())
	tape.object(k, oid(1), sealObject(t, k, "salt0001", tarOf(t, oddNames)))
	tape.object(k, oid(2), sealObject(t, k, "salt0002", tarOf(t, map[string]string{"src/plain": "newer", "src/x": "twin", "src/y": "=src/x"})))
	tape.list()
	// Not listed yet, but whole: taken too.
	tape.put(k, oid(3)+".tar.enc", sealObject(t, k, "salt0003", tarOf(t, map[string]string{"src/late": "late"})))

	code, stderr := runScript(t, shell, filepath.Join(tape.dir, "restore.sh"), keyFile, target)
	want := map[string]string{"src/late": "late", "src/x": "twin", "src/y": "twin"}
	for n, body := range oddNames {
		want[n] = body
	}
	want["src/plain"] = "newer"
	if n := strings.Count(stderr, "not in SHA256SUMS"); n != 1 {
		t.Errorf("%d objects not in SHA256SUMS, 1 is not: %s", n, stderr)
	}
	if code != 0 || !strings.Contains(stderr, "object 3 of 3") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	compare(t, target, want)
	info, err := os.Stat(filepath.Join(target, "src/plain"))
	must(t, err)
	if info.Mode().Perm() != 0o640 || info.ModTime().UnixNano() != 1700000000123456789 {
		t.Errorf("mode %v, time %v", info.Mode(), info.ModTime())
	}
	if info, err := os.Stat(filepath.Join(target, "src")); err != nil || info.ModTime().UnixNano() != 1700000000123456789 {
		t.Errorf("directory: %v, %v", info, err)
	}

	// A wrong key writes nothing, be it another one or one that only has the right name.
	_, other := newTestKey(t, t.TempDir())
	none := filepath.Join(t.TempDir(), "none")
	code, stderr = runScript(t, shell, filepath.Join(tape.dir, "restore.sh"), other, none)
	if _, err := os.Stat(none); code != 1 || !strings.Contains(stderr, "wrong key") || !strings.Contains(stderr, k.Fingerprint()) || err == nil {
		t.Errorf("wrong key: exit %d, target %v: %s", code, err, stderr)
	}
	lie := newHandTape(t, volumeB, 2)
	k2, _ := newTestKey(t, t.TempDir())
	lie.put(k, oid(1)+".tar.enc", sealObject(t, k2, "salt0001", tarOf(t, oddNames)))
	code, stderr = runScript(t, shell, filepath.Join(lie.dir, "restore.sh"), keyFile, none)
	if _, err := os.Stat(none); code != 1 || !strings.Contains(stderr, "wrong key") || err == nil {
		t.Errorf("key with the right name: exit %d, target %v: %s", code, err, stderr)
	}
	if code, _ := runScript(t, shell, filepath.Join(tape.dir, "restore.sh"), keyFile); code != 2 {
		t.Errorf("no target: exit %d", code)
	}
	if code, stderr := runScript(t, shell, filepath.Join(tape.dir, "restore.sh"), keyFile, none, t.TempDir()); code != 1 || !strings.Contains(stderr, "not mounted") {
		t.Errorf("no tape: exit %d: %s", code, stderr)
	}
}

func restoreTwoKeys(t *testing.T, shell []string) {
	tape, keys := newHandTape(t, volumeA, 1), t.TempDir()
	a, fileA := newTestKey(t, keys)
	b, _ := newTestKey(t, keys)
	// Objects of both keys in turn: name order counts, not the folder's.
	tape.object(a, oid(1), sealObject(t, a, "salt0001", tarOf(t, map[string]string{"src/f": "1", "src/a": "a"})))
	tape.object(b, oid(2), sealObject(t, b, "salt0002", tarOf(t, map[string]string{"src/f": "2", "src/b": "b"})))
	tape.object(a, oid(3), sealObject(t, a, "salt0003", tarOf(t, map[string]string{"src/f": "3"})))
	tape.list()
	script := filepath.Join(tape.dir, "restore.sh")
	target := t.TempDir()
	if code, stderr := runScript(t, shell, script, keys, target, tape.dir); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	compare(t, target, map[string]string{"src/f": "3", "src/a": "a", "src/b": "b"})
	target = t.TempDir()
	if code, stderr := runScript(t, shell, script, fileA, target); code != 3 || !strings.Contains(stderr, "no key for fingerprint "+b.Fingerprint()) {
		t.Errorf("one key of two: exit %d: %s", code, stderr)
	}
	compare(t, target, map[string]string{"src/f": "3", "src/a": "a"})
}

// An object whose parts lie on two tapes, with an abandoned part on the first.
func restoreSpanning(t *testing.T, shell []string) {
	one, two := newHandTape(t, volumeA, 1), newHandTape(t, volumeB, 2)
	k, keyFile := newTestKey(t, t.TempDir())
	big := map[string]string{"src/big": strings.Repeat("0123456789abcdef", 60000)}
	sealed := sealObject(t, k, "saltbig1", tarOf(t, big))
	const grid = 400000
	parts := [][]byte{sealed[:grid], sealed[grid : 2*grid], sealed[2*grid:]}
	name := func(n int) string { return fmt.Sprintf("%s.tar.enc.%04d", oid(2), n+1) }

	one.object(k, oid(1), sealObject(t, k, "salt0001", tarOf(t, map[string]string{"src/one": "1"})))
	one.part(k, name(0), parts[0])
	one.list() // while nobody knows yet how many parts there will be
	one.put(k, name(1), parts[1][:1000])
	two.sums.object(catalog.Object{OID: oid(2), SealedSize: int64(len(sealed)), PartSize: grid, State: catalog.ObjectPacked}, k.Fingerprint())
	sum := sha256.Sum256(parts[0])
	two.sums.elsewhere(sum[:], catalog.CopyPart{Name: path.Join(keyFolder(k.Fingerprint()), name(0))}, catalog.Tape{Barcode: "VT0001L8", Number: 1, UUID: volumeA})
	two.part(k, name(1), parts[1])
	two.part(k, name(2), parts[2])
	two.object(k, oid(3), sealObject(t, k, "salt0003", tarOf(t, map[string]string{"src/three": "3"})))
	two.list()

	all := map[string]string{"src/one": "1", "src/three": "3", "src/big": big["src/big"]}
	script := filepath.Join(one.dir, "restore.sh")
	for _, check := range []string{"--check", "--"} {
		target := t.TempDir()
		if code, stderr := runScript(t, shell, script, check, keyFile, target, one.dir, two.dir); code != 0 || !strings.Contains(stderr, "object 3 of 3") {
			t.Errorf("both, %s: exit %d: %s", check, code, stderr)
		}
		compare(t, target, all)
	}

	// Each tape alone: what is whole comes, the rest is named.
	target := t.TempDir()
	code, stderr := runScript(t, shell, script, keyFile, target, two.dir)
	if code != 3 || !strings.Contains(stderr, oid(2)) || !strings.Contains(stderr, "lacks 1, which lies on tape VT0001L8)") ||
		!strings.Contains(stderr, "TAPE VT0001L8 IS NEEDED, TOO") {
		t.Errorf("second tape alone: exit %d: %s", code, stderr)
	}
	compare(t, target, map[string]string{"src/three": "3"})
	code, stderr = runScript(t, shell, script, keyFile, target, one.dir)
	if code != 3 || !strings.Contains(stderr, oid(2)) || !strings.Contains(stderr, "on a tape with a higher number") {
		t.Errorf("first tape alone: exit %d: %s", code, stderr)
	}
	compare(t, target, map[string]string{"src/one": "1", "src/three": "3"})

	// One drive: the tape that comes next is named.
	code, stderr = runScript(t, shell, script, "--parts", t.TempDir(), keyFile, t.TempDir(), two.dir)
	if code != 3 || !strings.Contains(stderr, "INSERT TAPE VT0001L8 next") {
		t.Errorf("second tape first: exit %d: %s", code, stderr)
	}

	// Pieces are collected between runs.
	target, pieces := t.TempDir(), filepath.Join(t.TempDir(), "pieces")
	code, stderr = runScript(t, shell, script, "--parts", pieces, keyFile, target, one.dir)
	if code != 3 || !strings.Contains(stderr, "collecting") {
		t.Errorf("pieces, first tape: exit %d: %s", code, stderr)
	}
	compare(t, target, map[string]string{"src/one": "1"})
	code, stderr = runScript(t, shell, script, "--parts="+pieces, keyFile, target, two.dir)
	if code != 0 {
		t.Errorf("pieces, second tape: exit %d: %s", code, stderr)
	}
	compare(t, target, all)
	left, err := filepath.Glob(filepath.Join(pieces, "*/tapefs/*/*"))
	must(t, err)
	for _, f := range left {
		if !strings.HasSuffix(f, name(1)) { // the abandoned piece tells nobody that it is useless
			t.Errorf("%s was left in the folder of pieces", f)
		}
	}
}

func restoreDamage(t *testing.T, shell []string) {
	tape := newHandTape(t, volumeA, 1)
	k, keyFile := newTestKey(t, t.TempDir())
	one := sealObject(t, k, "salt0001", tarOf(t, map[string]string{"src/one": "1"}))
	two := sealObject(t, k, "salt0002", tarOf(t, map[string]string{"src/two": "2", "src/zwei": strings.Repeat("2", 5000)}))
	three := sealObject(t, k, "salt0003", tarOf(t, map[string]string{"src/three": "3"}))
	tape.object(k, oid(1), one)
	tape.object(k, oid(2), two)
	tape.object(k, oid(3), three)
	tape.list()
	script := filepath.Join(tape.dir, "restore.sh")
	run := func(what string, want map[string]string, args ...string) {
		t.Helper()
		target := t.TempDir()
		code, stderr := runScript(t, shell, script, append(args, keyFile, target)...)
		if code != 3 || !strings.Contains(stderr, oid(2)) {
			t.Errorf("%s: exit %d: %s", what, code, stderr)
		}
		compare(t, target, want)
	}
	others := map[string]string{"src/one": "1", "src/three": "3"}
	tape.put(k, oid(2)+".tar.enc", two[:4000])
	run("cut off", others)
	flipped := bytes.Clone(two)
	flipped[3000] ^= 1
	tape.put(k, oid(2)+".tar.enc", flipped)
	run("a flipped bit, with --check", others, "--check")
	// Without --check all is unpacked, and the damage is named.
	torn := bytes.Clone(two)
	torn[len(torn)-1024-5120+100] ^= 1 // in the bytes of zwei, before the padding and the end
	tape.put(k, oid(2)+".tar.enc", torn)
	zwei := []byte(strings.Repeat("2", 5000))
	zwei[100] ^= 1
	run("a flipped bit", map[string]string{"src/one": "1", "src/two": "2", "src/three": "3", "src/zwei": string(zwei)}, "--")
	must(t, os.Remove(filepath.Join(tape.dir, keyFolder(k.Fingerprint()), oid(2)+".tar.enc")))
	run("gone", others)
	tape.put(k, oid(4)+".tar.enc", three[:700])
	tape.put(k, oid(5)+".tar.enc", nil)
	tape.put(k, oid(6)+".tar.enc.0002", three)
	run("unlisted and cut, empty, without its first part", others)
}

// Void members are left out: the older state stays.
func restoreVoid(t *testing.T, shell []string) {
	tape := newHandTape(t, volumeA, 1)
	k, keyFile := newTestKey(t, t.TempDir())
	good, torn := map[string]string{}, map[string]string{"src/other": "other"}
	var list []byte
	for name, body := range oddNames {
		if strings.HasPrefix(body, "->") {
			continue
		}
		good[name], torn[name] = body, "torn"
		list = append(list, oid(2)+" "...)
		list = append(appendEscaped(list, name), '\n')
	}
	tape.object(k, oid(1), sealObject(t, k, "salt0001", tarOf(t, good)))
	tape.object(k, oid(2), sealObject(t, k, "salt0002", tarOf(t, torn)))
	tape.object(k, oid(3), sealObject(t, k, "salt0003", tarOf(t, map[string]string{"src/plain": "taken again"})))
	tape.list()
	tape.put(k, "manifest-"+volumeA+"-000001.tar.enc", sealObject(t, k, "saltmani", tarOf(t, map[string]string{"manifest.jsonl": "{}\n", "void.list": string(list)})))
	tape.put(k, "manifest-"+volumeA+"-000001.mac", nil)
	tape.put(k, "manifest-"+volumeA+"-000002.tar.enc", []byte("Salted__cut off by the end of the tape"))
	target := t.TempDir()
	if code, stderr := runScript(t, shell, filepath.Join(tape.dir, "restore.sh"), keyFile, target); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	good["src/plain"], good["src/other"] = "taken again", "other"
	compare(t, target, good)
}

// Forgotten files are left out, however many they are and whatever they are called: 10,000 names of 230 bytes are more than
// the arguments of a program may be.
func restoreForgotten(t *testing.T, shell []string) {
	tape := newHandTape(t, volumeA, 1)
	k, keyFile := newTestKey(t, t.TempDir())
	files := map[string]string{}
	var list []byte
	forget := func(name string) {
		files[name] = "forgotten"
		list = append(list, oid(1)+" "...)
		list = append(appendEscaped(list, name), '\n')
	}
	for i := range 10_000 {
		forget(fmt.Sprintf("src/%s %05d", strings.Repeat("long ", 44), i))
	}
	for _, name := range []string{"src/ lead", "src/tab\t", "src/tab\tin it", "src/return\r", "src/blanks  ", "src/two\nlines", "src/#", "src/\\0101", "src/\\\\", "src/*", "src/\x01\xff"} {
		forget(name)
	}
	kept := map[string]string{"src/A": "1", "src/two": "2", "src/lead": "3", "src/tab": "4", "src/blanks": "5", "src/lines": "6"}
	for name, body := range kept {
		files[name] = body
	}
	tape.object(k, oid(1), sealObject(t, k, "salt0001", tarOf(t, files)))
	tape.list()
	tape.put(k, "manifest-"+volumeA+"-000001.tar.enc", sealObject(t, k, "saltmani", tarOf(t, map[string]string{"void.list": "", "forget.list": string(list)})))
	tape.put(k, "manifest-"+volumeA+"-000001.mac", nil)
	target := t.TempDir()
	if code, stderr := runScript(t, shell, filepath.Join(tape.dir, "restore.sh"), keyFile, target); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	compare(t, target, kept)
}

// Modes that changed after their files were written are set, each path's last one, but not on what took a path later,
// nor outside of the target.
func restoreMeta(t *testing.T, shell []string) {
	tape := newHandTape(t, volumeA, 1)
	k, keyFile := newTestKey(t, t.TempDir())
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, nil, 0o644))
	out := strings.TrimPrefix(outside, "/")
	files := map[string]string{"src/one": "1", "src/odd \xff\n": "2", "src/d/new": "3", "src/e/old": "4", "src/f": "5"}
	links := map[string]string{"src/way": "->/", "src/link": "->" + outside}
	tape.object(k, oid(1), sealObject(t, k, "salt0001", tarOf(t, files)))
	tape.object(k, oid(2), sealObject(t, k, "salt0002", tarOf(t, links)))
	tape.list()
	id := fmt.Sprintf("%d %d", os.Getuid(), os.Getgid())
	line := func(change int, mode, path string) string {
		return fmt.Sprintf("%d %s %s = =no%%such - %s\n", change, mode, id, appendEscaped(nil, path))
	}
	first := line(1, "0604", "src/one") + line(9, "0711", "src/f") + line(3, "0600", "src/d/new") + line(4, "0700", "src/e/old")
	second := line(12, "-", "src/d") + line(2, "0640", "src/one") + line(6, "0000", "src/none") + line(7, "0601", "src/odd \xff\n") + line(8, "-", "src/f")
	hostile := line(20, "0777", "src/way/"+out) + line(21, "0777", "src/link") + line(22, "0777", "../"+out) + line(23, "0777", "/"+out) + "24 0777 $(touch x) = = - src/one\n25 0777 0 0 =$(x) = - src/one\n"
	for i, text := range []string{second, first, hostile} {
		tape.put(k, fmt.Sprintf("manifest-%s-%06d.tar.enc", volumeA, i+1), sealObject(t, k, fmt.Sprint("saltman", i), tarOf(t, map[string]string{"void.list": "", "meta.list": text})))
		tape.put(k, fmt.Sprintf("manifest-%s-%06d.mac", volumeA, i+1), nil)
	}
	target := t.TempDir()
	if code, stderr := runScript(t, shell, filepath.Join(tape.dir, "restore.sh"), keyFile, target); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	for name, mode := range map[string]os.FileMode{"src/one": 0o640, "src/odd \xff\n": 0o601, "src/d/new": 0o640, "src/e/old": 0o700, "src/f": 0o711} {
		if info, err := os.Stat(filepath.Join(target, name)); err != nil {
			t.Errorf("%q: %v", name, err)
		} else if info.Mode().Perm() != mode {
			t.Errorf("%q: %v, want %o", name, info.Mode(), mode)
		}
	}
	if info, err := os.Stat(outside); err != nil {
		t.Errorf("outside of the target: %v", err)
	} else if info.Mode().Perm() != 0o644 {
		t.Errorf("outside of the target: %v", info.Mode())
	}
}

// A leftover of a write that was begun anew has the right name and size, but no list names it.
func restoreLeftover(t *testing.T, shell []string) {
	one, two := newHandTape(t, volumeA, 1), newHandTape(t, volumeB, 2)
	k, keyFile := newTestKey(t, t.TempDir())
	old := sealObject(t, k, "saltold1", tarOf(t, map[string]string{"src/big": strings.Repeat("old", 10000)}))
	sealed := sealObject(t, k, "saltnew1", tarOf(t, map[string]string{"src/big": strings.Repeat("new", 10000)}))
	const grid = 10240
	count := (len(sealed) + grid - 1) / grid
	for n := range count {
		name, at, end := fmt.Sprintf("%s.tar.enc.%04d", oid(1), n+1), n*grid, min(len(sealed), (n+1)*grid)
		listed, leftover := one, two
		if n%2 == 1 {
			listed, leftover = two, one
		}
		leftover.put(k, name, old[at:end])
		listed.part(k, name, sealed[at:end])
	}
	two.sums.object(catalog.Object{OID: oid(1), SealedSize: int64(len(sealed)), PartSize: grid, State: catalog.ObjectPacked}, k.Fingerprint())
	one.list()
	two.list()
	for _, tapes := range [][]string{{one.dir, two.dir}, {two.dir, one.dir}} {
		target := t.TempDir()
		if code, stderr := runScript(t, shell, filepath.Join(one.dir, "restore.sh"), append([]string{keyFile, target}, tapes...)...); code != 0 {
			t.Errorf("exit %d: %s", code, stderr)
		}
		compare(t, target, map[string]string{"src/big": strings.Repeat("new", 10000)})
	}
}

// Of pieces of one name and size the one is taken whose sum is right, whatever the order of the tapes.
func restoreHealed(t *testing.T, shell []string) {
	one, two := newHandTape(t, volumeA, 1), newHandTape(t, volumeB, 2)
	k, keyFile := newTestKey(t, t.TempDir())
	want := map[string]string{"src/big": strings.Repeat("good", 10000), "src/small": "small", "src/dry": "dry"}
	big := sealObject(t, k, "saltbig1", tarOf(t, map[string]string{"src/big": want["src/big"]}))
	small := sealObject(t, k, "saltsma1", tarOf(t, map[string]string{"src/small": "small"}))
	const grid = 16384
	bad := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 4
		return b
	}
	// Each tape has a damaged piece of the large object, and one has a damaged small one.
	for i, tape := range []*handTape{one, two} {
		tape.sums.object(catalog.Object{OID: oid(1), SealedSize: int64(len(big)), PartSize: grid, State: catalog.ObjectPacked}, k.Fingerprint())
		for n := range (len(big) + grid - 1) / grid {
			name := fmt.Sprintf("%s.tar.enc.%04d", oid(1), n+1)
			piece := big[n*grid : min(len(big), (n+1)*grid)]
			tape.part(k, name, piece)
			if n == i {
				tape.put(k, name, bad(piece))
			}
		}
		tape.object(k, oid(2), small)
	}
	one.put(k, oid(2)+".tar.enc", bad(small))
	one.object(k, oid(3), sealObject(t, k, "saltdry1", tarOf(t, map[string]string{"src/dry": "dry"})))
	one.list()
	two.list()
	for _, tapes := range [][]string{{one.dir, two.dir}, {two.dir, one.dir}} {
		for _, check := range []string{"--check", "--"} {
			target := t.TempDir()
			args := append([]string{check, keyFile, target}, tapes...)
			if code, stderr := runScript(t, shell, filepath.Join(one.dir, "restore.sh"), args...); code != 0 {
				t.Errorf("exit %d: %s", code, stderr)
			}
			compare(t, target, want)
		}
	}
}

// With one drive the tape that heals comes long after the one that is damaged: newer states stay.
func restoreHealedLate(t *testing.T, shell []string) {
	one, two := newHandTape(t, volumeA, 1), newHandTape(t, volumeB, 2)
	k, keyFile := newTestKey(t, t.TempDir())
	old := sealObject(t, k, "saltold1", tarOf(t, map[string]string{"src/f": "old", "src/only": strings.Repeat("good", 5000)}))
	changed := tarOf(t, map[string]string{"src/f": "new"})
	changed = bytes.ReplaceAll(changed, []byte("1700000000"), []byte("1700000099")) // mtime, in the PAX records
	const grid = 8192
	parts := (len(old) + grid - 1) / grid
	for _, tape := range []*handTape{one, two} {
		tape.sums.object(catalog.Object{OID: oid(1), SealedSize: int64(len(old)), PartSize: grid, State: catalog.ObjectPacked}, k.Fingerprint())
	}
	for n := range parts {
		name, piece := fmt.Sprintf("%s.tar.enc.%04d", oid(1), n+1), old[n*grid:min(len(old), (n+1)*grid)]
		one.part(k, name, piece)
		if n == 1 {
			torn := bytes.Clone(piece)
			torn[100] ^= 1
			one.put(k, name, torn)
			two.part(k, name, piece)
		}
	}
	one.object(k, oid(2), sealObject(t, k, "saltnew1", changed))
	one.list()
	two.list()
	target, pieces := t.TempDir(), filepath.Join(t.TempDir(), "pieces")
	run := func(tape *handTape, want int) {
		t.Helper()
		if code, stderr := runScript(t, shell, filepath.Join(one.dir, "restore.sh"), "--check", "--parts", pieces, keyFile, target, tape.dir); code != want {
			t.Errorf("tape %d: exit %d, not %d: %s", tape.label.Number, code, want, stderr)
		}
	}
	run(one, 3)
	compare(t, target, map[string]string{"src/f": "new"})
	run(two, 0)
	compare(t, target, map[string]string{"src/f": "new", "src/only": strings.Repeat("good", 5000)})
	// A new target gets everything, whatever the folder of pieces says.
	target = t.TempDir()
	run(one, 3)
	compare(t, target, map[string]string{"src/f": "new"})
}

// The commands that README.txt gives for the long way do what it says.
func restoreByHand(t *testing.T, shell []string) {
	tape := newHandTape(t, volumeA, 1)
	k, keyFile := newTestKey(t, t.TempDir())
	tape.object(k, oid(1), sealObject(t, k, "salt0001", tarOf(t, oddNames)))
	tape.object(k, oid(2), sealObject(t, k, "salt0002", tarOf(t, map[string]string{"src/plain": "newer"})))
	tape.put(k, "manifest-"+volumeA+"-000001.tar.enc", sealObject(t, k, "saltmani", tarOf(t, map[string]string{"void.list": ""})))
	text, err := os.ReadFile(filepath.Join(tape.dir, "README.txt"))
	must(t, err)
	_, rest, ok := strings.Cut(string(text), "\n4. ")
	if !ok {
		t.Fatal("README.txt has no step 4")
	}
	var script strings.Builder
	for line := range strings.Lines(rest) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			script.WriteString(strings.NewReplacer("KEYFILE", keyFile, "FINGERPRINT", k.Fingerprint(), "TARGET-DIRECTORY", "\"$target\"").Replace(command))
		}
		if strings.Contains(line, "done |") {
			break
		}
	}
	target := t.TempDir()
	cmd := exec.Command(shell[0], append(shell[1:], "-c", script.String())...)
	cmd.Dir, cmd.Env = tape.dir, append(os.Environ(), "target="+target)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, script.String())
	}
	want := map[string]string{}
	for n, body := range oddNames {
		want[n] = body
	}
	want["src/plain"] = "newer"
	compare(t, target, want)
}

// What a tape says cannot make the script do anything but restore.
func restoreHostile(t *testing.T, shell []string) {
	tape := newHandTape(t, volumeA, 1)
	k, keyFile := newTestKey(t, t.TempDir())
	tape.object(k, oid(1), sealObject(t, k, "salt0001", tarOf(t, map[string]string{"src/one": "1"})))
	canary := filepath.Join(t.TempDir(), "canary")
	evil := "$(touch " + strings.ReplaceAll(canary, "/", "${PWD%%[!/]*}") + ")"
	folder := keyFolder(k.Fingerprint())
	for _, name := range []string{evil, "-n", "; touch x", oid(9) + ".tar.enc x", oid(9) + ".tar.enc\n" + oid(8) + ".tar.enc", "$(reboot).tar.enc", "*.tar.enc", strings.Repeat("a", 33) + ".tar.enc"} {
		tape.put(k, strings.ReplaceAll(name, "/", "_"), []byte("x"))
	}
	must(t, os.MkdirAll(filepath.Join(tape.dir, "tapefs", "0123$(touch x)4567"), 0o755))
	must(t, os.Symlink("/etc/passwd", filepath.Join(tape.dir, folder, oid(7)+".tar.enc")))
	for _, line := range []string{"# object " + folder + "/" + oid(1) + ".tar.enc parts=1;touch size=$(touch) part_size=1", "# elsewhere $(touch x)", "0 * ../../etc", oid(1) + " `touch x`"} {
		tape.sums.printf("%s\n", line)
	}
	tape.list()
	tape.put(k, "manifest-"+volumeA+"-000001.tar.enc", sealObject(t, k, "saltmani", tarOf(t, map[string]string{"void.list": oid(1) + " $(touch x)\n" + oid(1) + " \\0057%s%n\n-rf /\n"})))
	tape.put(k, "manifest-"+volumeA+"-000001.mac", nil)
	target := t.TempDir()
	code, stderr := runScript(t, shell, filepath.Join(tape.dir, "restore.sh"), keyFile, target)
	if code != 0 && code != 3 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	compare(t, target, map[string]string{"src/one": "1"})
	if _, err := os.Stat(canary); err == nil {
		t.Error("a name was run as a command")
	}
}

func TestRestoreScriptIsPOSIX(t *testing.T) {
	for name, shell := range shells(t) {
		cmd := exec.Command(shell[0], append(shell[1:], "-n", filepath.Join("..", "volume", "restore.sh"))...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	if shellcheck, err := exec.LookPath("shellcheck"); err == nil {
		if out, err := exec.Command(shellcheck, "-s", "sh", filepath.Join("..", "volume", "restore.sh")).CombinedOutput(); err != nil {
			t.Errorf("shellcheck: %s", out)
		}
	}
}
