package job

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

const (
	clockTicks   = 100         // a second, in /proc/PID/stat: USER_HZ, the same on all that Linux runs on
	clockMoved   = time.Minute // by which the clock may have been set since the machine was started
	startedField = 22 - 2      // of /proc/PID/stat, counted behind the name in parentheses
)

// Alive tells whether the process that records a run still runs: there is one of this number, and it is no
// younger than the run.
func Alive(r catalog.Run) bool {
	started, err := processStarted(strconv.Itoa(r.PID))
	return err == nil && started.Before(r.Started.Add(clockMoved))
}

// processStarted is when a process began.
func processStarted(pid string) (time.Time, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return time.Time{}, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < startedField || fields[0] == "Z" { // a zombie is dead, and its parent has not looked yet
		return time.Time{}, fmt.Errorf("process %s: %w", pid, os.ErrProcessDone)
	}
	ticks, err := strconv.ParseInt(fields[startedField-1], 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, err
	}
	var up float64
	if _, err := fmt.Sscan(string(uptime), &up); err != nil {
		return time.Time{}, err
	}
	boot := time.Now().Add(-time.Duration(up * float64(time.Second)))
	return boot.Add(time.Duration(ticks) * time.Second / clockTicks), nil
}
