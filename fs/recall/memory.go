package recall

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memoryExtents is how many extents are kept in memory when the cache does not take them: 32 MiB,
// enough that read-ahead outlives the few reads before it.
const memoryExtents = 8

// memory keeps the last verified extents that the cache refused.
type memory struct {
	mu   sync.Mutex // protects all below
	keys [memoryExtents]extentKey
	data [memoryExtents][]byte
	next int
}

func (m *memory) put(k extentKey, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys[m.next], m.data[m.next] = k, data
	m.next = (m.next + 1) % memoryExtents
}

func (m *memory) get(k extentKey) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, have := range m.keys {
		if have == k {
			return m.data[i]
		}
	}
	return nil
}

// giveBackLeast is the least size of a buffer, bytes, whose pages are worth a system call.
const giveBackLeast = 64 << 10

// giveBackPages gives the memory of a buffer back to the system until it is written to, whatever is in it: thousands of reads may wait for
// a tape for hours, each with a megabyte to be filled in the end.
func giveBackPages(p []byte) {
	if len(p) < giveBackLeast {
		return
	}
	page := unix.Getpagesize()
	skip := (page - int(uintptr(unsafe.Pointer(unsafe.SliceData(p)))%uintptr(page))) % page
	whole := (len(p) - skip) / page * page
	_ = unix.Madvise(p[skip:skip+whole], unix.MADV_DONTNEED) // private memory without a file: it reads as zeros then
}
