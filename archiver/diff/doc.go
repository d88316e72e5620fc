// Package diff holds what a source shows now against what the catalog knows of it, and says what is to be archived.
//
// Run joins a listing with a walk of the catalog, both in the order of source.PathKey. In the order of the code:
//
//  1. entry judges each path: same, changed, new, or doubtful, when size and time say that it is the same and something finer leaves it open;
//  2. what the listing lacks is kept by missing, and what counted as vanished and is there is revived;
//  3. settleDoubts compares doubtful files by content, in place or in a folder of the spool that is emptied again (ContentCheck);
//  4. planNews hands over the new and changed files, now that all which vanished is known: one may be an archived file under another name.
//     What it may be stands in Former until the file is fetched, and its bytes decide;
//  5. vanish marks what the listing lacked, unless that is so much that a disk may not be mounted.
//
// What is to be archived goes to a Planner, which is declared here: diff does not know how objects are made. Book records directories, many in
// one transaction, and has stand-ins for their ids until then. Walker and ContentCheck serve package safe, too.
//
// It imports job, source, extsort, localfs, pack (for how a file is read unchanged) and catalog. It must not know objects, batches or tapes.
package diff
