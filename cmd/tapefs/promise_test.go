package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tapefs/tapefs/changer/virtual"
)

// promise is what safe named: the SHA-256 that each file had at its source then, by source and path.
type promise map[string][sha256.Size]byte

// promised asks safe for the files of a source that lies in dir, and returns its exit code.
func (a *archive) promised(source, dir string, args ...string) (promise, int) {
	a.t.Helper()
	cmd := a.command(append([]string{"safe", "--json", source}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		a.t.Fatal(err)
	}
	p := promise{}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var f safeFileJSON
		decode(a.t, lines.Text(), &f)
		if f.Path == "" || !f.Safe {
			continue
		}
		sum, err := contentOf(filepath.Join(dir, f.Path))
		if err != nil {
			a.t.Fatalf("safe names %s: %v", f.Path, err)
		}
		p[source+"/"+f.Path] = sum
	}
	return p, cmd.ProcessState.ExitCode()
}

// contentOf is the sum of a file's bytes, or of where a symbolic link leads.
func contentOf(file string) ([sha256.Size]byte, error) {
	info, err := os.Lstat(file)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		to, err := os.Readlink(file)
		return sha256.Sum256([]byte("link to " + to)), err
	}
	b, err := os.ReadFile(file)
	return sha256.Sum256(b), err
}

// rebuilt says how the promise is to be kept: from which tapes, and how the catalog is made anew from them.
type rebuilt struct {
	name    string
	tapes   []string // barcodes; the others are not in the library
	rebuild []string // further arguments of catalog rebuild
}

// wantsCheck is the advice of a rebuild that met a volume which cannot be mounted as it is, as HPE's LTFS leaves a full tape.
var wantsCheck = regexp.MustCompile(`(?m)hint: .*tapefs tape check (\S+)$`)

// broken rebuilds a catalog from tapes and keys alone, in a library that has nothing but those tapes, restores all from
// there, and names what does not come back as it was promised. Nobody uses the tapes meanwhile.
func (a *archive) broken(p promise, how rebuilt) (losses []string) {
	a.t.Helper()
	other := a.withTapes(how.tapes)
	defer os.RemoveAll(other.dir)
	defer unmountBelow(other.dir)
	var said strings.Builder
	run := func(args ...string) int {
		cmd := other.command(args...)
		out, _ := cmd.CombinedOutput()
		fmt.Fprintf(&said, "--- tapefs %s: exit code %d\n%s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), out)
		return cmd.ProcessState.ExitCode()
	}
	code := run(append([]string{"catalog", "rebuild"}, how.rebuild...)...)
	for _, m := range wantsCheck.FindAllStringSubmatch(said.String(), -1) { // an operator does what the rebuild asks for
		run("tape", "check", m[1])
	}
	if wantsCheck.MatchString(said.String()) {
		code = run(append([]string{"catalog", "rebuild"}, how.rebuild...)...)
	}
	if code != exitDone && code != exitPartial && code != exitOperator { // refused, and other tapes are wanted
		losses = append(losses, fmt.Sprintf("%s: catalog rebuild exits %d", how.name, code))
	}
	var sources []string
	for name := range p {
		source, _, _ := strings.Cut(name, "/")
		if !slices.Contains(sources, "/"+source) {
			sources = append(sources, "/"+source)
		}
	}
	slices.Sort(sources)
	back := other.path("back")
	if len(sources) > 0 {
		run(append([]string{"restore", "--to", back}, sources...)...)
	}
	names := make([]string, 0, len(p))
	for name := range p {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch sum, err := contentOf(filepath.Join(back, name)); {
		case err != nil:
			losses = append(losses, fmt.Sprintf("%s: safe named %s, and it does not come back", how.name, name))
		case sum != p[name]:
			losses = append(losses, fmt.Sprintf("%s: safe named %s, and it comes back with other bytes", how.name, name))
		}
	}
	if len(losses) > 0 {
		losses = append(losses, said.String())
	}
	return losses
}

// withTapes is a second archive: the same configuration and keys, no catalog, and a library with some of the tapes as they
// are now. Their files are shared: nothing may be written to them.
func (a *archive) withTapes(barcodes []string) *archive {
	a.t.Helper()
	must := func(err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp(filepath.Dir(a.dir), "rebuilt-")
	must(err)
	other := &archive{t: a.t, dir: dir, conf: filepath.Join(dir, "config.yaml")}
	lib, err := virtual.Create(other.path("library"), virtual.Options{Slots: len(barcodes) + 1, Drives: len(a.library().Drives), Tapes: -1,
		Flavor: os.Getenv("TAPEFS_VIRTUAL_FLAVOR"), Program: []string{"tapefs", "virtual"}})
	must(err)
	must(lib.Fault("slow-umount=20ms"))
	for i, barcode := range barcodes {
		must(lib.Add(i+1, virtual.Cartridge{Barcode: barcode}))
		from, to := a.path("library/tapes/"+barcode), other.path("library/tapes/"+barcode)
		must(os.RemoveAll(to))
		out, err := exec.Command("cp", "-al", from, to).CombinedOutput()
		if err != nil {
			a.t.Fatalf("copy tape %s: %v\n%s", barcode, err, out)
		}
	}
	must(os.MkdirAll(other.path("state"), 0o700))
	if out, err := exec.Command("cp", "-a", a.path("state/keys"), other.path("state/keys")).CombinedOutput(); err != nil {
		a.t.Fatalf("copy the keys: %v\n%s", err, out)
	}
	text, err := os.ReadFile(a.conf)
	must(err)
	moved := strings.NewReplacer(a.path("state"), other.path("state"), a.path("library"), other.path("library")).Replace(string(text))
	must(os.WriteFile(other.conf, []byte(moved), 0o600))
	return other
}

// tapesOf lists the barcodes of the archive's tapes, of one pool or of all with "".
func (a *archive) tapesOf(pool string) (barcodes []string) {
	a.t.Helper()
	var tapes []tapeJSON
	decode(a.t, a.run("tape", "list", "--json"), &tapes)
	for _, t := range tapes {
		if t.UUID != "" && (pool == "" || t.Pool == pool) {
			barcodes = append(barcodes, a.labelOf(t.Barcode))
		}
	}
	return barcodes
}

// labelOf is the label of a cartridge in the library. A tape that was formatted while the library told labels without their suffix is
// known without it, until it is loaded again.
func (a *archive) labelOf(barcode string) string {
	a.t.Helper()
	if exists(a.path("library/tapes/" + barcode)) {
		return barcode
	}
	found, err := filepath.Glob(a.path("library/tapes/" + barcode + "L*"))
	if err != nil || len(found) != 1 {
		a.t.Fatalf("tape %s is not in the library: %q, %v", barcode, found, err)
	}
	return filepath.Base(found[0])
}
