package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"
)

// soakHeap names the folder into which the mount of a soak writes what it holds in memory.
const soakHeap = "TAPEFS_SOAK_HEAP"

// tapefsOfTests is the tapefs that tests run. The mount of a soak profiles its own heap meanwhile: from outside
// nobody can tell what of a process's memory is Go's heap, and who holds that.
func tapefsOfTests() {
	if dir := os.Getenv(soakHeap); dir != "" && slices.Contains(os.Args, "mount") {
		go profileHeap(dir)
	}
	main()
}

// profileHeap writes a heap profile every two minutes, and a line of the runtime's figures beside it.
func profileHeap(dir string) {
	begun := time.Now()
	for tick := time.Tick(2 * time.Minute); ; <-tick {
		if err := writeHeapProfile(dir, time.Since(begun)); err != nil {
			fmt.Fprintln(os.Stderr, "heap profile:", err)
			return
		}
	}
}

// writeHeapProfile collects garbage first, so that the profile shows what is held and nothing else.
func writeHeapProfile(dir string, age time.Duration) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	runtime.GC()
	runtime.ReadMemStats(&after)
	minute := int(age.Minutes() + 0.5)
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("heap-%03d.pprof", minute)))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.WriteHeapProfile(f); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, "memory.txt"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = fmt.Fprintf(log, "minute %d: heap %d KiB before collecting, %d after; taken from the system %d, of which given back %d, stacks %d, other %d; %d goroutines\n",
		minute, before.HeapAlloc>>10, after.HeapAlloc>>10, after.Sys>>10, after.HeapReleased>>10, after.StackSys>>10, (after.MSpanSys+after.MCacheSys+after.GCSys+after.OtherSys+after.BuckHashSys)>>10, runtime.NumGoroutine())
	return err
}
