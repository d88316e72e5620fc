// Package source knows where files come from: how a source is addressed, reached by rsync, listed, and given up when nothing comes from it.
//
//   - ParseAddress takes the address of a source apart: over ssh, from a daemon, or in place on this machine.
//   - Reach runs one rsync against a source, its output line by line. A source that is silent for too long ends with a StallError; Answered
//     waits no longer for this machine's file systems either, and Gone tells a source that went away from a file that did.
//   - List puts all that a source shows into a sorter, as an Entry for each path, and a second rsync adds the exact times. The archive's own
//     folders are left out. Listed streams it in the order of PathKey, which is the order of a walk.
//   - Stats counts what a listing shows and, later on, how that compares with the catalog.
//   - OwnerNames finds the names of owners, Complaints the files in rsync's messages. Names and messages of a source are hostile: each is
//     parsed or refused, and no path reaches a shell unquoted.
//
// It imports job, extsort, localfs and catalog. It must not know what is done with an entry, nor any tape.
package source
