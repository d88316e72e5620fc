package changer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFlavorOfVersion(t *testing.T) {
	for text, want := range map[string]Flavor{
		recorded(t, "hpe/ltfs-version").stderr:                                   HPE,
		"HP StoreOpen Software version 2.2.1":                                    HPE,
		"LTFS version 2.4.8.4 (Prelim)\nLTFS Format Specification version 2.4.0": OpenLTFS,
		"IBM Linear Tape File System Library Edition, LTFS version 2.4.5.1":      OpenLTFS,
	} {
		if f := FlavorOf(text); f != want {
			t.Errorf("%q is %s, want %s", text, f, want)
		}
	}
	for s, want := range map[string]Flavor{"": FlavorAuto, "auto": FlavorAuto, "open": OpenLTFS, "openltfs": OpenLTFS, "hpe": HPE} {
		if f, err := ParseFlavor(s); f != want || err != nil {
			t.Errorf("%q: %s, %v", s, f, err)
		}
	}
	if _, err := ParseFlavor("ibm"); err == nil {
		t.Error("any word is a flavor")
	}
}

// The error of a failed program names what failed, and not what HPE's says in every run.
func TestProgramErrorLeavesNoiseOut(t *testing.T) {
	for name, want := range map[string]string{
		"mkltfs-writeprotected":   "exit code 155: LTFS11095E",
		"ltfs-unformatted":        "LTFS17168E",
		"enospc-remount":          "LTFS20042E",
		"ltfs-badopt":             "unknown option",
		"ltfs-mountpoint-missing": "LTFS14094E",
	} {
		r := recorded(t, "hpe/"+name)
		text := (&ProgramError{Args: []string{"x"}, Code: r.code, Stderr: lastLines(r.stderr, stderrLines)}).Error()
		if !strings.Contains(text, want) || strings.Contains(text, "20074E") || strings.Contains(text, "20096I") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestMountOptions(t *testing.T) {
	for _, c := range []struct {
		flavor  Flavor
		given   []string
		want    string
		refused bool
	}{
		{OpenLTFS, nil, "", false},
		{OpenLTFS, []string{"sync_type=time@1"}, "sync_type=time@1", false},
		{HPE, nil, "sync_type=unmount", false},
		{HPE, []string{"noatime", "umask=077"}, "sync_type=unmount noatime umask=077", false},
		{HPE, []string{"noatime,sync_type=close"}, "noatime,sync_type=close", false},
		{HPE, []string{"sync_type=time@0"}, "sync_type=time@0", false},
		{HPE, []string{"sync_type=time"}, "", true},
		{HPE, []string{"noatime,sync_type=time@05"}, "", true},
	} {
		l := &Library{cfg: Config{Flavor: c.flavor, LTFSOptions: c.given}}
		got, err := l.mountOptions(context.Background())
		if text := strings.Join(got, " "); text != c.want || (err != nil) != c.refused {
			t.Errorf("%s %q: %q, %v", c.flavor, c.given, text, err)
		}
	}
}

// HPE's is given the sg node itself, whatever link the configuration names, and no tape node.
func TestDeviceOfHPE(t *testing.T) {
	dev := t.TempDir()
	for _, name := range []string{"sg2", "st0", "nst0", "sgd-2"} {
		if err := os.WriteFile(filepath.Join(dev, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dev, "mydrive")
	if err := os.Symlink("sg2", link); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(filepath.Join(dev, "sg2"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := open(Config{Flavor: HPE, Changer: None, RunDir: t.TempDir(), Programs: Programs{Lsscsi: "true"},
		Drives: []DriveConfig{{Serial: "A", Device: link, Tape: filepath.Join(dev, "nst0")}}}, nil, roots{dev: dev, sys: dev, proc: dev})
	if err != nil {
		t.Fatal(err)
	}
	d := l.cfg.Drives[0]
	if got, err := l.ltfsDevice(context.Background(), d); got != real || err != nil {
		t.Errorf("%s becomes %s (%v), want %s", link, got, err, real)
	}
	for _, name := range []string{"st0", "nst0", "sgd-2"} {
		d.Device = filepath.Join(dev, name)
		got, err := l.ltfsDevice(context.Background(), d)
		var e *Error
		if got != "" || !errors.As(err, &e) || !strings.Contains(e.Hint, "sg node") {
			t.Errorf("%s becomes %q (%v)", name, got, err)
		}
	}
	l.cfg.Flavor = OpenLTFS
	d.Device = link
	if got, err := l.ltfsDevice(context.Background(), d); got != link || err != nil {
		t.Errorf("OpenLTFS is given %s (%v)", got, err)
	}
}

// ltfs is asked once which flavor it is, unless the configuration says it; one that does not answer is asked again.
func TestFlavorIsAskedOnce(t *testing.T) {
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	program := filepath.Join(dir, "ltfs")
	script := "#!/bin/sh\necho \"$@\" >> '" + calls + "'\n[ -e '" + dir + "/works' ] || exit 127\necho 'HPE StoreOpen Software version 3.5.0 (build 12)' >&2\necho 'LTFS Format Specification version 2.4.0' >&2\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := open(Config{Changer: None, RunDir: filepath.Join(dir, "run"), Programs: Programs{Ltfs: program},
		Drives: []DriveConfig{{Serial: "A", Device: "/dev/sg0", Tape: "/dev/nst0"}}}, nil, roots{dev: dir, sys: dir, proc: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if f, err := l.Flavor(ctx); f != OpenLTFS || err == nil {
		t.Errorf("one that does not answer is %s (%v)", f, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "works"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if f, err := l.Flavor(ctx); f != HPE || err != nil {
			t.Errorf("it is %s (%v)", f, err)
		}
	}
	if b, err := os.ReadFile(calls); string(b) != "-V\n-V\n" || err != nil {
		t.Errorf("asked with %q (%v)", b, err)
	}
}

func TestFindProgram(t *testing.T) {
	root := t.TempDir()
	for name, mode := range map[string]os.FileMode{"opt/hpe350/bin/fault-ltfs": 0o755, "usr/sbin/fault-mtx": 0o755, "usr/sbin/fault-mt": 0o644} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"), mode)); err != nil {
			t.Fatal(err)
		}
	}
	var dirs []string
	for _, d := range programDirs {
		dirs = append(dirs, filepath.Join(root, d))
	}
	for name, want := range map[string]string{"fault-ltfs": "opt/hpe350/bin/fault-ltfs", "fault-mtx": "usr/sbin/fault-mtx"} {
		if got, err := findProgram(name, dirs); got != filepath.Join(root, want) || err != nil {
			t.Errorf("%s is %s (%v)", name, got, err)
		}
	}
	if _, err := findProgram("fault-mt", dirs); !errors.Is(err, os.ErrPermission) {
		t.Errorf("one that must not be run: %v", err)
	}
	if _, err := findProgram("fault-none", dirs); err == nil {
		t.Error("a program is found that is nowhere")
	}
	if got, err := findProgram("./fault-ltfs", dirs); err == nil {
		t.Errorf("a path is looked for elsewhere: %s", got)
	}
	t.Setenv("PATH", filepath.Join(root, "usr/sbin"))
	if got, err := findProgram("fault-mtx", nil); got != filepath.Join(root, "usr/sbin/fault-mtx") || err != nil {
		t.Errorf("what is in PATH is %s (%v)", got, err)
	}
	if !slices.Contains(programDirs, "/usr/sbin") || !slices.Contains(programDirs, "/usr/local/bin") {
		t.Error("cron's PATH has neither")
	}
}
