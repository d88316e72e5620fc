package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Where the configuration and the state lie unless a flag or the environment names a place.

// configPaths lists where a configuration is looked for, first match wins.
func configPaths() []string {
	const machine = "/etc/tapefs/config.yaml"
	if path := UserPath(); path != "" {
		return []string{path, machine}
	}
	return []string{machine}
}

// UserPath is the place of a user's configuration; "" when nothing says where the user is at home, as in services.
func UserPath() string {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := os.Getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "tapefs", "config.yaml")
}

// DefaultState is where the state lies when nothing names a place.
func DefaultState() string {
	const machine = "/var/lib/tapefs"
	if os.Geteuid() == 0 {
		return machine
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home := os.Getenv("HOME")
		if home == "" {
			return machine
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "tapefs")
}

// findConfig returns the configuration file to read.
func findConfig(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if env := os.Getenv("TAPEFS_CONFIG"); env != "" {
		return env, nil
	}
	for _, path := range configPaths() {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", &Error{fmt.Errorf("no configuration in %s", strings.Join(configPaths(), " or ")),
		"tapefs init writes one; tapefs init --virtual DIR tries things out without a library"}
}
