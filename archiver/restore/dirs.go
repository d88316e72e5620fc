package restore

import (
	"math"
	"os"
	"path"
	"strings"
	"sync"
)

// maxHeldDirs bounds the descriptors of directories that are kept open between files. A bundle follows the tree, so few are
// in use at a time.
const maxHeldDirs = 64

// heldDirs keeps open the directories below the target that were written to last. To walk there anew for each file costs more
// than to write a small one. Safe for concurrent use; close closes it.
type heldDirs struct {
	root *os.Root

	mu    sync.Mutex // protects all below
	held  map[string]*heldDir
	clock int64
}

// heldDir is an open directory. What is done by its descriptor and a name without slashes stays below the target and follows
// no link. Each is given back by release.
type heldDir struct {
	*os.File
	of     *heldDirs
	users  int
	used   int64 // by heldDirs.clock
	forgot bool  // another directory may have its path now
}

func newHeldDirs(root *os.Root) *heldDirs {
	return &heldDirs{root: root, held: map[string]*heldDir{}}
}

// parent opens the directory that dest lies in, and returns the name that dest has there.
func (h *heldDirs) parent(dest string) (dir *heldDir, name string, err error) {
	at, name := path.Dir(dest), path.Base(dest)
	if d := h.use(at); d != nil {
		return d, name, nil
	}
	f, err := h.root.Open(at)
	if err != nil {
		return nil, name, err
	}
	return h.keep(at, f), name, nil
}

func (h *heldDirs) use(at string) *heldDir {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.held[at]
	if d != nil {
		h.clock++
		d.users, d.used = d.users+1, h.clock
	}
	return d
}

// keep takes an open directory over, and makes room for it.
func (h *heldDirs) keep(at string, f *os.File) *heldDir {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	if d := h.held[at]; d != nil { // somebody else was quicker
		f.Close()
		d.users, d.used = d.users+1, h.clock
		return d
	}
	if len(h.held) >= maxHeldDirs {
		oldest, age := "", int64(math.MaxInt64)
		for at, d := range h.held {
			if d.users == 0 && d.used < age {
				oldest, age = at, d.used
			}
		}
		if d := h.held[oldest]; d != nil {
			d.Close()
			delete(h.held, oldest)
		}
	}
	d := &heldDir{File: f, of: h, users: 1, used: h.clock}
	h.held[at] = d
	return d
}

func (d *heldDir) release() {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	if d.users--; d.users == 0 && d.forgot {
		d.Close()
	}
}

// forget lets go of dest and of all below it, where something else was put in their place.
func (h *heldDirs) forget(dest string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for at, d := range h.held {
		if at != dest && !strings.HasPrefix(at, dest+"/") {
			continue
		}
		delete(h.held, at)
		if d.forgot = true; d.users == 0 {
			d.Close()
		}
	}
}

func (h *heldDirs) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for at, d := range h.held {
		d.Close()
		delete(h.held, at)
	}
}
