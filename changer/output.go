package changer

import (
	"context"
	"errors"
	"os/exec"
	"time"
)

// output runs a program that only looks, outside of any library, and gives its standard output. It is killed
// after queryTimeout.
func output(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var stdout, stderr Clip
	cmd := exec.CommandContext(ctx, programPath(args[0]), args[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err == nil {
		text, err := stdout.whole()
		if err != nil {
			return "", &ProgramError{Args: args, Err: err}
		}
		return text, nil
	}
	pe := &ProgramError{Args: args, Code: -1, Stderr: lastLines(stderr.String(), stderrLines)}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		pe.Code = exit.ExitCode()
	} else {
		pe.Err = err
	}
	return stdout.String(), pe
}
