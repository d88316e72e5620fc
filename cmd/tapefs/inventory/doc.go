// Package inventory tells what is in the archive and on which tape, for people's lists: spreadsheets, databases, paper. It reads the
// catalog, one file after the other, and keeps none of them.
//
// Files and Tapes hand out one row at a time; FileCSV and TapeCSV write such rows in RFC 4180's form. JSON is what the rows' tags say.
// docs/inventory.md explains the columns to users.
//
// No row has a key: keys are named by their fingerprints.
package inventory
