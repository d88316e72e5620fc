// Package archiver brings files from sources onto tapes: it lists, plans, fetches with
// rsync, packs, seals, writes, proves, and writes the journal that a tape carries.
package archiver
