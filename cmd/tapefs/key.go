package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/crypto"
)

type keyCmd struct {
	New    keyNewCmd    `cmd:"" help:"Make a key; from now on it seals. Older keys stay for reading."`
	List   keyListCmd   `cmd:"" help:"List the keys."`
	Check  keyCheckCmd  `cmd:"" help:"Prove that keys open what they sealed, and that copies of them are the same."`
	Print  keyPrintCmd  `cmd:"" help:"Print a page with a key for the safe, as text and as QR code."`
	Seal   keySealCmd   `cmd:"" help:"Seal a key file with a passphrase, so that the disk holds no key in the clear."`
	Unseal keyUnsealCmd `cmd:"" help:"Make a sealed key file plain again."`
}

type keyNewCmd struct {
	Passphrase bool `help:"Seal its file with a passphrase."`
}

// keyFile is a key file that was written.
type keyFile struct {
	Fingerprint string `json:"fingerprint"`
	File        string `json:"file"`
	Sealed      bool   `json:"sealed"` // with a passphrase
}

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
	path, err := conf.addKey(ring, key, c.Passphrase)
	if err != nil {
		return fmt.Errorf("save key: %w", err)
	}
	if _, err := db.EnsureKey(ctx, key.Fingerprint(), crypto.CTR, crypto.DefaultIterations); err != nil {
		return fmt.Errorf("record key: %w", err)
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, keyFile{key.Fingerprint(), path, c.Passphrase})
	}
	fmt.Fprintf(a.stdout, "wrote %s\nIt seals from now on; the keys before it stay for reading. Without it what it seals is noise: tapefs key print, tapefs key check --copy FILE\n", path)
	return nil
}

// addKey saves a new key, sealed with a passphrase if it shall be.
func (c *settings) addKey(ring *crypto.Keyring, key *crypto.Key, sealed bool) (path string, err error) {
	if !sealed {
		return ring.Add(c.Keys.Dir, key)
	}
	passphrase, err := c.newPassphrase(key.Fingerprint())
	if err != nil {
		return "", err
	}
	return ring.AddSealed(c.Keys.Dir, key, passphrase)
}

type keyListCmd struct{}

// keyRow is one key as list prints it.
type keyRow struct {
	Fingerprint string     `json:"fingerprint"`
	Current     bool       `json:"current"`
	Sealed      bool       `json:"sealed"`         // with a passphrase
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
		return ui.WriteJSON(a.stdout, rows)
	}
	t := ui.NewTable(a.stdout, "KEY", "SEALS", "PASSPHRASE", "SECOND COPY SEEN", "FILE")
	for _, r := range rows {
		file := r.File
		if file == "" {
			file = "MISSING: objects sealed with it cannot be read"
		}
		t.Row(r.Fingerprint, ui.Yes(r.Current), ui.Yes(r.Sealed), ui.DateOr(r.CopySeen, "never"), file)
	}
	return t.Flush()
}

func keyRows(ctx context.Context, db *catalog.DB, ring *crypto.Keyring) ([]keyRow, error) {
	known, err := db.Keys(ctx)
	if err != nil {
		return nil, err
	}
	current := ring.CurrentID()
	rows := []keyRow{}
	inCatalog := map[string]bool{}
	for _, k := range known {
		inCatalog[k.Fingerprint] = true
		rows = append(rows, keyRow{Fingerprint: k.Fingerprint, Current: k.Fingerprint == current, Sealed: ring.IsSealed(k.Fingerprint),
			File: ring.Path(k.Fingerprint), CopySeen: ui.TimeOrNil(k.CopySeen)})
	}
	for _, id := range ring.Fingerprints() {
		if !inCatalog[id] {
			rows = append(rows, keyRow{Fingerprint: id, Current: id == current, Sealed: ring.IsSealed(id), File: ring.Path(id)})
		}
	}
	return rows, nil
}
