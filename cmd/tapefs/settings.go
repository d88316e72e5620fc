package main

import (
	"fmt"

	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/crypto"
)

// settings are a configuration and the keys in the folder that it names.
type settings struct {
	*config.Config
	ring *crypto.Keyring // read by keyring
}

// loadSettings reads and checks the configuration that the flags name, which may be empty. Keys are read when they are needed.
func loadSettings(flagConfig, flagState string) (*settings, error) {
	c, err := config.Load(flagConfig, flagState)
	if err != nil {
		return nil, err
	}
	return &settings{Config: c}, nil
}

// keyring reads the keys, once. Sealed ones are opened when they are needed.
func (c *settings) keyring() (*crypto.Keyring, error) {
	if c.ring != nil {
		return c.ring, nil
	}
	ring, err := crypto.LoadKeyring(c.Keys.Dir)
	if err != nil {
		return nil, fmt.Errorf("read keys in %s: %w", c.Keys.Dir, err)
	}
	ring.OnSealed(c.passphrase)
	c.ring = ring
	return ring, nil
}

// openKeys opens all sealed keys, for work that must not stop half-way because nobody gives a passphrase.
func (c *settings) openKeys() error {
	ring, err := c.keyring()
	if err != nil {
		return err
	}
	if err := ring.OpenAll(); err != nil {
		return fmt.Errorf("read keys in %s: %w", c.Keys.Dir, err)
	}
	return nil
}
