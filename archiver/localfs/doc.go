// Package localfs handles files of this machine: those of the spool, of sources that are read in place, and of restored trees.
//
// Other people may change these folders while they are read or written, and names come from outside. So:
//
//   - Tree opens files below a folder and follows no symlink on the way;
//   - ProperPath says which paths are accepted at all, SplitPath and JoinPath take them apart and put them together;
//   - WriteSparse and Punch let zeros take no room;
//   - Syncer makes what was written last, and hears of every error of the disk since it was opened.
//
// It knows nothing of tapes, runs or rsync: of ours it imports only catalog, for its times, and the packages below fs/recall that read
// files beneath a folder and sum their blocks.
package localfs
