package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

// Error is a configuration that cannot be read or does not say what it must.
type Error struct {
	Err  error
	Hint string // what a person can do, if there is more to say than the error does
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// HintText returns the hint.
func (e *Error) HintText() string { return e.Hint }

// Load reads and checks the configuration file that flagConfig names, else the first one of the usual places. Unknown keys are
// errors. flagState, if it is not empty, overrides the state folder. Every folder of the result is named, and sizes and times that the
// file leaves out have their defaults. Errors are *Error.
func Load(flagConfig, flagState string) (*Config, error) {
	path, err := findConfig(flagConfig)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{fmt.Errorf("read configuration: %w", err), fmt.Sprintf("tapefs init --config %s writes one", path)}
	} else if err != nil {
		return nil, &Error{Err: fmt.Errorf("read configuration: %w", err)}
	}
	c, err := Parse(data)
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("configuration %s: %w", path, err)}
	}
	c.file = path
	if flagState != "" {
		c.State = flagState
	}
	if c.State == "" {
		c.State = DefaultState()
	}
	if c.State, err = filepath.Abs(c.State); err != nil {
		return nil, &Error{Err: fmt.Errorf("state folder: %w", err)}
	}
	c.fillPaths()
	return c, nil
}

// Parse reads a configuration's text and checks what does not need the machine.
func Parse(data []byte) (*Config, error) {
	c := new(Config)
	if err := decodeConfig(data, c); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, placed(err, data)
	}
	return c, nil
}

// errTag is a configuration that the YAML library gives up on, as it does of a tag (!!binary) before a value that is a list here.
var errTag = errors.New("this cannot be read as YAML; tags such as !!binary do not belong here")

// decodeConfig reads a configuration's text. The library panics on some: then the line is told.
func decodeConfig(data []byte, c *Config) error {
	err := decodeYAML(data, c)
	if !errors.Is(err, errTag) {
		return err
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	for n := range lines {
		if errors.Is(decodeYAML(bytes.Join(lines[:n+1], nil), new(Config)), errTag) {
			return fmt.Errorf("line %d: %q: %w", n+1, bytes.TrimSpace(lines[n]), err)
		}
	}
	return err
}

func decodeYAML(data []byte, c *Config) (err error) {
	defer func() {
		if recover() != nil {
			err = errTag
		}
	}()
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return explainYAML(err)
	}
	return nil
}
