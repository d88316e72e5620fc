package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// errDeclined: the person at the terminal said no.
var errDeclined = errors.New("not confirmed; nothing was changed")

// confirm asks at the terminal whether to go on. yes is the flag --yes; without it and without a terminal the
// answer is no, and the error says what would have been done.
func (a *app) confirm(yes bool, what string) error {
	if yes {
		return nil
	}
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return withHint(usagef("%s: nobody confirmed it, and nothing was changed", what), "say --yes")
	}
	fmt.Fprintf(a.stderr, "%s. Type yes to go on: ", what)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "yes" {
		return errDeclined
	}
	return nil
}
