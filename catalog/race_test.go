//go:build race

package catalog_test

// race: SQLite is Go code here and takes many times longer under the race detector.
const race = true
