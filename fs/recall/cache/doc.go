// Package cache keeps sealed extents in a folder, so that a file that was read from tape once is there the next time.
//
// An extent is put after it equalled the SHA-256 that the catalog holds. It is read with that sum again: the first time in each process
// the whole extent is compared, and from then on every read is compared with marks that were taken during that comparison. So no byte
// is served that was not verified, however long it lay on the disk.
//
// The steps, and the file that has each:
//
//	scan.go    find what earlier processes left, and trust none of it
//	put.go     keep an extent
//	read.go    serve bytes of an extent, verified; pages.go the same for small reads
//	room.go    make room: the least recently used extents go
//	pins.go    keep chosen versions, also across restarts
//	spans.go   count how much of a version is there, without the catalog
//
// The words are those of docs/glossary.md. The package knows neither tapes nor readers and decides nothing about them: whoever finds an
// extent missing asks the queue of package recall. It takes identifiers and sizes from catalog, and kinds of faults from changer.
package cache
