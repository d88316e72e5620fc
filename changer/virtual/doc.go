// Package virtual is a tape library in a directory: the programs mtx, mt, mkltfs,
// ltfs, ltfsck and lsscsi over cartridges that are directories. tapefs drives it as
// it drives a real one, by configuration alone. It knows nothing else of tapefs.
package virtual
