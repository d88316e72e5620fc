package main

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Read the configuration and say what is wrong with it."`
	Show  configShowCmd  `cmd:"" help:"Print the configuration as it is understood, with the folders that it leaves to default."`

	Schema configSchemaCmd `cmd:"" help:"Print the JSON schema of the configuration, with which editors complete its keys and mark mistakes."`
}

type configCheckCmd struct{}

// configCheck names a configuration that is in order.
type configCheck struct {
	File string `json:"file"`
}

// Run reads the configuration; its mistakes are errors.
func (configCheckCmd) Run(a *app) error {
	c, err := a.configuration()
	if err != nil {
		return err
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, configCheck{c.File()})
	}
	_, err = fmt.Fprintf(a.stdout, "%s is in order; \"tapefs doctor\" looks whether it fits this machine\n", c.File())
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
		text, err := yaml.MarshalWithOptions(c.Config, yaml.OmitZero(), yaml.JSON())
		if err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
		_, err = a.stdout.Write(text)
		return err
	}
	text, err := yaml.MarshalWithOptions(c.Config, yaml.OmitZero(), yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	_, err = fmt.Fprintf(a.stdout, "# %s\n%s", c.File(), text)
	return err
}

type configSchemaCmd struct{}

// Run prints the schema, for which no configuration is needed. What the keys mean is said by the comments of the one that init writes.
func (configSchemaCmd) Run(a *app) error {
	template, err := configTemplateKeys()
	if err != nil {
		return err
	}
	meaning := map[string]string{}
	for _, e := range template.Entries {
		for _, k := range e.Keys {
			meaning[k.String()] = e.Text
		}
	}
	return ui.WriteJSON(a.stdout, config.Schema(func(path []string) string { return meaning[strings.Join(path, ".")] }))
}
