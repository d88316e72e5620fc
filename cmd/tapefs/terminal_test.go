package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onTerminal runs a command whose controlling terminal is one of ours. Each question that the terminal shows is
// answered with the next of answers. It returns what the terminal showed; stdout and stderr stay the command's own.
func onTerminal(t *testing.T, cmd *exec.Cmd, question string, answers ...string) (shown string, err error) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	defer ours.Close()
	fd := int(ours.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		asked := 0
		for {
			n, err := ours.Read(buf)
			seen.Write(buf[:n])
			for ; asked < len(answers) && strings.Count(seen.String(), question) > asked; asked++ {
				// Typed as soon as it is asked, the answer may come before the program turned echo off:
				// a person waits, too.
				waitNoEcho(fd) // what one end has, the other has
				_, _ = ours.WriteString(answers[asked] + "\n")
			}
			if err != nil {
				return
			}
		}
	}()
	err = cmd.Wait()
	theirs.Close() // our end has nothing to read any more then, after what was written
	<-done
	return seen.String(), err
}

// waitNoEcho waits, for a while, until a terminal does not show what is typed.
func waitNoEcho(fd int) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if mode, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil || mode.Lflag&unix.ECHO == 0 {
			return
		}
	}
}
