//go:build race

package recall

// race: the memory that the race detector keeps beside a program's own is resident, too.
const race = true
