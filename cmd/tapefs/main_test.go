package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestMain puts a tapefs into PATH: scripts, the virtual library's programs and the tests below all run that.
func TestMain(m *testing.M) {
	// Scripts wait more than they compute: for programs, unmounts and syncs. A -parallel that is given counts more.
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	testscript.Main(programs{m}, map[string]func(){"tapefs": tapefsOfTests, "mount.tapefs": main, "mount.fuse.tapefs": main, "bench-floor": benchFloor, "bench-loopback": benchLoopback})
}

// programs are the tests, which run the program as people build it. The test binary, of which testscript makes commands, has more to
// initialize, and the tests start it many thousand times.
type programs struct{ *testing.M }

func (p programs) Run() int {
	flag.Parse()
	if ownProgram() {
		bin, _, _ := strings.Cut(os.Getenv("PATH"), string(filepath.ListSeparator)) // where testscript put its copies
		if err := buildProgram(bin, "tapefs", mountHelpers...); err != nil {
			fmt.Fprintln(os.Stderr, "build the program that the tests run:", err)
			return 1
		}
	}
	return p.M.Run()
}

// ownProgram reports whether the tests run the program itself. A soak runs the test binary, which profiles its heap and has the race
// detector if the tests do; where tests are only listed nothing is run.
func ownProgram() bool {
	return os.Getenv("TAPEFS_SOAK") == "" && flag.Lookup("test.list").Value.String() == "" && flag.Lookup("test.run").Value.String() != "^$"
}

// buildProgram builds tapefs into a folder, and gives it other names, too.
func buildProgram(dir, name string, others ...string) error {
	file := filepath.Join(dir, name)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", file+".new", ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	for _, other := range others {
		if err := os.Remove(filepath.Join(dir, other)); err != nil {
			return err
		}
		if err := os.Link(file+".new", filepath.Join(dir, other)); err != nil {
			return err
		}
	}
	return os.Rename(file+".new", file)
}

func TestScripts(t *testing.T) {
	needFuse(t)
	testscript.Run(t, testscript.Params{
		Dir: "../../testdata/script",
		Condition: func(cond string) (bool, error) {
			if cond != "root" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			if os.Geteuid() != 0 && os.Getenv("CI") == "true" {
				return false, errors.New("CI is to run as root")
			}
			return os.Geteuid() == 0, nil
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("TAPEFS_CONFIG", filepath.Join(env.WorkDir, "config.yaml"))
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "state-home"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config-home"))
			if flavor := os.Getenv("TAPEFS_VIRTUAL_FLAVOR"); flavor != "" { // whole scripts on other LTFS programs
				env.Setenv("TAPEFS_VIRTUAL_FLAVOR", flavor)
			}
			transcripts, err := filepath.Abs("../../testdata/transcripts")
			if err != nil {
				return err
			}
			env.Setenv("TRANSCRIPTS", transcripts)
			env.Setenv("SAFE_MD", filepath.Join(filepath.Dir(filepath.Dir(transcripts)), "docs", "safe.md"))
			env.Defer(func() { unmountBelow(env.WorkDir) })
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"waitgone": waitGone,
			"xattr":    hasXattr,
		},
	})
}

// exits runs a program, which must end with an exit code: exits CODE PROGRAM [ARG]...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG]...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var exit *exec.ExitError
	code := 0
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("it exits with %d; want %d", code, want)
	}
}

// waitGone waits until nothing is mounted at or below a directory, and until the processes that served it are gone:
// an unmounted volume's ltfs still writes its index, a mount still gives its drives and its socket back.
func waitGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitgone DIR")
	}
	dir := ts.MkAbs(args[0])
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if len(mountsBelow(dir)) == 0 && !anyProcess(func(args []string) bool { return isBelow(args[len(args)-1], dir) }) {
			return
		}
	}
	ts.Fatalf("a minute later: mounted %v, or a process named for a folder at or below %s", mountsBelow(dir), dir)
}

// isBelow tells whether a cleaned path is dir, or lies below it.
func isBelow(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// hasXattr checks the value of an extended attribute.
func hasXattr(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: xattr FILE NAME VALUE")
	}
	buf := make([]byte, 1000)
	n, err := unix.Getxattr(ts.MkAbs(args[0]), args[1], buf)
	ts.Check(err)
	if got := string(buf[:n]); got != args[2] {
		ts.Fatalf("%s of %s is %q, not %q", args[1], args[0], got, args[2])
	}
}

// needFuse skips where no FUSE mount is possible, but never in CI.
func needFuse(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("/dev/fuse is missing")
	}
	t.Skip("/dev/fuse is missing")
}

func mountsBelow(dir string) []string {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return nil
	}
	var dirs []string
	for _, info := range infos {
		dirs = append(dirs, info.Mountpoint)
	}
	return dirs
}

// unmountBelow takes away what a failed test left mounted, and waits for the processes behind it.
func unmountBelow(dir string) {
	for range 100 {
		mounts := mountsBelow(dir)
		if len(mounts) == 0 && !processesNaming(dir) {
			return
		}
		for _, m := range mounts {
			if unix.Unmount(m, 0) != nil {
				exec.Command("fusermount3", "-u", m).Run()
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, m := range mountsBelow(dir) {
		unix.Unmount(m, unix.MNT_DETACH)
	}
}

// processesNaming tells whether a process has dir in its command line.
func processesNaming(dir string) bool {
	return anyProcess(func(args []string) bool { return strings.Contains(strings.Join(args, "\x00"), dir) })
}

// anyProcess tells whether is holds for the command line of another process.
func anyProcess(is func(args []string) bool) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	self := fmt.Sprintf("/proc/%d/cmdline", os.Getpid())
	return slices.ContainsFunc(files, func(file string) bool {
		line, err := os.ReadFile(file)
		return err == nil && file != self && is(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"))
	})
}
