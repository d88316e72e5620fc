package recall

import (
	"sync"

	"github.com/tapefs/tapefs/fs/recall/cache"
)

// memoryExtents is how many extents are kept in memory when the cache does not take them: 32 MiB,
// enough that read-ahead outlives the few reads before it.
const memoryExtents = 2 * cache.UnkeptWindow

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
