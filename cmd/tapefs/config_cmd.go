package main

import (
	"fmt"

	"github.com/goccy/go-yaml"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Read the configuration and say what is wrong with it."`
	Show  configShowCmd  `cmd:"" help:"Print the configuration as it is understood, with the folders that it leaves to default."`
}

type configCheckCmd struct{}

// Run reads the configuration; its mistakes are errors.
func (configCheckCmd) Run(a *app) error {
	c, err := a.configuration()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s is in order; \"tapefs doctor\" looks whether it fits this machine\n", c.path)
	return err
}

type configShowCmd struct{}

// Run prints the configuration without its comments.
func (configShowCmd) Run(a *app) error {
	c, err := a.configuration()
	if err != nil {
		return err
	}
	if a.JSON {
		text, err := yaml.MarshalWithOptions(c, yaml.OmitZero(), yaml.JSON())
		if err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
		_, err = a.stdout.Write(text)
		return err
	}
	text, err := yaml.MarshalWithOptions(c, yaml.OmitZero(), yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	_, err = fmt.Fprintf(a.stdout, "# %s\n%s", c.path, text)
	return err
}
