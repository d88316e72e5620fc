// Package recall brings extents from tape into the cache for whoever reads: the queue
// by tape and position, and verified reading. The cache itself is package cache below.
//
// A File reads from one of two places. While its bytes lie in the spool (or, for a local
// source, where they always were) they are read plainly, as long as size and modification
// time are the version's. Otherwise they are extents of an object's sealed bytes: from the
// cache, or, when missing there, from a tape through the Queue. No byte is served before
// its extent equalled the SHA-256 that the catalog holds.
//
// The Queue's dispatcher reads the library's inventory, decides which tape to load next and
// starts at most one session for each drive. A session leases a drive, mounts its tape and
// answers all requests that this tape can answer, in the order of order.go. Prefetch puts a whole list in,
// planned beforehand, behind all readers.
//
// One process owns the cache; others ask it on a socket (socket.go, and Owner for those who ask).
//
// The package knows no FUSE and writes nothing to the catalog. It imports catalog, changer,
// crypto and the packages below itself, and nothing else of tapefs.
package recall
