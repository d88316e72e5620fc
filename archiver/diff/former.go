package diff

import (
	"sync"

	"github.com/tapefs/tapefs/catalog"
)

// Former is what a comparison knows of files that are planned, until they are fetched: which archived files one may be, under another name,
// and whether it is taken again because the archive has lost its bytes. The zero value knows nothing. Safe for concurrent use.
type Former struct {
	mu    sync.Mutex // guards the fields below
	may   map[formerKey][]catalog.ID
	again map[formerKey]bool
}

type formerKey struct{ source, path string }

func (f *Former) mayBe(source, path string, ids []catalog.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.may == nil {
		f.may = map[formerKey][]catalog.ID{}
	}
	f.may[formerKey{source, path}] = ids
}

func (f *Former) setAgain(source, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.again == nil {
		f.again = map[formerKey]bool{}
	}
	f.again[formerKey{source, path}] = true
}

// TakeNames returns the versions that a planned file may be, and forgets them.
func (f *Former) TakeNames(source, path string) []catalog.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := formerKey{source, path}
	ids := f.may[key]
	delete(f.may, key)
	return ids
}

// TakeAgain reports whether a file is taken because the archive has lost its bytes, and forgets that.
func (f *Former) TakeAgain(source, path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := formerKey{source, path}
	again := f.again[key]
	delete(f.again, key)
	return again
}
