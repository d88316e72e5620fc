// Command tapefs keeps files that hardly ever change on LTFS tapes and shows them
// in an ordinary directory.
package main

import "os"

func main() {
	ctx, stop := onSignals(os.Stderr)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
