// Package recall brings extents from tape into the cache for whoever reads: the queue
// by tape and position, the cache of sealed extents, and verified reading. It knows no FUSE.
package recall
