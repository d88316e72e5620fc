//go:build !race

package catalog_test

const race = false
