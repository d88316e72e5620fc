package archiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tapefs/archiver/job"
)

const (
	// DefaultStall is how long a source may be silent before it is given up for a run: longer than the slowest server takes to
	// look through one directory, or to read what it has of a file again.
	DefaultStall = 30 * time.Minute
	// slowRead is what the slowest server reads of its files, bytes a second.
	slowRead = 10 << 20
	// rsyncEnds is how long a rsync that is told to end may take before it is killed.
	rsyncEnds = 2 * time.Second
)

// stallError is a source from which nothing came for too long.
type stallError struct {
	limit time.Duration
	err   error // what rsync said of it; nil when it hung itself
}

func (e *stallError) Error() string {
	s := fmt.Sprintf("nothing came from it for %s (stall_timeout)", e.limit)
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	return s
}

func (e *stallError) Unwrap() error { return e.err }

// silentSources are the sources that one run gave up because nothing came from them: of each that is said once. Safe for concurrent use.
type silentSources struct {
	noted *job.Problems
	mu    sync.Mutex // guards names
	names map[string]bool
}

func (s *silentSources) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

// add reports whether an error says that a source was silent, and gives the source up then.
func (s *silentSources) add(name string, err error) bool {
	var stalled *stallError
	if !errors.As(err, &stalled) {
		return false
	}
	s.mu.Lock()
	known := s.names[name]
	s.names[name] = true
	s.mu.Unlock()
	if !known {
		s.noted.Add(name, "", fmt.Errorf("source %s is given up for this run: %w", name, err))
	}
	return true
}

// stallOf is how long a source may be silent.
func stallOf(src Source) time.Duration {
	if src.StallTimeout > 0 {
		return src.StallTimeout
	}
	return DefaultStall
}

// answered runs f, which looks at files of this machine, and waits for it no longer than limit: a system call on a file server that
// is gone may never return, and cannot be called off. After an error f may run still.
func answered(ctx context.Context, limit time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return &stallError{limit: limit}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stallOption is rsync's --timeout, in whole seconds.
func stallOption(src Source) string {
	return "--timeout=" + strconv.FormatInt(int64((stallOf(src)+time.Second-1)/time.Second), 10)
}

// stallWatch gives a rsync up that neither prints nor reads anything for too long. rsync has a timeout of its own; the watch is
// for one that hangs before it counts, or in the kernel.
type stallWatch struct {
	pid     int
	name    string // of rsync's processes, as the kernel keeps it
	limit   time.Duration
	last    atomic.Int64 // Unix ns when something came
	source  *job.Hearing // hears of it, too
	done    chan struct{}
	stopped sync.Once
}

// watchRsync begins to watch; cancel gets a *stallError.
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
	w.last.Store(time.Now().UnixNano())
	w.source.Alive()
}

func (w *stallWatch) stop() { w.stopped.Do(func() { close(w.done) }) }

func (w *stallWatch) run(cancel context.CancelCauseFunc) {
	grace := min(w.limit/4, 30*time.Second) // rsync is to say it itself
	tick := time.NewTicker(max(100*time.Millisecond, min(w.limit/10, silentFor/5)))
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
		if time.Since(time.Unix(0, w.last.Load())) > w.limit+grace {
			cancel(&stallError{limit: w.limit})
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
		case <-time.After(2 * rsyncEnds):
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
