// Package job is what every step of a run works with, and what a run is.
//
// Env holds the catalog, the keys, the library, the log and the configuration. New checks the configuration once; nothing behind it
// checks again. Each command that changes the archive begins with StartRun, which also ends the runs that died without a word, and ends
// with Finish or AsRun, which record how it went. In between:
//
//   - a lock of a source (LockFree, LockSources) keeps two runs from fetching it at once; the writer lock (LockWriter) is held by the one
//     process that writes to tapes. A process that waits for it says so in a file that the holder looks at (WriterWanted);
//   - RunError names what keeps a run from being whole, on stderr and in the catalog, up to a bound for each source; Problems gathers what
//     went wrong with tapes and drives, and decides how the run ends;
//   - Activity says what a run does with a tape, for somebody who waits; Flow counts what came of all sources; Heard knows when something
//     last came from each one;
//   - Failpoint is where a test lets the process die.
//
// The errors that a caller branches on are declared here: ErrPartial, ErrNeedsOperator, ErrLocked, ErrDamaged, Interrupted.
//
// It stands below all steps of a run and imports none of them: only catalog, changer and crypto.
package job
