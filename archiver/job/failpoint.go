package job

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Failpoint kills this process, as a power cut would, when TAPEFS_FAILPOINT names the point: NAME, or NAME:N for the time at which it is
// passed, 1 for the first.
func Failpoint(name string) {
	wanted, text, counted := strings.Cut(os.Getenv("TAPEFS_FAILPOINT"), ":")
	if name == "" || wanted != name {
		return
	}
	if counted {
		passed.Lock()
		defer passed.Unlock()
		passed.times++
		if nth, err := strconv.Atoi(text); err != nil || passed.times < nth {
			return
		}
	}
	// SIGKILL runs no deferred function and no signal handler: nothing is tidied up.
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// passed counts how often the one failpoint that is wanted was passed.
var passed struct {
	sync.Mutex
	times int
}
