package archiver

import (
	"sync"
	"sync/atomic"
	"time"
)

// heard knows when something last came from each source. Safe for concurrent use.
type heard struct {
	mu      sync.Mutex // guards sources
	sources map[string]*hearing
}

// of is the hearing of a source.
func (h *heard) of(source string) *hearing {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sources == nil {
		h.sources = map[string]*hearing{}
	}
	if h.sources[source] == nil {
		h.sources[source] = &hearing{}
	}
	return h.sources[source]
}

// hearing is what is heard of one source. Safe for concurrent use.
type hearing struct {
	programs atomic.Int32 // that read from it: they are ended when nothing comes for too long
	calls    atomic.Int32 // of this machine's kernel, which cannot be called off
	last     atomic.Int64 // Unix ns when something came
}

func (h *hearing) alive() { h.last.Store(time.Now().UnixNano()) }

// program says that a program begins to read from the source; call done when it has ended.
func (h *hearing) program() (done func()) {
	h.alive()
	h.programs.Add(1)
	return func() { h.programs.Add(-1) }
}

// call runs f, which asks the kernel for something of the source.
func (h *hearing) call(f func()) {
	h.alive()
	h.calls.Add(1)
	defer h.calls.Add(-1)
	f()
}

// silent is for how long nothing has come from a source that is waited for; 0: nobody waits.
func (h *hearing) silent() time.Duration {
	if h.programs.Load()+h.calls.Load() == 0 {
		return 0
	}
	return time.Since(time.Unix(0, h.last.Load()))
}

// hangs is silent, for a source that no program waits for: nobody else would ever give it up.
func (h *hearing) hangs() time.Duration {
	if h.programs.Load() > 0 || h.calls.Load() == 0 {
		return 0
	}
	return h.silent()
}
