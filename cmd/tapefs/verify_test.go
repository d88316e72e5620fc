package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// flip changes one random bit of a file.
func flip(t *testing.T, path string, r *rand.Rand) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	at, b := r.Int64N(info.Size()), []byte{0}
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << r.IntN(8)
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// sealedOn finds where the virtual library keeps the sealed files of some tapes.
func (a *archive) sealedOn(barcodes string) []string {
	a.t.Helper()
	var found []string
	err := filepath.WalkDir(a.path("library"), func(p string, d os.DirEntry, err error) error {
		base := filepath.Base(p)
		if err == nil && d.Type().IsRegular() && strings.Contains(p, barcodes) && strings.Contains(base, ".tar.enc") &&
			!strings.HasPrefix(base, "manifest") && !strings.HasPrefix(base, "catalog") {
			found = append(found, p)
		}
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return found
}

// Each of 200 flipped bits is found, none is served, and all heal from the second copy.
func TestVerifyFindsFlippedBits(t *testing.T) {
	const files = 200
	src := t.TempDir()
	a := newArchive(t, withPools("VT000[5-8]*"), "--slots", "8", "--drives", "2", "--tape-size", "64MiB", "--source", "src="+src)
	a.edit("# copies: [main]", "copies: [main, off]")
	a.edit("# bundle_below: 64MiB", "bundle_below: 1")
	for i := range files {
		writeRandom(t, fmt.Sprintf("%s/%03d", src, i), 2000+int64(i)*7, byte(i))
	}
	a.run("archive")
	if out := a.run("verify", "--openssl"); !strings.Contains(out, "400 files compared by openssl") {
		t.Fatalf("verify --openssl: %s", out)
	}
	r := rand.New(rand.NewPCG(7, 200))
	sealed := a.sealedOn("VT0001")
	if len(sealed) != files {
		t.Fatalf("%d sealed files in pool main", len(sealed))
	}
	for _, p := range sealed {
		flip(t, p, r)
	}
	// None is served: what the mount gives is what was archived.
	mnt := a.mount()
	if out, err := exec.Command("diff", "-r", src, filepath.Join(mnt, "src")).CombinedOutput(); err != nil {
		t.Fatalf("the mount differs: %v\n%s", err, out)
	}
	a.unmount(mnt)

	// The mount has recorded what it came across; a path that is named is read whatever is known of it.
	if out := a.fails(1, "verify", "/src"); !strings.Contains(out, "200 parts DAMAGED") {
		t.Fatalf("verify: %s", out)
	}
	if out := a.run("status"); !strings.Contains(out, "DAMAGED in main") || !strings.Contains(out, "200 copies") {
		t.Fatalf("status:\n%s", out)
	}
	a.run("archive", "--heal")
	var v verifyJSON
	decode(t, a.run("verify", "--openssl", "--json"), &v)
	if v.Files != 2*files || len(v.Damaged) != 0 {
		t.Fatalf("after healing: %+v", v)
	}
	if out := a.run("status"); strings.Contains(out, "DAMAGED") || strings.Contains(out, "owed to") {
		t.Errorf("status after healing:\n%s", out)
	}
}
