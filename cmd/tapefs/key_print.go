package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
	"rsc.io/qr"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/crypto"
)

type keyPrintCmd struct {
	Fingerprint string `arg:"" optional:"" help:"Which key; else the one that seals."`
}

func (c *keyPrintCmd) Run(a *app) error {
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	ring, err := conf.keyring()
	if err != nil {
		return err
	}
	var key *crypto.Key
	if c.Fingerprint != "" {
		key, err = ring.Key(c.Fingerprint)
	} else {
		key, err = ring.Current()
	}
	if err != nil {
		return fmt.Errorf("print key: %w", err)
	}
	var groups []string
	for text := key.Text(); len(text) >= 8; text = text[8:] {
		groups = append(groups, text[:8])
	}
	code, err := qr.Encode(key.Text(), qr.M)
	if err != nil {
		return fmt.Errorf("print key: %w", err)
	}
	f, ok := ui.RawOutput(a.stdout).(*os.File)
	lines := strings.Join(groups[:4], " ") + "\n" + strings.Join(groups[4:], " ")
	host, _ := os.Hostname()
	_, err = fmt.Fprintf(a.stdout, `tapefs key %s                          keep this page in a safe

%s

`, key.Fingerprint(), lines)
	_, e := io.WriteString(ui.RawOutput(a.stdout), qrText(code, ok && term.IsTerminal(int(f.Fd()))))
	err = errors.Join(err, e)
	_, e = fmt.Fprintf(a.stdout, `
These are 64 hexadecimal digits, in two lines and as QR code (spaces and line ends do not
count). Who has them can read the tapes; without them nobody can. To use them: write them
into a file as one line without spaces, readable by you alone, and check its fingerprint:

  { echo 'tapefs key id v1'; cat KEYFILE; } | openssl dgst -sha256 -r | cut -c 1-16

must print %s. With that file each object on a tape opens like this:

  openssl enc -d -aes-256-ctr -pbkdf2 -iter 10000 -md sha256 -pass file:KEYFILE -in OBJECT | tar -x

README.txt on each tape says the rest, and restore.sh there does it. But who had a tape in
hands may have changed both. Keep a copy of restore.sh that you trust with this page, and run
that one, with --check. The one that this tapefs writes has the SHA-256
%s

A key file that is sealed with a passphrase (it begins
with "Salted__") opens like this:

  openssl enc -d -aes-256-cbc -pbkdf2 -iter %d -md sha256 -in SEALED-KEYFILE -out KEYFILE

Printed on %s at %s.
`, key.Fingerprint(), volume.RestoreScriptSum(), crypto.SealedIterations, time.Now().Format("2006-01-02"), host)
	return errors.Join(err, e)
}

// qrQuiet is the width of the light border that readers need, in modules (ISO/IEC 18004).
const qrQuiet = 4

// qrText draws a QR code, two modules above each other in a character. Text is dark on light paper; a
// terminal may be either, so there the colours are set.
func qrText(code *qr.Code, terminal bool) string {
	var b strings.Builder
	for y := -qrQuiet; y < code.Size+qrQuiet; y += 2 {
		if terminal {
			b.WriteString("\x1b[30;107m") // black on bright white
		}
		var line strings.Builder
		for x := -qrQuiet; x < code.Size+qrQuiet; x++ {
			above, below := code.Black(x, y), code.Black(x, y+1)
			switch {
			case above && below:
				line.WriteRune('█')
			case above:
				line.WriteRune('▀')
			case below:
				line.WriteRune('▄')
			default:
				line.WriteByte(' ')
			}
		}
		if terminal {
			b.WriteString(line.String() + "\x1b[0m\n")
		} else {
			b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		}
	}
	return b.String()
}
