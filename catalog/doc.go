// Package catalog remembers sources, files, versions, objects, copies and tapes
// in one SQLite file, and is the only package that knows its schema. It imports
// nothing else of tapefs.
//
// Times are UTC; sizes are int64 bytes; names are bytes, whatever Linux allows.
// A DB is safe for concurrent use by many goroutines and, through SQLite's
// locks, by many processes.
package catalog
