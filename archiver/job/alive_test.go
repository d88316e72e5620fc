package job

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

func TestAlive(t *testing.T) {
	run := catalog.Run{PID: os.Getpid(), Started: time.Now()}
	if !Alive(run) {
		t.Error("this process counts as dead")
	}
	run.Started = run.Started.Add(-24 * time.Hour) // its number was another process's then
	if Alive(run) {
		t.Error("a process that is younger than the run counts as the one that records it")
	}
	child := exec.Command("true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	gone := catalog.Run{PID: child.Process.Pid, Started: time.Now()}
	for deadline := time.Now().Add(time.Minute); Alive(gone); time.Sleep(time.Millisecond) { // a zombie until it is waited for
		if time.Now().After(deadline) {
			t.Fatal("a zombie counts as alive")
		}
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if Alive(gone) {
		t.Error("a process that is gone counts as alive")
	}
}
