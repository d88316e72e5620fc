package fs

import (
	"syscall"
	"testing"
)

// TestOpenFilesAreBounded: one user reaches his own bound and nobody else notices; all together reach that of all.
func TestOpenFilesAreBounded(t *testing.T) {
	f := &face{handles: map[uint64]handle{}, opened: map[uint32]int{}}
	open := func(user uint32) syscall.Errno {
		errno := f.mayOpen(user)
		if errno == 0 {
			f.last++
			f.handles[f.last] = handle{user: user}
		}
		return errno
	}
	users := uint32(maxHandles / userHandles)
	for user := range users {
		for n := range userHandles {
			if errno := open(user); errno != 0 {
				t.Fatalf("user %d has %d files open, and gets %v", user, n, errno)
			}
		}
		if errno := open(user); errno != syscall.EMFILE {
			t.Errorf("user %d beyond his bound gets %v", user, errno)
		}
	}
	if errno := open(users); errno != syscall.ENFILE {
		t.Errorf("beyond the bound of all: %v", errno)
	}
	for id, h := range f.handles {
		delete(f.handles, id)
		f.closed(h.user)
	}
	if len(f.opened) > 0 {
		t.Errorf("of users who have nothing open %d are remembered", len(f.opened))
	}
	if errno := open(0); errno != 0 {
		t.Errorf("once all are closed: %v", errno)
	}
}

// TestWaitingReadsAreBounded: a user's reads beyond his bound are refused with EBUSY, those of all with EAGAIN.
func TestWaitingReadsAreBounded(t *testing.T) {
	f := &face{waiting: map[uint32]int{}, o: Options{MaxWaiting: 1000}}
	held := map[uint32]int{}
	for user := range uint32(maxWaiting/1000 + 1) {
		for f.mayWait(user) == 0 {
			held[user]++
		}
	}
	for user := range uint32(maxWaiting / 1000) {
		if held[user] != 1000 {
			t.Errorf("user %d has %d reads that wait", user, held[user])
		}
		if errno := f.mayWait(user); errno != syscall.EBUSY {
			t.Errorf("user %d beyond his bound gets %v", user, errno)
		}
	}
	if errno := f.mayWait(4711); errno != syscall.EAGAIN {
		t.Errorf("beyond the bound of all: %v", errno)
	}
	for user, n := range held {
		for range n {
			f.waited(user)
		}
	}
	if len(f.waiting) > 0 || f.allWaiting != 0 {
		t.Errorf("%d users and %d reads are left of none", len(f.waiting), f.allWaiting)
	}
}
