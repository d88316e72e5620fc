package job

import (
	"sync"
	"sync/atomic"
	"time"
)

// Heard knows when something last came from each source. Safe for concurrent use.
type Heard struct {
	mu      sync.Mutex // guards sources
	sources map[string]*Hearing
}

// Of is the hearing of a source.
func (h *Heard) Of(source string) *Hearing {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sources == nil {
		h.sources = map[string]*Hearing{}
	}
	if h.sources[source] == nil {
		h.sources[source] = &Hearing{}
	}
	return h.sources[source]
}

// Hearing is what is heard of one source. Safe for concurrent use.
type Hearing struct {
	programs atomic.Int32 // that read from it: they are ended when nothing comes for too long
	calls    atomic.Int32 // of this machine's kernel, which cannot be called off
	last     atomic.Int64 // when something came, as SinceStart counts
}

var start = time.Now()

// SinceStart is for how long this process has run. It grows evenly, whatever becomes of the machine's clock.
func SinceStart() time.Duration { return time.Since(start) }

func (h *Hearing) Alive() { h.last.Store(int64(SinceStart())) }

// Program says that a program begins to read from the source; call done when it has ended.
func (h *Hearing) Program() (done func()) {
	h.Alive()
	h.programs.Add(1)
	return func() { h.programs.Add(-1) }
}

// Call runs f, which asks the kernel for something of the source.
func (h *Hearing) Call(f func()) {
	h.Alive()
	h.calls.Add(1)
	defer h.calls.Add(-1)
	f()
}

// Silent is for how long nothing has come from a source that is waited for; 0: nobody waits.
func (h *Hearing) Silent() time.Duration {
	if h.programs.Load()+h.calls.Load() == 0 {
		return 0
	}
	return SinceStart() - time.Duration(h.last.Load())
}

// Hangs is silent, for a source that no program waits for: nobody else would ever give it up.
func (h *Hearing) Hangs() time.Duration {
	if h.programs.Load() > 0 || h.calls.Load() == 0 {
		return 0
	}
	return h.Silent()
}
