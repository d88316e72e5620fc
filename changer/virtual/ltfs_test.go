package virtual

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// needFuse skips a test that cannot mount, except in CI.
func needFuse(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("/dev/fuse and root are needed")
		}
		t.Skip("/dev/fuse and root are needed")
	}
}

// waitFor polls for something that has to come true.
func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// mountDirs makes mount points that are unmounted at the end, whatever the test did.
func mountDirs(t *testing.T, l *Library, n int) []string {
	t.Helper()
	var dirs []string
	for range n {
		dir := t.TempDir()
		dirs = append(dirs, dir)
	}
	t.Cleanup(func() {
		for _, dir := range dirs {
			for syscall.Unmount(dir, syscall.MNT_DETACH) == nil {
			}
		}
		for i := range l.Drives {
			waitFor(t, "the end of ltfs", func() bool { return l.driveHolder(i) == 0 })
		}
	})
	return dirs
}

// idle waits until nobody has drive 0 open.
func idle(t *testing.T, l *Library) {
	t.Helper()
	waitFor(t, "drive 0 to be free", func() bool { return l.driveHolder(0) == 0 })
}

var codePattern = regexp.MustCompile(`LTFS\d{5}[A-Z]`)

// codes are the ordered message codes. A run of "not ready" counts once, and the signal that timeout(1)
// sent to its group by itself is left out.
func codes(s string) (list []string) {
	for _, c := range codePattern.FindAllString(s, -1) {
		if c == "LTFS17294I" || c == "LTFS17188I" && len(list) > 0 && list[len(list)-1] == c {
			continue
		}
		list = append(list, c)
	}
	return list
}

func TestLtfsProgramsAsRecorded(t *testing.T) {
	if testing.Short() {
		t.Skip("starts hundreds of programs")
	}
	needFuse(t)
	const (
		load    = `mtx -f "$C" load 1 0;`
		format  = load + `mkltfs -q -d "$D" -s ABC001 -n ABC001L8;`
		mount   = format + `ltfs -o devname="$D" "$M";`
		protect = `mtx -f "$C" load 11 0; "$SELF" virtual fault "$LIBRARY" write-protect=PRT001L8;`
		file    = mount + `echo one > "$M/one"; setfattr -n user.ltfs.sync -v 1 "$M";`
		kill    = `"$SELF" virtual fault "$LIBRARY" kill-ltfs; umount "$M";`
		wait    = `umount "$M"; while mkltfs -d "$D" 2>&1 | grep -q LTFS30210I; do sleep 0.01; done;`
		fill    = `mtx -f "$C" load 9 0; mkltfs -q -d "$D" -s SML001; ltfs -o devname="$D" "$M"; head -c 40M /dev/zero > "$M/big"; ` + wait
	)
	cases := []struct {
		name, before string
		drive        string // recorded name of drive 0, sg2 unless told
	}{
		{name: "mkltfs-ok", before: load}, {name: "mkltfs-quiet", before: load},
		{name: "mkltfs-already-formatted", before: format},
		{name: "mkltfs-bad-serial"}, {name: "mkltfs-badopt"}, {name: "mkltfs-noargs"}, {name: "mkltfs-nodev"},
		{name: "mkltfs-no-medium"}, {name: "mkltfs-while-mounted", before: mount}, {name: "mkltfs-wipe", before: format},
		{name: "mkltfs-writeprotected", before: protect}, {name: "mkltfs-force-writeprotected", before: protect},
		{name: "mkltfs-cleaning-tape", before: `mtx -f "$C" load 12 0;`}, {name: "mkltfs-devname-nst", before: load},

		{name: "ltfs-mount-ok", before: format}, {name: "ltfs-after-wipe", before: format + `mkltfs -w -d "$D";`},
		{name: "ltfs-unformatted", before: load}, {name: "ltfs-no-medium"}, {name: "ltfs-nodev"},
		{name: "ltfs-device_list"}, {name: "ltfs-devnameLABDRV0001", before: format},
		{name: "ltfs-devname_dev_lab_drive0", before: format},
		{name: "ltfs-devname_dev_nst0", before: format}, {name: "ltfs-devname_dev_st0", before: format},
		{name: "ltfs-foreground", before: format}, {name: "ltfs-mount-drive-busy", before: mount},
		{name: "ltfs-release_device", before: mount}, {name: "ltfs-mount-on-mounted-dir", before: mount},
		{name: "ltfs-mount-eject", before: format, drive: "sg2"}, {name: "ltfs-mount-quiet-opts", before: format},
		{name: "ltfs-mount-right-after-umount", before: format}, {name: "ltfs-mount-ro", before: format},
		{name: "ltfs-mount-writeprotected", before: `mtx -f "$C" load 11 0; mkltfs -q -d "$D" -s PRT001;` + protect},
		{name: "ltfs-writeprotected-unformatted", before: protect},
		{name: "ltfs-mountpoint-missing", before: format}, {name: "ltfs-mountpoint-nonempty", before: format},

		{name: "ltfsck-fresh", before: format}, {name: "ltfsck-after-umount", before: file + wait},
		{name: "ltfsck-second-run-1", before: file + wait}, {name: "ltfsck-unformatted", before: load},
		{name: "ltfsck-while-mounted", before: mount}, {name: "ltfsck-list", before: file + wait},
		{name: "ltfsck-list-m", before: file + wait}, {name: "ltfsck-full-recovery", before: format},
		{name: "ltfsck-writeprotected", before: `mtx -f "$C" load 11 0; mkltfs -q -d "$D" -s PRT001;` + protect},

		{name: "enospc-remount", before: fill}, {name: "enospc-ltfsck", before: fill},
		{name: "kill9-mount", before: file + `echo two > "$M/two";` + kill},
		{name: "kill9-nosync-mount", before: file + wait + `ltfs -o devname="$D" "$M"; echo two > "$M/two";` + kill},
		{name: "kill9-nosync-ltfsck", before: file + wait + `ltfs -o devname="$D" "$M"; echo two > "$M/two";` + kill},
		{name: "kill9-nosync-mount-after", before: file + wait + `ltfs -o devname="$D" "$M"; echo two > "$M/two";` + kill + `ltfsck "$D";`},
		{name: "race-ltfsck", before: file + wait + `ltfs -o devname="$D" "$M"; echo two > "$M/two"; umount "$M"; mtx -f "$C" unload; mtx -f "$C" load 1 0;` + wait},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := recorded(t)
			if err := l.Remove(11); err != nil {
				t.Fatal(err)
			}
			if err := l.Add(11, Cartridge{Barcode: "PRT001L8"}); err != nil {
				t.Fatal(err)
			}
			dirs := mountDirs(t, l, 2)
			nonempty := t.TempDir()
			if err := os.WriteFile(filepath.Join(nonempty, "file"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(t.TempDir(), "drive")
			if err := os.Symlink(l.Drives[0].Device, link); err != nil {
				t.Fatal(err)
			}
			m := mapping{{"/dev/sg2", l.Drives[0].Device}, {"/dev/sg3", l.Drives[1].Device}, {"/dev/sg1", l.Changer},
				{"/dev/nst0", l.Drives[0].Tape}, {"/dev/st0", l.node("st0")}, {"/dev/drive0", link},
				{"LABDRV0001", l.Drives[0].Serial}, {"LABDRV0002", l.Drives[1].Serial},
				{"/mnt/ltfs0", dirs[0]}, {"/mnt/ltfs1", dirs[1]}, {"/mnt/ne", nonempty}, {"/mnt/nonexist", filepath.Join(dirs[0], "missing")}}
			want := readTranscript(t, c.name)
			if c.before != "" {
				shell(t, l, fmt.Sprintf(`C="$LIBRARY/dev/sg0" D="$LIBRARY/dev/sg1" M=%s; `, dirs[0])+c.before)
			}
			ours := strings.Replace(m.toOurs(want.command), "INT 12", "INT 2", 1)
			got := shell(t, l, ours)
			// The real process ends within seconds of umount too, but the recording does not wait for its words.
			if d := cmp.Diff(codes(want.stdout+want.stderr), codes(got.stdout+got.stderr)); d != "" {
				t.Errorf("%s: message codes (-recorded +ours):\n%s\n%s", want.command, d, got.stdout+got.stderr)
			}
			if want.code != got.code {
				t.Errorf("%s: exit code %d, recorded %d\n%s", want.command, got.code, want.code, got.stdout+got.stderr)
			}
			if a, b := mountLines(want.stdout), mountLines(m.back(strings.ReplaceAll(got.stdout, `\040`, " "))); a != b {
				t.Errorf("%s: mounted as\n%srecorded\n%s", want.command, b, a)
			}
		})
	}
}

// mountLines are the lines of /proc/mounts in an output.
func mountLines(s string) string {
	return strings.Join(regexp.MustCompile(`(?m)^(ltfs:\S+ /mnt/\S+ fuse .*|rc=.*|immediate-remount .*|.*VolumeTag.*)$`).FindAllString(s, -1), "\n")
}

// The attributes that exist, and those whose value is the same on every volume.
func TestAttributesAsRecorded(t *testing.T) {
	needFuse(t)
	l := recorded(t)
	dir := mountDirs(t, l, 1)[0]
	must(t, l, fmt.Sprintf(`mtx -f "$LIBRARY/dev/sg0" load 1 0; D="$LIBRARY/dev/sg1"; mkltfs -q -d "$D" -s ABC001 -n ABC001L8 &&
		ltfs -o quiet -o devname="$D" %s 2>&1; cd %[1]s && mkdir -p d1/d2 && echo hello > d1/a.txt && head -c 3M /dev/zero > d1/d2/r.bin`, dir))
	same := regexp.MustCompile(`^(volumeUUID|.*Time|vendor.IBM.profiler|media.*(Capacity|Space)|mediaLoads|vendor.IBM..*Blocks|fileUID)$`)
	for name, file := range map[string]string{"getfattr-each-root": "", "getfattr-each-dir": "d1", "getfattr-each-file": "d1/d2/r.bin"} {
		text := readTranscript(t, name).stdout
		for _, m := range regexp.MustCompile(`(?m)^user\.(\S+?)="(.*)"$`).FindAllStringSubmatch(text, -1) {
			buf := make([]byte, 1000)
			n, err := unix.Getxattr(filepath.Join(dir, file), "user."+m[1], buf)
			if err != nil {
				t.Errorf("%s: %s: %v", name, m[1], err)
			} else if got := string(buf[:n]); got != m[2] && !same.MatchString(strings.TrimPrefix(m[1], "ltfs.")) {
				t.Errorf("%s: %s is %q, recorded %q", name, m[1], got, m[2])
			}
		}
		for _, m := range regexp.MustCompile(`user\.(\S+): No such attribute`).FindAllStringSubmatch(text, -1) {
			if _, err := unix.Getxattr(filepath.Join(dir, file), "user."+m[1], make([]byte, 1000)); err != unix.ENODATA {
				t.Errorf("%s: %s: %v, recorded: no such attribute", name, m[1], err)
			}
		}
	}
	if n, err := unix.Listxattr(dir, make([]byte, 1000)); n != 0 || err != nil {
		t.Errorf("%d bytes of names listed (%v), recorded none", n, err)
	}
}
