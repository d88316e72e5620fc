// Package volume knows one tape: its label, the names on it, how its bytes are read against their sums, and whether it counts.
//
//   - WriteLabel writes README.txt and restore.sh on a new volume; CheckLabel proves that a mounted volume is the tape that the catalog
//     means, before anything on it is believed. A barcode is a hint only.
//   - ReadPart reads a part extent by extent against its recorded sums. Damage tells bytes that are not what was written from what this
//     machine lacks, or from a drive that is gone: only the former is held against the tape (MarkDamaged).
//   - Candidates says which tapes of a pool may be written, in the order in which they are filled; PartFor and KeepFree how large parts
//     are, and what stays free.
//   - NoteWritten and CheckWritten keep a second witness of what was written, outside the catalog: a catalog that knows less was put back
//     from a backup (ErrOlder).
//   - MarkSuspect, TrustTape, Checked and EndSuspicions lead a tape into suspicion and out of it; DriveFailed and DriveWorked do the same
//     for drives; TapeAdvice and DriveAdvice read the wear that both report.
//
// It imports job, changer and catalog. It must not know manifests, sources, or who writes and why.
package volume
