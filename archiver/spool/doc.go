// Package spool is the folder where fetched files wait until they are safe: what is in it, what still fits, and how a batch gets there.
//
// A batch's files lie in a folder of their own, as below the source's top; what fetching needs beside them in another with FetchSuffix. Bringing
// one in, in order:
//
//  1. Admit asks for room, one batch at a time, so that two do not find the same; a batch that is larger than the whole spool is TooLarge;
//  2. FetchBatch runs rsync, in several streams where that was asked for, or looks at the files of a source that is read in place. A batch that was
//     left half fetched goes on;
//  3. the spool is written through, and only then each file is looked at and recorded: what it is, which are names of one inode, which have bytes
//     that the archive has already, under a former name (Former) or from another path;
//  4. the batch is Synced, and may be packed. Layouts of objects that were packed once are kept beside it, so that they can be packed again alike.
//
// RemoveBatch lets a batch go when all its copies are safe, which is for others to say, and Clean removes what a run that died left.
//
// It imports job, source, diff, pack, localfs, manifest (for the names of its scratch files) and catalog. It must not know any tape.
package spool
