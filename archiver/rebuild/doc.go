// Package rebuild makes a catalog from tapes and keys alone, adds to one what tapes hold that it has not read, and compares both.
//
// The steps of Run, in order:
//
//  1. open finds the catalog that is there, or the one that an earlier rebuild left half done beside it;
//  2. survey mounts one tape after the other read-only, sorts its files, proves manifests and snapshots by their MACs, and copies those that
//     hold into the spool. Nothing is taken from a label or a name alone, and what a tape proved is kept: a rebuild that was stopped does not
//     read it again;
//  3. fill begins the catalog, from the newest snapshot that was proved or empty, and apply takes the records of all manifests into it in
//     their order. A record that no catalog can hold is refused by name, and the others are taken;
//  4. unproved lists what no proved manifest names, and takes it when that was asked for;
//  5. install puts the catalog into its place, and the report says what is missing.
//
// CheckTapes looks the other way: whether each tape holds what the catalog says of it, by names, sizes and manifests.
//
// It imports job, localfs, pack, volume, manifest and catalog. It writes to no tape and knows no source.
package rebuild
