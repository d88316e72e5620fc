// Command tapefs keeps files that hardly ever change on LTFS tapes and shows them
// in an ordinary directory.
package main

import (
	"os"

	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

func main() {
	stderr := ui.NewTerminal(os.Stderr)
	ctx, stop := onSignals(stderr)
	code := run(ctx, commandLine(os.Args), os.Stdin, os.Stdout, stderr)
	stop()
	os.Exit(code)
}
