package spool

// HealPrefix begins the names of spool directories that hold sealed parts on their way from one
// pool's tape to another's.
const HealPrefix = "heal-"

// SnapshotPrefix begins the names of scratch folders in the spool.
const SnapshotPrefix = "snapshot-"
