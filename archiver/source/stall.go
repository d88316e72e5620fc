package source

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
)

const (
	// DefaultStall is how long a source may be silent before it is given up for a run: longer than the slowest server takes to
	// look through one directory, or to read what it has of a file again.
	DefaultStall = 30 * time.Minute
	// SlowRead is what the slowest server reads of its files, bytes a second.
	SlowRead = 10 << 20
	// watchTick is how often at least an rsync is looked at, so that whoever waits for its source learns early that it is silent.
	watchTick = 2 * time.Second
	// RsyncEnds is how long a rsync that is told to end may take before it is killed.
	RsyncEnds = 2 * time.Second
)

// StallError is a source from which nothing came for too long.
type StallError struct {
	Limit time.Duration
	err   error // what rsync said of it; nil when it hung itself
}

func (e *StallError) Error() string {
	s := fmt.Sprintf("nothing came from it for %s (stall_timeout)", e.Limit)
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	return s
}

func (e *StallError) Unwrap() error { return e.err }

// StallOf is how long a source may be silent.
func StallOf(src job.Source) time.Duration {
	if src.StallTimeout > 0 {
		return src.StallTimeout
	}
	return DefaultStall
}

// Answered runs f, which looks at files of this machine, and waits for it no longer than limit: a system call on a file server that
// is gone may never return, and cannot be called off. After an error f may run still.
func Answered(ctx context.Context, limit time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return &StallError{Limit: limit}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stallOption is rsync's --timeout, in whole seconds.
func stallOption(src job.Source) string {
	return "--timeout=" + strconv.FormatInt(int64((StallOf(src)+time.Second-1)/time.Second), 10)
}

// stallWatch gives a rsync up that neither prints nor reads anything for too long. rsync has a timeout of its own; the watch is
// for one that hangs before it counts, or in the kernel.
type stallWatch struct {
	pid     int
	name    string // of rsync's processes, as the kernel keeps it
	limit   time.Duration
	last    atomic.Int64 // when something came, as job.SinceStart counts
	source  *job.Hearing // hears of it, too
	done    chan struct{}
	stopped sync.Once
}

// watchRsync begins to watch; cancel gets a *StallError.
func watchRsync(pid int, program string, limit time.Duration, source *job.Hearing, cancel context.CancelCauseFunc) *stallWatch {
	w := &stallWatch{pid: pid, name: filepath.Base(program), limit: limit, source: source, done: make(chan struct{})}
	if len(w.name) > 15 {
		w.name = w.name[:15]
	}
	w.alive()
	go w.run(cancel)
	return w
}

func (w *stallWatch) alive() {
	w.last.Store(int64(job.SinceStart()))
	w.source.Alive()
}

func (w *stallWatch) stop() { w.stopped.Do(func() { close(w.done) }) }

func (w *stallWatch) run(cancel context.CancelCauseFunc) {
	grace := min(w.limit/4, 30*time.Second) // rsync is to say it itself
	tick := time.NewTicker(max(100*time.Millisecond, min(w.limit/10, watchTick)))
	defer tick.Stop()
	var before int64
	for {
		select {
		case <-w.done:
			return
		case <-tick.C:
		}
		now, ok := w.bytesRead()
		if !ok || now != before {
			before = now
			w.alive()
		}
		if job.SinceStart()-time.Duration(w.last.Load()) > w.limit+grace {
			cancel(&StallError{Limit: w.limit})
			return
		}
	}
}

// unkillable is closed when an rsync that was told to end, and killed, is there all the same: it hangs in the kernel.
func (w *stallWatch) unkillable(ctx context.Context) <-chan struct{} {
	never := make(chan struct{})
	go func() {
		select {
		case <-w.done:
			return
		case <-ctx.Done():
		}
		select {
		case <-w.done:
		case <-time.After(2 * RsyncEnds):
			close(never)
		}
	}()
	return never
}

// isRsync reports whether a process of the group is called like a part of the rsync. A program in front of it may have another name.
func (w *stallWatch) isRsync(name string) bool {
	return name == w.name || strings.HasPrefix(name, "rsync")
}

// bytesRead is what the processes of a rsync have read, of files, pipes and connections, and which of them are there; ssh beside
// them may read signs of life of its own. False when that cannot be known.
func (w *stallWatch) bytesRead() (total int64, ok bool) {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return 0, false
	}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", p.Name(), "stat"))
		if err != nil {
			continue
		}
		open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		if open < 0 || end < open {
			continue
		}
		fields := bytes.Fields(stat[end+1:]) // state, parent, group, …
		if len(fields) < 3 || string(fields[2]) != strconv.Itoa(w.pid) || pid != w.pid && !w.isRsync(string(stat[open+1:end])) {
			continue
		}
		io, err := os.ReadFile(filepath.Join("/proc", p.Name(), "io"))
		if err != nil {
			continue
		}
		for line := range bytes.Lines(io) {
			if n, found := bytes.CutPrefix(line, []byte("rchar: ")); found {
				read, err := strconv.ParseInt(string(bytes.TrimSpace(n)), 10, 64)
				if err == nil {
					total, ok = total+read, true
				}
			}
		}
	}
	return total, ok
}
