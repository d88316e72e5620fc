package cache

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// giveBackLeast is the least size of a buffer, bytes, whose pages are worth a system call.
const giveBackLeast = 64 << 10

// GiveBackPages returns the memory of a buffer to the system until it is written to, and loses what is in it: thousands of reads may wait
// for a tape for hours, each with a megabyte that is filled only in the end.
func GiveBackPages(p []byte) {
	if len(p) < giveBackLeast {
		return
	}
	page := unix.Getpagesize()
	skip := (page - int(uintptr(unsafe.Pointer(unsafe.SliceData(p)))%uintptr(page))) % page
	whole := (len(p) - skip) / page * page
	_ = unix.Madvise(p[skip:skip+whole], unix.MADV_DONTNEED) // private memory without a file: it reads as zeros then
}
