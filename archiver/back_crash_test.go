package archiver

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/tapefs/tapefs/changer/virtual"
)

// killAt runs an archive in another process that dies at a failpoint; false: it was not reached.
func (w *backWorld) killAt(point string, syncBytes int64) bool {
	w.Helper()
	self, err := os.Executable()
	w.must(err)
	cmd := exec.CommandContext(w.Context(), self, "back-archive", w.dir, fmt.Sprint(syncBytes))
	cmd.Env = append(os.Environ(), "TAPEFS_FAILPOINT="+point)
	// A process group of its own, as a shell or cron would start it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
		w.Fatalf("the process to be killed ended with %v\n%s", err, out)
	}
	return true
}

// Killed at any arrow of the journey, a clean run afterwards ends with exactly the copies wanted:
// nothing is lost, doubled or believed that is not on tape.
func TestKillAtEachArrow(t *testing.T) {
	// All others were tried the same way; these are the ones between which something is recorded.
	points := []string{"planned", "spool-sync", "mark-fetched", "salt", "part-row", "part-close", "part-written",
		"follower-part", "manifest-row", "sync", "durable", "release", "released"}
	if testing.Short() {
		points = []string{"part-close", "part-written", "sync", "durable"}
	}
	w := newBackWorld(t, virtual.Options{Slots: 12, TapeSize: 256 << 20})
	w.write("src/first", 100, 5000) // so that tapes exist and a later kill finds them
	w.write("far/first", 101, 9<<20)
	w.archive()
	for i, point := range points {
		t.Run(point, func(t *testing.T) {
			w.T = t
			w.write(fmt.Sprintf("src/%d-%s", i, point), byte(2*i), 70<<10)
			w.write(fmt.Sprintf("far/%d-%s", i, point), byte(2*i+1), 6<<20)
			w.close()
			reached := w.killAt(point, 5<<20)
			if !reached {
				t.Fatal("the failpoint was not reached")
			}
			w.open(nil)
			w.archive()
			w.settled()
		})
	}
	w.T = t
	w.restore("src", "a")
	w.restore("far", "a")
	w.restore("far", "b")
}
