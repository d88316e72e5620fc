// Command tapefs keeps files that hardly ever change on LTFS tapes and shows them
// in an ordinary directory.
package main

import "os"

func main() {
	stderr := &terminal{out: os.Stderr}
	ctx, stop := onSignals(stderr)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, stderr)
	stop()
	os.Exit(code)
}
