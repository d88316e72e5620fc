package virtual

import (
	"os"
	"testing"
)

// The scripts of a library made by a test start the test binary again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "virtual" {
		os.Exit(Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
