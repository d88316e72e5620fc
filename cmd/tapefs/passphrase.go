package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// passphrase asks for that of a key: key_command, else the terminal. It is an Ask of crypto.Keyring.
func (c *settings) passphrase(fingerprint string, attempt int) ([]byte, error) {
	if len(c.KeyCommand) > 0 {
		if attempt > 1 {
			return nil, withHint(errors.New("key_command gave it"), "key_command must print the passphrase of key %s and nothing else", fingerprint)
		}
		return runKeyCommand(c.KeyCommand, fingerprint)
	}
	if attempt > 1 {
		return askTerminal("Wrong. Passphrase of key " + fingerprint + ": ")
	}
	return askTerminal("Passphrase of key " + fingerprint + ": ")
}

// newPassphrase asks for one that is to be: on a terminal twice.
func (c *settings) newPassphrase(fingerprint string) ([]byte, error) {
	if len(c.KeyCommand) > 0 {
		p, err := runKeyCommand(c.KeyCommand, fingerprint)
		if err != nil {
			return nil, err
		}
		return p, usageOrNil(crypto.CheckPassphrase(p))
	}
	p, err := askTerminal("New passphrase for key " + fingerprint + ": ")
	if err != nil {
		return nil, err
	}
	if err := crypto.CheckPassphrase(p); err != nil {
		return nil, usageOrNil(err)
	}
	again, err := askTerminal("Once more: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(p, again) {
		return nil, usagef("the two passphrases differ; nothing was changed")
	}
	return p, nil
}

func usageOrNil(err error) error {
	if err == nil {
		return nil
	}
	return usagef("%w", err)
}

// runKeyCommand returns the first line of what key_command prints. "{key}" in an argument stands for the fingerprint.
func runKeyCommand(argv []string, fingerprint string) ([]byte, error) {
	args := make([]string, len(argv))
	for i, arg := range argv {
		args[i] = strings.ReplaceAll(arg, "{key}", fingerprint)
	}
	cmd := exec.Command(args[0], args[1:]...)
	var out changer.Clip
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err := cmd.Run()
	if err != nil {
		return nil, withHint(usagef("ask key_command %s for a passphrase: %w", args[0], err), "run it by hand: it must print the passphrase and nothing else")
	}
	line, _, _ := bytes.Cut([]byte(out.String()), []byte("\n"))
	if len(line) == 0 {
		return nil, withHint(usagef("ask key_command %s for a passphrase: it printed none", args[0]), "run it by hand: it must print the passphrase and nothing else")
	}
	return line, nil
}

// askTerminal asks on the controlling terminal, which does not show what is typed.
func askTerminal(prompt string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, withHint(usagef("%w, and there is no terminal to ask for the passphrase", crypto.ErrSealedKey),
			"set key_command in the configuration to a program that prints the passphrase, such as [systemd-ask-password, 'tapefs key'] or [cat, FILE]")
	}
	defer tty.Close()
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("ask for the passphrase: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	type answer struct {
		text []byte
		err  error
	}
	typed := make(chan answer, 1)
	fmt.Fprint(tty, prompt)
	go func() {
		text, err := term.ReadPassword(fd)
		typed <- answer{text, err}
	}()
	select {
	case a := <-typed:
		fmt.Fprintln(tty)
		if a.err != nil {
			return nil, fmt.Errorf("ask for the passphrase: %w", a.err)
		}
		if len(a.text) == 0 {
			return nil, errors.New("ask for the passphrase: none was given")
		}
		return a.text, nil
	case <-signals:
		// The reader stays behind until the program ends, which is now.
		err := term.Restore(fd, before)
		fmt.Fprintln(tty)
		return nil, errors.Join(errors.New("ask for the passphrase: interrupted"), err)
	}
}
