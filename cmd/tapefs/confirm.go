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

// terminal is where a person can be asked, nil when nobody sits there.
func (a *app) terminal() *os.File {
	if in, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		return in
	}
	return nil
}

// confirm asks at the terminal whether to go on. yes is the flag --yes; without it and without a terminal the
// answer is no, and the error says what would have been done.
func (a *app) confirm(yes bool, what string) error {
	if yes {
		return nil
	}
	in := a.terminal()
	if in == nil {
		return withHint(usagef("%s: nobody confirmed it, and nothing was changed", what), "say --yes")
	}
	fmt.Fprintf(a.stderr, "%s. Type yes to go on: ", what)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "yes" {
		return errDeclined
	}
	return nil
}
