// Package archiver brings files from sources onto tapes: it lists, plans, fetches with
// rsync, packs, seals, writes, proves, and writes the journal that a tape carries.
//
// A hidden aid for tests: with TAPEFS_FAILPOINT=NAME in the environment the process kills
// itself (SIGKILL) when it reaches that point. The points are the arrows of the journey: list,
// plan, planned, fetch, spool-sync, mark-fetched, salt, pack, part-row, part-close, part-written, follower-part,
// manifest, manifest-row, sync, durable, release, released, format, formatted; rebuild-manifest in a rebuild;
// repack-begun, repack-opened, repack-copied, repack-proved, repack-journalled in a repack; erase-forgotten when a tape is erased.
package archiver
