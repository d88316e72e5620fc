package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed demo.sh
var demoScript string

type demoCmd struct {
	Src string `help:"Archive this directory instead of a sample." placeholder:"DIR"`
}

// Run starts demo.sh, which types the commands that a user would.
func (c *demoCmd) Run(ctx context.Context, a *app) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the tapefs program: %w", err)
	}
	args := []string{"-c", demoScript, "demo.sh", self}
	if c.Src != "" {
		src, err := filepath.Abs(c.Src)
		if err != nil {
			return usagef("--src: %w", err)
		}
		args = append(args, src)
	}
	// The script cleans up when it is told to end, so it is told, and waited for.
	cmd := exec.CommandContext(ctx, "/bin/sh", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exitStatus(exit.ExitCode())
	}
	return err
}
