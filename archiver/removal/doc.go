// Package removal takes files away at a source that is read in place, one at a time, when what they hold is proved elsewhere.
//
// It never trusts a listing. The steps of Take for a file, in order:
//
//  1. its directory is opened from the source's top without following a symlink, and the file in it;
//  2. a read lease says that nobody has it open for writing, and tells when somebody wants to;
//  3. size and time must be those that are wanted, and the SHA-256 of all its bytes;
//  4. it is renamed aside, to a name that the caller has written down before. What is there now must be the very inode that was read:
//     whoever put another file under the name in between gets that one back;
//  5. lease, size and time are looked at once more, and only then the name aside is removed.
//
// Killed at any step, the file lies under one of two known names or is gone because it was proved; Recover brings back what lies aside.
// The package knows neither catalog rows nor tapes: the caller says what must be there.
package removal
