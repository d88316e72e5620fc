// Package restore brings files of the archive back to a directory, many at a time and without the mount.
//
// The steps of Run, in order:
//
//  1. prepare walks what was asked for, makes the directories, keeps what is there already with the right size, time and sum, and puts
//     each file into the list of the tape that has its bytes;
//  2. read takes the tapes one after the other, each forwards. The bytes come from a recall queue, so each extent is checked against its
//     sum, and another copy is tried where one is bad;
//  3. a file of several parts is put together from all the tapes it lies on; further names of a file are linked to the first;
//  4. finishTree sets owners, modes and times, of directories last, and sync makes all of it lasting.
//
// Names come from the catalog, which may be damaged, and the target may be changed by others meanwhile: everything below it is opened
// through os.Root, and nothing is written outside.
//
// It imports job, localfs, extsort, catalog and fs/recall. It must not import any step of archiving: it only reads.
package restore
