// Package manifest writes and reads what a tape says of itself: its manifests, the lists for restore.sh beside them, and copies of the
// catalog. A catalog that is lost comes back from nothing else, see crypto/FORMAT.md.
//
// Writing one, in order:
//
//  1. Write gathers records of all that no manifest names yet into scratch files, so that a manifest may be of any size: parts on this
//     tape, safe parts of the pool's other tapes that lack a manifest, and changes of the catalog;
//  2. it seals them in a tar archive behind the short lists that restore.sh reads, with a MAC over the sealed bytes and over catalog,
//     volume, number and the MAC of the manifest before: the manifests of a tape are a chain;
//  3. the .mac file, the list of links and SHA256SUMS follow. Nothing of it is safe before the tape was synced.
//
// A Snapshot is sealed and proved in the same way.
//
// Read proves a manifest before it believes a byte of it, and hands out its records. ErrUnproved says that something does not hold, ErrHalf
// that it was never finished, which is nobody's fault. ProveFile reads one back that the catalog knows. Check holds a mounted tape's
// manifests against the catalog before anything is written: a catalog that does not know them is older than the tape.
//
// It imports job, pack, volume, catalog and crypto. It must not know why a tape is written, or what a rebuild makes of the records.
package manifest
