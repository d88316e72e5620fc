// Package archiver brings files from sources onto tapes. It is the facade over its rooms, each a package below it, and holds what is in none of
// them yet: planning objects and batches, the one writer with its followers, repacking and healing, formatting and erasing. The rooms
// and the order of the steps stand in docs/design.md, the words in docs/glossary.md.
//
// A hidden aid for tests: with TAPEFS_FAILPOINT=NAME in the environment the process kills
// itself (SIGKILL) when it reaches that point; with NAME:N, the Nth time. The points are the arrows of the journey: list,
// plan, planned, fetch, spool-sync, mark-fetched, salt, pack, part-row, part-close, part-written, follower-part,
// manifest, manifest-row, sync, durable, release, released, format, formatted; rebuild-manifest in a rebuild;
// repack-begun, repack-opened, repack-copied, repack-proved, repack-journalled in a repack; erase-forgotten when a tape is erased;
// removal-noted, removal-aside, removal-gone, removal-recorded when files are removed at a source.
package archiver
