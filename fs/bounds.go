package fs

import "syscall"

// What one user may take of the mount is bounded, and what all may take together: beyond it he gets an error, and the others go on. Directories
// keep nothing that could run out.

// maxHandles bounds open files, each of which keeps a few hundred bytes and may keep an object's sums; userHandles those of one user.
const (
	maxHandles  = 1 << 16
	userHandles = maxHandles / 4
)

// mayOpen counts an open file, until closed. The error number says whose bound is reached.
func (f *face) mayOpen(uid uint32) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.opened[uid] >= userHandles:
		return syscall.EMFILE
	case len(f.handles) >= maxHandles:
		return syscall.ENFILE
	}
	f.opened[uid]++
	return 0
}

func (f *face) closed(uid uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	less(f.opened, uid)
}

// maxWaiting bounds the reads of all users that may wait for a tape. Each keeps some 10 KiB, whatever its size.
const maxWaiting = 1 << 14

// mayWait counts a read that may wait for a tape, until waited. The error number says whose bound is reached.
func (f *face) mayWait(uid uint32) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.o.MaxWaiting > 0 && f.waiting[uid] >= f.o.MaxWaiting:
		return syscall.EBUSY
	case f.allWaiting >= maxWaiting:
		return syscall.EAGAIN
	}
	f.waiting[uid]++
	f.allWaiting++
	return 0
}

func (f *face) waited(uid uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	less(f.waiting, uid)
	f.allWaiting--
}

// less counts down, and forgets who has nothing any more.
func less(counts map[uint32]int, uid uint32) {
	if counts[uid]--; counts[uid] <= 0 {
		delete(counts, uid)
	}
}
