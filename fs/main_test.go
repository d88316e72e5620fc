package fs_test

import (
	"fmt"
	"os"
	"testing"
)

// TestMain maps a file, or asks for one under a hail of signals, instead of running tests, when a test wants that
// done by another process.
func TestMain(m *testing.M) {
	if path := os.Getenv("TAPEFS_TEST_SIGNALS"); path != "" {
		if err := askUnderSignals(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if path := os.Getenv("TAPEFS_TEST_MMAP"); path != "" {
		if err := printMapped(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
