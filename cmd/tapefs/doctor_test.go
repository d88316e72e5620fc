package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/cmd/tapefs/config"
)

// script writes an executable that prints text.
func script(t *testing.T, path, text string) string {
	t.Helper()
	write(t, path, "#!/bin/sh\n"+text)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// mtStatus is what mt prints of a drive with a tape, or without one.
func mtStatus(loaded bool) string {
	bits := "50000):\n DR_OPEN IM_REP_EN"
	if loaded {
		bits = "41010000):\n BOT ONLINE IM_REP_EN"
	}
	return "SCSI 2 tape drive:\nFile number=-1, block number=-1, partition=0.\nTape block size 0 bytes. Density code 0x0 (default).\n" +
		"Soft error count since last status=0\nGeneral status bits on (" + bits + "\n"
}

// TestProposeLibrary: the drives' order by address is not the changer's order of elements, and the one
// loaded drive shows it.
func TestProposeLibrary(t *testing.T) {
	dir := t.TempDir()
	dev := filepath.Join(dir, "dev")
	byID := filepath.Join(dev, "tape", "by-id")
	if err := os.MkdirAll(byID, 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		"scsi-35000e11123456789-nst": "nst0", "scsi-HU1929ABCD-nst": "nst0", "scsi-HU1929ABCD": "st0",
		"scsi-HU1929EFGH-nst": "nst1", "scsi-TANDBERG0001-changer": "sg5",
	} {
		if err := os.Symlink("../../"+to, filepath.Join(byID, link)); err != nil {
			t.Fatal(err)
		}
	}
	p := config.Programs{
		Lsscsi: script(t, filepath.Join(dir, "lsscsi"), `cat <<'X'
[0:0:0:0]    tape    HP       Ultrium 5-SCSI   Z51U  `+dev+`/st0   `+dev+`/sg4 
[0:0:0:1]    mediumx TANDBERG StorageLoader    0495  `+dev+`/sch0  `+dev+`/sg5 
[0:0:1:0]    tape    HP       Ultrium 5-SCSI   Z51U  `+dev+`/st1   `+dev+`/sg6 
[1:0:0:0]    disk    ATA      SAMSUNG MZ7L3480 404Q  /dev/sda   /dev/sg0 
X
`),
		Mtx: script(t, filepath.Join(dir, "mtx"), `cat <<'X'
  Storage Changer `+dev+`/sg5:2 Drives, 1 Slots ( 0 Import/Export )
Data Transfer Element 0:Empty
Data Transfer Element 1:Full (Storage Element 1 Loaded):VolumeTag = A00008L5                        
      Storage Element 1:Empty
X
echo 'mtx: Request Sense: Long Report=yes' >&2
`),
		Mt: script(t, filepath.Join(dir, "mt"), "case $2 in\n*/nst0) cat <<'X'\n"+mtStatus(true)+"X\n;;\n*) cat <<'X'\n"+mtStatus(false)+"X\n;;\nesac\n"),
	}
	found, err := findLibrary(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := found.print(&text, config.Programs{}); err != nil {
		t.Fatal(err)
	}
	conf, err := config.Parse([]byte(text.String()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text.String())
	}
	l := conf.Library
	if l.Changer != filepath.Join(byID, "scsi-TANDBERG0001-changer") || len(l.Drives) != 2 {
		t.Fatalf("proposed\n%s", text.String())
	}
	want := []config.Drive{
		{Serial: "HU1929ABCD", Element: 1, Device: dev + "/sg4", Tape: dev + "/nst0"},
		{Serial: "HU1929EFGH", Element: 0, Device: dev + "/sg6", Tape: dev + "/nst1"},
	}
	for i, d := range l.Drives {
		if d != want[i] {
			t.Errorf("drive %d is %+v, want %+v", i, d, want[i])
		}
	}
	if strings.Count(text.String(), "# proved") != 2 {
		t.Errorf("not proved:\n%s", text.String())
	}

	// Without a changer there is one drive; without any the person is told where to look.
	p.Lsscsi = script(t, filepath.Join(dir, "lsscsi"), "echo '[0:0:0:0]    tape    HP       Ultrium 5-SCSI   Z51U  "+dev+"/st0   "+dev+"/sg4 '\n")
	if found, err = findLibrary(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	text.Reset()
	if err := found.print(&text, config.Programs{}); err != nil {
		t.Fatal(err)
	}
	if conf, err = config.Parse([]byte(text.String())); err != nil || conf.Library.Changer != "none" || len(conf.Library.Drives) != 1 {
		t.Errorf("%v in\n%s", err, text.String())
	}
	p.Lsscsi = script(t, filepath.Join(dir, "lsscsi"), "")
	if _, err := findLibrary(t.Context(), p); err == nil || !strings.Contains(hintFor(err), "modprobe") {
		t.Errorf("nothing connected: %v, hint %q", err, hintFor(err))
	}
}

// machine makes a checkup over a tree that stands for the machine.
func machine(t *testing.T, conf *settings) (*checkup, string) {
	dir := t.TempDir()
	u := &checkup{app: &app{stdout: io.Discard, stderr: io.Discard}, conf: conf,
		paths: machinePaths{dev: filepath.Join(dir, "dev"), proc: filepath.Join(dir, "proc"), etc: filepath.Join(dir, "etc")}}
	return u, dir
}

func (u *checkup) last(t *testing.T) finding {
	t.Helper()
	if len(u.findings) == 0 {
		t.Fatal("nothing was found")
	}
	return u.findings[len(u.findings)-1]
}

func TestDoctorLooksForKernelModules(t *testing.T) {
	conf := &settings{Config: &config.Config{Library: config.Library{Changer: "/dev/null", Drives: []config.Drive{{Serial: "A", Device: "/dev/null", Tape: "/dev/null"}}}}}
	u, dir := machine(t, conf)
	write(t, filepath.Join(dir, "proc", "devices"), "Character devices:\n  1 mem\n 21 sg\n\nBlock devices:\n  8 sd\n")
	u.modules()
	if f := u.last(t); f.Mark != markFailed || f.Detail != "the kernel has no st" || !strings.HasPrefix(f.Hint, "modprobe -a st") {
		t.Errorf("without st: %+v", f)
	}
	write(t, filepath.Join(dir, "proc", "devices"), "Character devices:\n  9 st\n 21 sg\n")
	u.modules()
	if f := u.last(t); f.Mark != markOK {
		t.Errorf("with both: %+v", f)
	}
}

func TestDoctorWantsTheSgNode(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"sg0", "st0", "nst0"} {
		write(t, filepath.Join(dir, name), "")
	}
	u, _ := machine(t, &settings{Config: &config.Config{Library: config.Library{Changer: filepath.Join(dir, "sg0"),
		Drives: []config.Drive{{Serial: "A", Device: filepath.Join(dir, "st0"), Tape: filepath.Join(dir, "nst0")}}}}})
	u.devices()
	if f := u.last(t); f.Mark != markFailed || !strings.Contains(f.Detail, "ltfs takes an sg node") {
		t.Errorf("st node as device: %+v", f)
	}
}

func TestAllowsOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fuse.conf")
	write(t, path, "# user_allow_other\n#user_allow_other\nmount_max = 5\n")
	if allowsOther(path) {
		t.Error("a comment counts")
	}
	write(t, path, "mount_max = 5\n user_allow_other \n")
	if !allowsOther(path) {
		t.Error("the line does not count")
	}
}
