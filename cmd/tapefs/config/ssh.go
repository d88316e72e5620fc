package config

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// SSH is how a source is reached over ssh: arguments of ssh. In the configuration it is a list of them, or
// port, identity, jump and options by name.
type SSH []string

// namedSSH is the second form.
type namedSSH struct {
	Port     int      `yaml:"port"`
	Identity string   `yaml:"identity"`
	Jump     string   `yaml:"jump"`
	Options  []string `yaml:"options"`
}

// UnmarshalYAML reads either form.
func (s *SSH) UnmarshalYAML(text []byte) error {
	strict := func(into any) error { return yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(into) }
	if first := bytes.TrimSpace(text); len(first) > 0 && (first[0] == '[' || bytes.HasPrefix(first, []byte("- "))) {
		return strict((*[]string)(s))
	}
	var named namedSSH
	if err := strict(&named); err != nil {
		return err
	}
	var args []string
	if named.Port < 0 || named.Port > 65535 {
		return fmt.Errorf("ssh.port: %d is no port", named.Port)
	}
	if named.Port > 0 {
		args = append(args, "-p", strconv.Itoa(named.Port))
	}
	if strings.HasPrefix(named.Identity, "-") {
		return fmt.Errorf("ssh.identity: %q is no file", named.Identity)
	}
	if named.Identity != "" {
		args = append(args, "-i", named.Identity)
	}
	if strings.HasPrefix(named.Jump, "-") || strings.ContainsAny(named.Jump, " \t\n") {
		return fmt.Errorf("ssh.jump: %q is no user@host:port", named.Jump)
	}
	if named.Jump != "" {
		args = append(args, "-J", named.Jump)
	}
	for _, o := range named.Options {
		name, _, ok := strings.Cut(o, "=")
		if !ok || name == "" || strings.ContainsAny(name, " \t-") {
			return errors.New("ssh.options: " + strconv.Quote(o) + " is not an option such as Compression=yes, see ssh_config(5)")
		}
		args = append(args, "-o", o)
	}
	*s = args
	return nil
}
