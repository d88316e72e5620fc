package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/crypto"
)

type keySealCmd struct {
	Key string `arg:"" optional:"" help:"A key file, or a fingerprint; else the key that seals."`
}

type keyUnsealCmd struct {
	Key string `arg:"" optional:"" help:"A key file, or a fingerprint; else the key that seals."`
}

// keyFile finds the file that a command names by path or fingerprint.
func (c *settings) keyFile(name string) (string, error) {
	ring, err := c.keyring()
	if err != nil {
		return "", err
	}
	if name == "" {
		name = ring.CurrentID()
	}
	if path := ring.Path(name); path != "" {
		return path, nil
	}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%q is neither a key file nor the fingerprint of a key in %s: %w", name, c.Keys.Dir, crypto.ErrNoKey)
	}
	return name, nil
}

func (c *keySealCmd) Run(ctx context.Context, a *app) error {
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	path, err := conf.keyFile(c.Key)
	if err != nil {
		return fmt.Errorf("seal key: %w", err)
	}
	key, err := crypto.LoadKey(path)
	if errors.Is(err, crypto.ErrSealedKey) {
		return usagef("seal %s: it is sealed already", path)
	}
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if want := key.Fingerprint() + ".key"; filepath.Dir(path) == conf.Keys.Dir && filepath.Base(path) != want {
		return usagef("seal %s: a sealed key file must be named by its fingerprint; rename it to %s", path, want)
	}
	passphrase, err := conf.newPassphrase(key.Fingerprint())
	if err != nil {
		return fmt.Errorf("seal %s: %w", path, err)
	}
	if err := key.ReplaceSealed(path, passphrase); err != nil {
		return fmt.Errorf("seal %s: %w", path, err)
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, keyFile{key.Fingerprint(), path, true})
	}
	fmt.Fprintf(a.stdout, "sealed %s\nWho forgets the passphrase needs the page of tapefs key print, or a plain copy elsewhere: without any of them the tapes are noise.\n"+
		"The plain text may still lie in unused blocks of the disk and in backups of it.\n"+
		"By hand it opens with: openssl enc -d -aes-256-cbc -pbkdf2 -iter %d -md sha256 -in %s\n", path, crypto.SealedIterations, filepath.Base(path))
	return nil
}

func (c *keyUnsealCmd) Run(a *app) error {
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	path, err := conf.keyFile(c.Key)
	if err != nil {
		return fmt.Errorf("unseal key: %w", err)
	}
	text, err := crypto.ReadKeyFile(path)
	if err != nil {
		return fmt.Errorf("unseal: %w", err)
	}
	if !crypto.IsSealedKey(text) {
		return usagef("unseal %s: it is not sealed", path)
	}
	key, err := conf.openSealed(text, filepath.Base(path))
	if err != nil {
		return fmt.Errorf("unseal %s: %w", path, err)
	}
	if err := key.ReplacePlain(path); err != nil {
		return fmt.Errorf("unseal %s: %w", path, err)
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, keyFile{key.Fingerprint(), path, false})
	}
	fmt.Fprintf(a.stdout, "%s is plain: who can read it can read the tapes\n", path)
	return nil
}

// openSealed opens the text of a sealed key file that may lie anywhere; name is for the question.
func (c *settings) openSealed(text []byte, name string) (*crypto.Key, error) {
	passphrase, err := c.passphrase(name, 1)
	if err != nil {
		return nil, err
	}
	return crypto.OpenSealedKey(text, passphrase)
}
