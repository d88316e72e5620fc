package virtual

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// volatile are the parts of an output that differ between any two runs.
var volatile = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d+ bytes \(.*copied.*`), "copied"},
	{regexp.MustCompile(`\d+ bytes copied.*`), "copied"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}`), "TIME"},
	{regexp.MustCompile(`(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d [ \d:]{5}`), "DATE"},
	{regexp.MustCompile(`Device: \S+\tInode: \d+ `), "Device"},
	{regexp.MustCompile(`root +\d+ DATE \.\.`), "root DATE .."}, // the directory that holds the mount point
	{regexp.MustCompile(`drwx\S+ +\d+ (root root DATE \.\.)`), "parent $1"},
	{regexp.MustCompile(`(?m)^total \d+$`), "total"},
	{regexp.MustCompile(` +`), " "},
	{regexp.MustCompile(`(?m)^ ?\d+ (parent|[dl-][rwx-]{9})`), "inode $1"},
}

// Commands on files of a mounted volume, each on the tree that the recording began with.
func TestFilesAsRecorded(t *testing.T) {
	needFuse(t)
	l := recorded(t)
	dir := mountDirs(t, l, 1)[0]
	must(t, l, fmt.Sprintf(`mtx -f "$LIBRARY/dev/sg0" load 1 0; D="$LIBRARY/dev/sg1"; mkltfs -q -d "$D" -s ABC001 -n ABC001L8 2>&1 &&
		ltfs -o quiet -o devname="$D" %s 2>&1`, dir))
	m := mapping{{"/mnt/ltfs0", dir}, {"/dev/sg2", l.Drives[0].Device}}
	tree := fmt.Sprintf(`cd / && rm -rf %[1]s/* && cd %[1]s && mkdir -p d1/d2 && echo hello > d1/a.txt && head -c 3M /dev/urandom > d1/d2/r.bin &&
		ln -s a.txt d1/link && touch zero`, dir)
	cases := []struct{ name, before string }{
		{"fs-ls", ""}, {"fs-badname-colon", ""}, {"fs-badname-ctrl", "touch a:b"},
		{"fs-badname-nonutf8", `touch a:b $'a\nb' $'a\tb'`}, {"fs-hardlink", ""}, {"fs-mknod-fifo", ""},
		{"fs-chmod-chown", ""}, {"fs-touch-mtime", ""}, {"fs-append-overwrite", ""}, {"fs-fallocate-sparse", ""},
		{"fs-xattr-user", ""}, {"listxattr-file", "setfattr -n user.foo -v bar d1/a.txt"}, {"fs-flock", "touch od"},
		{"fs-fsync", ""}, {"fs-sync", ""}, {"fs-mmap-odirect", ""},
		{"fs-rename-overwrite", "touch -d 2001-02-03 d1/a.txt"}, {"getfattr-root", ""}, {"getfattr-noprefix", ""},
		{"chmod-readonly", "head -c 1011 /dev/zero > passwd"},
		{"setfattr-volumeName", ""}, {"setfattr-sync", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			must(t, l, tree)
			if c.before != "" {
				must(t, l, "cd "+dir+" && "+c.before)
			}
			want := readTranscript(t, c.name)
			if c.name == "setfattr-sync" { // its number depends on what was done before
				want.stdout = strings.Replace(want.stdout, `="2"`, `="N"`, 1)
			}
			got := shell(t, l, m.toOurs(want.command))
			normal := func(s string) string {
				s = m.back(s)
				for _, v := range volatile {
					s = v.pattern.ReplaceAllString(s, v.with)
				}
				if c.name == "setfattr-sync" {
					s = regexp.MustCompile(`Generation="\d+"`).ReplaceAllString(s, `Generation="N"`)
				}
				return strings.ReplaceAll(s, strings.TrimPrefix(dir, "/"), "mnt/ltfs0")
			}
			for _, d := range []string{
				cmp.Diff(normal(want.stdout), normal(got.stdout)), cmp.Diff(normal(want.stderr), normal(got.stderr)),
				cmp.Diff(want.code, got.code),
			} {
				if d != "" {
					t.Errorf("%s (-recorded +ours):\n%s", want.command, d)
				}
			}
		})
	}
	name := filepath.Join(dir, strings.Repeat("é", 200))
	if err := os.WriteFile(name, []byte("long"), 0o644); err != nil {
		t.Errorf("name of 200 characters and 400 bytes: %v", err)
	}
}

// A tape whose cartridge was taken away while it was mounted.
func TestYankedAsRecorded(t *testing.T) {
	needFuse(t)
	l := recorded(t)
	dir := mountDirs(t, l, 1)[0]
	must(t, l, fmt.Sprintf(`mtx -f "$LIBRARY/dev/sg0" load 1 0; D="$LIBRARY/dev/sg1"; mkltfs -q -d "$D" -s ABC001 -n ABC001L8 2>&1 &&
		ltfs -o quiet -o devname="$D" %s 2>&1`, dir))
	m := mapping{{"/mnt/ltfs0", dir}, {"/dev/sg1", l.Changer}, {"/dev/sg2", l.Drives[0].Device}}
	for _, name := range []string{"mtx-unload-while-ltfs-mounted", "fs-fsync", "fs-ls", "fs-mknod-fifo", "umount"} {
		want := readTranscript(t, "yanked/"+name)
		got := shell(t, l, m.toOurs(want.command))
		out := func(s string) string {
			s = m.back(s)
			for _, v := range volatile {
				s = v.pattern.ReplaceAllString(s, v.with)
			}
			return s
		}
		if d := cmp.Diff(out(want.stdout+want.stderr), out(got.stdout+got.stderr)); d != "" || got.code != want.code {
			t.Errorf("%s (-recorded +ours): exit code %d, recorded %d\n%s", want.command, got.code, want.code, d)
		}
	}
	idle(t, l)
	want := readTranscript(t, "yanked/ltfsck-after-umount")
	got := shell(t, l, mapping{{"/dev/sg2", l.Drives[0].Device}}.toOurs(want.command))
	if d := cmp.Diff(codes(want.stderr), codes(got.stderr)); d != "" || got.code != want.code {
		t.Errorf("%s (-recorded +ours): exit code %d, recorded %d\n%s", want.command, got.code, want.code, d)
	}
}
