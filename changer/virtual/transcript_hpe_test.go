package virtual

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// recordedHPE makes the library that was recorded with HPE's programs: an LTO-5 and an LTO-6 drive of HP.
func recordedHPE(t *testing.T) *Library {
	t.Helper()
	l, err := Create(filepath.Join(t.TempDir(), "library"), Options{Flavor: HPE, Slots: 10, Tapes: -1, TapeSize: 1500 << 20,
		Kinds: []DriveKind{{Generation: 5}, {Generation: 6}}})
	if err != nil {
		t.Fatal(err)
	}
	for slot, c := range map[int]Cartridge{1: {Barcode: "A00008L5"}, 2: {Barcode: "B00001L6"}, 3: {Barcode: "CLN001L6"}, 4: {Barcode: "WRP001L6", WriteProtected: true},
		7: {Barcode: "000218L5", Size: 16 << 20}} {
		if err := l.Add(slot, c); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// What the emulated drive was alone with, or what differs from run to run.
var (
	hpeSystem = regexp.MustCompile(`LTFS(17087I|17089I|15042I|15043I|16089I|16090I|14105I|14106I|15041I|16088I|14104I)`)
	hpeVaries = []struct {
		pattern *regexp.Regexp
		instead string
	}{
		{regexp.MustCompile(`^[0-9a-f]+ LTFS`), "LTFS"},
		{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
		{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9} UTC`), "TIME"},
		{regexp.MustCompile(`index \(\d+\) as`), "index as"}, {regexp.MustCompile(`index from \d+ \(b\)`), "index (b)"},
		{regexp.MustCompile(`target generation \d+`), "target generation"}, {regexp.MustCompile(`Volume capacity is \d+ GB`), "Volume capacity"},
		{regexp.MustCompile(`barcode (\w+) +$`), "barcode $1"}, {regexp.MustCompile(`'\S*dev/(\w+)'`), "'$1'"},
		{regexp.MustCompile(`\(-217\d\d\)$`), "(-217xx)"},
		{regexp.MustCompile(`Unable to open \(check permissions\)`), "Unable to open /proc/scsi/sg/devices"},
	}
)

// said are the messages of an output in order, as words, without what varies.
func said(output string) (lines []string) {
	for line := range strings.SplitSeq(output, "\n") {
		if hpeSystem.MatchString(line) {
			continue
		}
		for _, v := range hpeVaries {
			line = v.pattern.ReplaceAllString(line, v.instead)
		}
		if codePattern.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestProgramsOfHPEAsRecorded(t *testing.T) {
	if testing.Short() {
		t.Skip("starts hundreds of programs")
	}
	needFuse(t)
	const (
		load   = `mtx -f "$C" load 1 0;`
		format = load + `mkltfs -q -d "$D" -s A00008 -n A00008L5;`
		mount  = format + `ltfs -o devname="$D" "$M";`
		end    = `umount "$M"; while mkltfs -d "$D" 2>&1 | grep -q LTFS20035E; do sleep 0.01; done;`
		file   = format + `ltfs -o sync_type=unmount -o devname="$D" "$M"; echo one > "$M/one"; setfattr -n user.ltfs.sync -v 1 "$M";`
		kill   = `"$SELF" virtual fault "$LIBRARY" kill-ltfs; umount "$M";`
		again  = `ltfs -o sync_type=unmount -o devname="$D" "$M" ;`
		nosync = file + `echo two > "$M/two";` + kill
		cln    = `mtx -f "$C" load 3 1;`
		wp     = `mtx -f "$C" load 4 1;`
		six    = `mtx -f "$C" load 2 1;`
		wp2    = six + `mkltfs -q -d "$E" -s B00001 -n B00001L6; "$SELF" virtual fault "$LIBRARY" write-protect=B00001L6;`
		small  = `mtx -f "$C" load 7 0;`
		fill   = small + `mkltfs -q -d "$D" -s 000218; ` + again +
			`for i in 0 1 2 3; do head -c 3M /dev/zero > "$M/big$i"; setfattr -n user.ltfs.sync -v 1 "$M"; done; head -c 5M /dev/zero > "$M/big4";` + end
	)
	cases := []struct {
		name, before string
		drive1       bool // it was recorded with the other drive
	}{
		{name: "mkltfs-ok", before: load}, {name: "mkltfs-quiet", before: small}, {name: "mkltfs-already-formatted", before: format},
		{name: "mkltfs-force", before: small + `mkltfs -q -d "$D" -s 000218;`}, {name: "mkltfs-lto6", before: six},
		{name: "mkltfs-bad-serial"}, {name: "mkltfs-badopt"}, {name: "mkltfs-noargs"}, {name: "mkltfs-nodev"}, {name: "mkltfs-nst"},
		{name: "mkltfs-no-medium"}, {name: "mkltfs-cleaning-tape", before: cln}, {name: "mkltfs-writeprotected", before: wp},
		{name: "mkltfs-force-writeprotected", before: wp2}, {name: "mkltfs-wipe", before: format}, {name: "drive-busy-mkltfs", before: mount},
		{name: "mkltfs-version"}, {name: "ltfsck-version"}, {name: "ltfs-version"},

		{name: "ltfs-mount-ok", before: format}, {name: "ltfs-unformatted", before: load}, {name: "ltfs-no-medium"},
		{name: "ltfs-cleaning-tape", before: cln}, {name: "ltfs-nodev"}, {name: "ltfs-no-medium-st"}, {name: "ltfs-device_list"},
		{name: "ltfs-devname-symlink", before: format}, {name: "ltfs-devname-serial", before: format}, {name: "ltfs-noargs"},
		{name: "drive-busy-ltfs", before: mount}, {name: "on-mounted-dir", before: mount},
		{name: "ltfs-mount-ro", before: format}, {name: "ltfs-mount-writeprotected", before: wp2},
		{name: "ltfs-writeprotected-unformatted", before: wp}, {name: "ltfs-mountpoint-missing", before: format},
		{name: "ltfs-mountpoint-nonempty", before: format}, {name: "ltfs-foreground", before: format},

		{name: "ltfsck-after-umount", before: file + end}, {name: "ltfsck-no-medium"}, {name: "ltfsck-unformatted", before: load},
		{name: "ltfsck-while-mounted", before: mount}, {name: "ltfsck-list", before: file + end}, {name: "ltfsck-list-m", before: file + end},
		{name: "ltfsck-writeprotected", before: wp2},

		{name: "kill9-mount", before: file + kill}, {name: "kill9-nosync-mount", before: nosync},
		{name: "kill9-ltfsck", before: file + kill + again + end}, {name: "kill9-mount-after-ltfsck", before: file + kill + again + end + `ltfsck "$D";`},
		{name: "kill9-nosync-ltfsck", before: nosync + again + end}, {name: "kill9-nosync-ltfsck-full", before: nosync + again + end},
		{name: "enospc-remount", before: fill}, {name: "enospc-ltfsck", before: fill},
		{name: "enospc-mount-again", before: fill + `ltfsck "$D";`}, {name: "enospc-mount-ro", before: fill + `ltfsck "$D";`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := recordedHPE(t)
			dirs := mountDirs(t, l, 2)
			nonempty := t.TempDir()
			if err := os.WriteFile(filepath.Join(nonempty, "file"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(t.TempDir(), "mydrive")
			if err := os.Symlink(l.Drives[0].Device, link); err != nil {
				t.Fatal(err)
			}
			m := mapping{{"/dev/sg2", l.Drives[0].Device}, {"/dev/sg3", l.Drives[1].Device}, {"/dev/sg99", l.node("sg99")},
				{"/dev/nst0", l.Drives[0].Tape}, {"/dev/st0", l.node("st0")}, {"/dev/mydrive", link}, {"HUL1234567", l.Drives[0].Serial},
				{"HUL2234567", l.Drives[1].Serial}, {"/mnt/l", dirs[0]}, {"/mnt/m2", dirs[1]}, {"/mnt/ne", nonempty},
				{"/mnt/nosuch", filepath.Join(dirs[0], "missing")}}
			want := readTranscript(t, "hpe/"+c.name)
			if c.before != "" {
				shell(t, l, fmt.Sprintf(`C="$LIBRARY/dev/sg0" D="$LIBRARY/dev/sg1" E="$LIBRARY/dev/sg2" M=%s; `, dirs[0])+c.before)
			}
			got := shell(t, l, m.toOurs(strings.NewReplacer("grep mnt/l", "grep /mnt/l", "sleep 12", "sleep 2").Replace(want.command)))
			recorded := said(want.stderr)
			if d := cmp.Diff(recorded, said(m.back(got.stderr))); d != "" {
				t.Errorf("%s: messages (-recorded +ours):\n%s\n%s", want.command, d, got.stderr)
			}
			if want.code != got.code {
				t.Errorf("%s: exit code %d, recorded %d\n%s", want.command, got.code, want.code, got.stdout+got.stderr)
			}
			if a, b := mountLines(want.stdout), mountLines(m.back(got.stdout)); a != b {
				t.Errorf("%s: mounted as\n%srecorded\n%s", want.command, b, a)
			}
			if strings.HasSuffix(c.name, "-version") && got.stderr != want.stderr {
				t.Errorf("%s: %q, recorded %q", c.name, got.stderr, want.stderr)
			}
		})
	}
}

// mountedHPE is mounted for a library with HPE's programs; option is a further one of ltfs.
func mountedHPE(t *testing.T, tapeSize int64, option string) (*Library, string) {
	t.Helper()
	needFuse(t)
	l, err := Create(filepath.Join(t.TempDir(), "library"), Options{Flavor: HPE, Slots: 4, TapeSize: tapeSize})
	if err != nil {
		t.Fatal(err)
	}
	dir := mountDirs(t, l, 1)[0]
	must(t, l, fmt.Sprintf(`mtx -f %s load 1 0 && mkltfs -q -d %s -s VT0001 -n VT0001L8 && ltfs -o %s -o devname=%[2]s %[4]s`,
		l.Changer, l.Drives[0].Device, option, dir))
	return l, dir
}

// The attributes that exist with HPE's, and those whose value is the same on every volume.
func TestAttributesOfHPEAsRecorded(t *testing.T) {
	_, dir := mountedHPE(t, 64<<20, "sync_type=unmount")
	write(t, filepath.Join(dir, "f2"), strings.Repeat("x", 3<<20))
	if err := unix.Setxattr(dir, "user.ltfs.commitMessage", []byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	volume := regexp.MustCompile(`^(volume(UUID|Name|Serial)|mam(Barcode|VolumeName)|.*Time|indexGeneration|index(Location|Previous)|startblock|vendor.IBM.profiler|` +
		`vendor.IBM..*Blocks|media.*(Capacity|Space)|mediaLoads|fileUID)$`)
	for name, file := range map[string]string{"getfattr-each-root": "", "getfattr-each-file": "f2"} {
		text := readTranscript(t, "hpe/"+name)
		known := regexp.MustCompile(`(?m)^user\.ltfs\.(\S+?)="(.*)"$`).FindAllStringSubmatch(text.stdout, -1)
		missing := regexp.MustCompile(`user\.(\S+): (No such attribute|Permission denied|Operation not permitted)`).FindAllStringSubmatch(text.stdout+text.stderr, -1)
		if len(known) == 0 || len(missing) == 0 {
			t.Fatalf("%s lists %d attributes, and %d that there are not", name, len(known), len(missing))
		}
		for _, m := range known {
			buf := make([]byte, 1000)
			n, err := unix.Getxattr(filepath.Join(dir, file), "user.ltfs."+m[1], buf)
			if err != nil {
				t.Errorf("%s: %s: %v", name, m[1], err)
			} else if got := string(buf[:n]); got != m[2] && !volume.MatchString(m[1]) {
				t.Errorf("%s: %s is %q, recorded %q", name, m[1], got, m[2])
			}
		}
		errnos := map[string]error{"No such attribute": unix.ENODATA, "Permission denied": unix.EACCES, "Operation not permitted": unix.EPERM}
		for _, m := range missing {
			if _, err := unix.Getxattr(filepath.Join(dir, file), "user."+m[1], make([]byte, 1000)); err != errnos[m[2]] {
				t.Errorf("%s: %s: %v, recorded: %s", name, m[1], err, m[2])
			}
		}
	}
}

// With its default, sync_type=time, setting user.ltfs.sync only wakes the timer: the index comes later, and nobody hears of an index
// that could not be written. With unmount and close it waits for the index.
func TestSyncOfHPE(t *testing.T) {
	for option, waits := range map[string]bool{"sync_type=time@5": false, "sync_type=unmount": true, "sync_type=close": true} {
		l, dir := mountedHPE(t, 64<<20, option)
		write(t, filepath.Join(dir, "a"), "data")
		before := attr(t, dir, "indexGeneration")
		if err := l.Fault("index-write"); err != nil {
			t.Fatal(err)
		}
		if err := syncIndex(dir); (err != nil) != waits {
			t.Errorf("%s: an index that cannot be written: %v", option, err)
		}
		if err := l.Fault("clear"); err != nil {
			t.Fatal(err)
		}
		if err := syncIndex(dir); err != nil {
			t.Fatal(err)
		}
		if waits && attr(t, dir, "indexGeneration") != before+1 {
			t.Errorf("%s: there is no index when sync returns", option)
		}
		waitFor(t, "the index", func() bool { return attr(t, dir, "indexGeneration") == before+1 })
	}
}

// A full tape is an error of the medium to HPE's ltfs: fsync gives EROFS, close EIO, all else EROFS. The tape does not mount until ltfsck
// took off what no index tells of; what was synced is there, and the tape can be written again.
func TestEndOfTapeOfHPE(t *testing.T) {
	l, dir := mountedHPE(t, 32<<20, "sync_type=unmount")
	keep := strings.Repeat("keep", 1<<20)
	write(t, filepath.Join(dir, "keep"), keep)
	if err := syncIndex(dir); err != nil {
		t.Fatal(err)
	}
	generation := attr(t, dir, "indexGeneration")
	f, err := os.Create(filepath.Join(dir, "late"))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write(make([]byte, 30<<20)); n != 30<<20 || err != nil {
		t.Fatalf("write accepted %d bytes: %v", n, err)
	}
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"fsync", f.Sync(), syscall.EROFS}, {"close", f.Close(), syscall.EIO}, {"sync", syncIndex(dir), syscall.EROFS},
		{"create", os.WriteFile(filepath.Join(dir, "new"), nil, 0o644), syscall.EROFS},
		{"remove", os.Remove(filepath.Join(dir, "keep")), syscall.EROFS},
		{"truncate", os.Truncate(filepath.Join(dir, "late"), 0), syscall.EROFS},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
	if n, state := attr(t, dir, "indexGeneration"), attr(t, dir, "volumeLockState"); n != generation || state != 65 {
		t.Errorf("generation %d, it was %d; lock state %d", n, generation, state)
	}
	unmount(t, l, dir)
	log, err := os.ReadFile(filepath.Join(l.Dir, "drives", "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(codes(readTranscript(t, "hpe/enospc-ltfs-log").stdout), func(c string) bool {
		return slices.Contains([]string{"LTFS17085I", "LTFS20013I", "LTFS17160I", "LTFS17157I", "LTFS11005I", "LTFS20074E", "LTFS14111I", "LTFS14112I", "LTFS14113I",
			"LTFS14022E"}, c) // said before the log began, and by fuse
	})
	if d := cmp.Diff(want, slices.DeleteFunc(codes(string(log)), func(c string) bool { return c == "LTFS14022E" })); d != "" {
		t.Errorf("log (-recorded +ours):\n%s", d)
	}
	if r := shell(t, l, fmt.Sprintf("ltfs -o devname=%s %s", l.Drives[0].Device, dir)); r.code != 1 || !strings.Contains(r.stderr, "LTFS14484E") {
		t.Errorf("the next mount: exit code %d\n%s", r.code, r.stderr)
	}
	must(t, l, "ltfsck "+l.Drives[0].Device)
	mount(t, l, dir)
	has(t, filepath.Join(dir, "keep"), keep)
	if _, err := os.Stat(filepath.Join(dir, "late")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was never in an index is there (%v)", err)
	}
	write(t, filepath.Join(dir, "more"), keep)
}

// HPE's ltfs locks the sg node and leaves it open to others.
func TestDriveOfHPEAnswersWhileMounted(t *testing.T) {
	l, _ := mountedHPE(t, 64<<20, "sync_type=unmount")
	if out := must(t, l, "sg_read_attr -f 0x806 "+l.Drives[0].Device); !strings.Contains(out, "VT0001L8") {
		t.Errorf("the memory of the cartridge: %q", out)
	}
	if r := shell(t, l, "mkltfs -d "+l.Drives[0].Device); r.code != 8 {
		t.Errorf("mkltfs of a mounted tape: exit code %d", r.code)
	}
}

// Drives of other makers are refused, and a library has drives of HP's unless told.
func TestHPETakesItsOwnDrives(t *testing.T) {
	l, err := Create(filepath.Join(t.TempDir(), "library"), Options{Flavor: HPE, Slots: 4, Kinds: []DriveKind{{}, {Vendor: "IBM", Product: "ULT3580-TD8"}}})
	if err != nil {
		t.Fatal(err)
	}
	r := shell(t, l, fmt.Sprintf("mtx -f %s load 1 1; mkltfs -d %s -s VT0001", l.Changer, l.Drives[1].Device))
	if r.code != 8 || !strings.Contains(r.stderr, "LTFS20085E") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	must(t, l, fmt.Sprintf("mtx -f %s load 2 0; mkltfs -d %s -s VT0002", l.Changer, l.Drives[0].Device))
	if _, err := Create(filepath.Join(t.TempDir(), "other"), Options{Flavor: "ibm"}); err == nil {
		t.Error("any word is a flavor")
	}
}
