package virtual

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// The scripts of a library made by a test start the test binary again. Beside "virtual" it knows what
// the recorded commands used to prepare the library.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "virtual":
			os.Exit(Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
		case "add", "vtlcmd":
			if err := prepare(os.Args[1:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	// A program built with the race detector sleeps for a second at its end, and hundreds are started here.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// prepare does add SLOT BARCODE and the recorded vtlcmd LIBRARY open|empty|close map.
func prepare(args []string) error {
	l, err := Open(os.Getenv("LIBRARY"))
	if err != nil {
		return err
	}
	if args[0] == "add" {
		slot, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return l.Add(slot, Cartridge{Barcode: args[2]})
	}
	defer fmt.Println("OK")
	switch args[2] {
	case "open":
		return l.Fault("door-open")
	case "empty":
		return l.Remove(18)
	}
	return l.Fault("clear")
}
