// Package safe says which files of a source may be deleted there.
//
// Check lists the source now and holds each file against the versions of its path. The questions, in order: is there a version of this size, time,
// kind and target; is its time exact, or must its bytes tell; are there durable copies of those bytes in enough pools, that the keys at hand
// open and, where that was asked for, that were read back; was it taken late enough after its last change. A file is named as safe only if a
// rebuild from tapes and keys alone would give it back; docs/safe.md says it for users. Each file that is not has a reason, one of the words
// declared here.
//
// It imports diff, source, localfs, extsort, job and catalog. It changes nothing: neither the catalog, nor the source, nor a tape.
package safe
