// Package pack makes the sealed bytes of an object: a tar stream of its members, encrypted, in parts.
//
// The steps, in order:
//
//  1. NewLayout computes the whole plain stream from what the catalog knows of the members, before a byte of content is read. WithParents
//     adds the directories above them. The layout of an object never changes, so any part can be made again at any time.
//  2. New begins a packing under one salt. Sums of an object that was sealed before may be given: then every extent must have its recorded
//     sum before it is written (ErrReseal), since two texts under one key stream would give both away.
//  3. WritePart reads, sums, seals and writes one part; these stages overlap.
//  4. Packed describes the object for the catalog. Voided and Grown name members whose content changed while it was read: a stream keeps
//     the size that its header says.
//
// A FileError blames a file in the spool or at the source, a WriteError the tape: callers treat them differently.
//
// It writes to any io.Writer and reads through an Opener. It knows no tape, spool or run, and imports only catalog, crypto and beneath.
package pack
