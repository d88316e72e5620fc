package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"tapefs/catalog"
	"tapefs/crypto"
)

type keyCmd struct {
	New   keyNewCmd   `cmd:"" help:"Make a key; from now on it seals. Older keys stay for reading."`
	List  keyListCmd  `cmd:"" help:"List the keys."`
	Check keyCheckCmd `cmd:"" help:"Check key files, and copies of them."`
	Print keyPrintCmd `cmd:"" help:"Print a key as text for the safe."`
}

type keyNewCmd struct{}

func (c *keyNewCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	ring, err := conf.keyring()
	if err != nil {
		return err
	}
	key, err := crypto.NewKey()
	if err != nil {
		return err
	}
	path, err := ring.Add(conf.Keys.Dir, key)
	if err != nil {
		return fmt.Errorf("save key: %w", err)
	}
	if _, err := db.EnsureKey(ctx, key.Fingerprint(), crypto.CTR, crypto.DefaultIterations); err != nil {
		return fmt.Errorf("record key: %w", err)
	}
	fmt.Fprintf(a.stdout, "wrote %s\nWithout it the tapes sealed from now on are noise: tapefs key print, tapefs key check --copy FILE\n", path)
	return nil
}

type keyListCmd struct{}

// keyRow is one key as list prints it.
type keyRow struct {
	Fingerprint string     `json:"fingerprint"`
	Current     bool       `json:"current"`
	File        string     `json:"file,omitempty"` // empty: the catalog knows it, the keys folder lacks it
	CopySeen    *time.Time `json:"copy_seen,omitempty"`
}

func (c *keyListCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	ring, err := conf.keyring()
	if err != nil {
		return err
	}
	rows, err := keyRows(ctx, db, ring)
	if err != nil {
		return err
	}
	if a.JSON {
		return printJSON(a.stdout, rows)
	}
	t := newTable(a.stdout, "KEY", "SEALS", "SECOND COPY SEEN", "FILE")
	for _, r := range rows {
		file := r.File
		if file == "" {
			file = "MISSING: objects sealed with it cannot be read"
		}
		t.row(r.Fingerprint, yes(r.Current), dateOr(r.CopySeen, "never"), file)
	}
	return t.flush()
}

func keyRows(ctx context.Context, db *catalog.DB, ring *crypto.Keyring) ([]keyRow, error) {
	known, err := db.Keys(ctx)
	if err != nil {
		return nil, err
	}
	current := ""
	if key, err := ring.Current(); err == nil {
		current = key.Fingerprint()
	}
	rows := []keyRow{}
	inCatalog := map[string]bool{}
	for _, k := range known {
		inCatalog[k.Fingerprint] = true
		rows = append(rows, keyRow{Fingerprint: k.Fingerprint, Current: k.Fingerprint == current,
			File: ring.Path(k.Fingerprint), CopySeen: timeOrNil(k.CopySeen)})
	}
	for _, k := range ring.Keys() {
		if !inCatalog[k.Fingerprint()] {
			rows = append(rows, keyRow{Fingerprint: k.Fingerprint(), Current: k.Fingerprint() == current,
				File: ring.Path(k.Fingerprint())})
		}
	}
	return rows, nil
}

type keyCheckCmd struct {
	Copy string `help:"A second copy of a key file, on another disk or a stick." placeholder:"FILE"`
}

func (c *keyCheckCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	ring, err := conf.keyring()
	if err != nil {
		return err
	}
	known, err := db.Keys(ctx)
	if err != nil {
		return err
	}
	var missing []string
	for _, k := range known {
		if _, err := ring.Key(k.Fingerprint); err != nil {
			missing = append(missing, k.Fingerprint)
		} else {
			fmt.Fprintf(a.stdout, "%s: good\n", k.Fingerprint)
		}
	}
	if c.Copy != "" {
		if err := c.checkCopy(ctx, a, db, ring); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return withHint(fmt.Errorf("check keys: no file for %s", strings.Join(missing, ", ")),
			"put the key files back into %s", conf.Keys.Dir)
	}
	return nil
}

// checkCopy proves that a file holds one of our keys and is not that very key file.
func (c *keyCheckCmd) checkCopy(ctx context.Context, a *app, db *catalog.DB, ring *crypto.Keyring) error {
	text, err := os.ReadFile(c.Copy)
	if err != nil {
		return fmt.Errorf("read copy: %w", err)
	}
	copied, err := crypto.ParseKey(copiedKey(text))
	if err != nil {
		return fmt.Errorf("copy %s: %w", c.Copy, err)
	}
	id := copied.Fingerprint()
	own, err := ring.Key(id)
	if err != nil {
		return fmt.Errorf("copy %s: key %s: %w", c.Copy, id, err)
	}
	ownInfo, err := os.Stat(ring.Path(own.Fingerprint()))
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	copyInfo, err := os.Stat(c.Copy)
	if err != nil {
		return fmt.Errorf("read copy: %w", err)
	}
	if os.SameFile(ownInfo, copyInfo) {
		return withHint(errors.New("check copy: that is the key file itself"),
			"copy it to another disk, or print it, and show that copy")
	}
	if _, err := db.EnsureKey(ctx, id, crypto.CTR, crypto.DefaultIterations); err != nil {
		return fmt.Errorf("record key: %w", err)
	}
	if err := db.SetKeyCopySeen(ctx, id, time.Now().UTC()); err != nil {
		return fmt.Errorf("record copy: %w", err)
	}
	fmt.Fprintf(a.stdout, "%s: the copy %s is good\n", id, c.Copy)
	return nil
}

// copiedKey finds the key in what key print wrote, or typed from paper: 64 hex digits, spaces allowed.
func copiedKey(text []byte) []byte {
	for line := range bytes.Lines(text) {
		digits := bytes.ToLower(bytes.Join(bytes.Fields(line), nil))
		if len(digits) == 64 && len(bytes.Trim(digits, "0123456789abcdef")) == 0 {
			return append(digits, '\n')
		}
	}
	return text
}

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
	host, _ := os.Hostname()
	fmt.Fprintf(a.stdout, `tapefs key %s                          keep this page in a safe

%s

These are 64 hexadecimal digits (spaces do not count). Who has them can read the
tapes; without them nobody can. To use them: write them into a file as one line
without spaces, readable by you alone, and check the file's fingerprint:

  { echo 'tapefs key id v1'; cat KEYFILE; } | openssl dgst -sha256 | tail -c 65 | cut -c 1-16

must print %s. With that file each object on a tape opens like this:

  openssl enc -d -aes-256-ctr -pbkdf2 -iter 10000 -md sha256 -pass file:KEYFILE -in OBJECT | tar -x

README.txt on each tape says the rest. Printed on %s at %s.
`, key.Fingerprint(), strings.Join(groups, " "), key.Fingerprint(), time.Now().Format("2006-01-02"), host)
	return nil
}
