package changer

import (
	"errors"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
)

// programDirs are where programs are looked for after PATH: cron's PATH is /usr/bin:/bin, mtx and sg_logs lie in sbin
// directories, and LTFS is mostly installed by hand, in /usr/local or a directory of its own below /opt.
var programDirs = []string{"/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin", "/opt/*/bin", "/opt/*/sbin", "/opt/*/*/bin"}

// FindProgram finds a program by name: in PATH, else where such programs are usually installed. A name with a slash is a path and
// taken as it is. The error is that of exec.LookPath.
func FindProgram(name string) (string, error) { return findProgram(name, programDirs) }

func findProgram(name string, dirs []string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || strings.Contains(name, "/") {
		return path, err
	}
	for _, pattern := range dirs {
		found, _ := filepath.Glob(filepath.Join(pattern, name)) // the only error is that of a bad pattern
		for _, f := range found {
			switch _, ferr := exec.LookPath(f); {
			case ferr == nil:
				return f, nil
			case errors.Is(ferr, fs.ErrPermission):
				err = ferr
			}
		}
	}
	return "", err
}

// programPath is FindProgram for what is started at once: a program that is not found keeps its name, and starting it fails.
func programPath(name string) string {
	if path, err := FindProgram(name); err == nil {
		return path
	}
	return name
}

// command is a program and its arguments. It is shown its name as the caller wrote it.
func command(args []string) *exec.Cmd {
	cmd := exec.Command(programPath(args[0]), args[1:]...)
	cmd.Args[0] = args[0]
	return cmd
}
