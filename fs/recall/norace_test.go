//go:build !race

package recall

const race = false
