package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// mountHelpers are the names by which mount(8) runs this program: for "mount -t tapefs" and for "mount -t fuse.tapefs".
var mountHelpers = []string{"mount.tapefs", "mount.fuse.tapefs"}

// mountHelperWord is the first word of a command line that mount(8) wrote.
const mountHelperWord = "__mount"

// commandLine are the words to run, from the arguments of the process.
func commandLine(args []string) []string {
	if len(args) > 0 && slices.Contains(mountHelpers, filepath.Base(args[0])) {
		return append([]string{mountHelperWord}, args[1:]...)
	}
	return args[min(1, len(args)):]
}

// Exit codes of mount(8).
const (
	mountUsage  = 1
	mountFailed = 32
)

// mountHelp is for people who run the helper themselves.
const mountHelp = "Usage: mount.tapefs SOURCE DIR [-fnsv] [-o OPTION,...]\n\n" +
	"mount(8) runs this for file systems of type tapefs and fuse.tapefs; see mount.tapefs(8). SOURCE is the configuration file,\n" +
	"or a word without a slash for the one that every command finds."

// runMountHelper mounts as mount(8) asks, in the background, and returns one of its exit codes.
func runMountHelper(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if slices.Contains(args, "-h") || slices.Contains(args, "--help") {
		fmt.Fprintln(stdout, mountHelp)
		return 0
	}
	words, err := mountWords(args)
	if err != nil {
		report(stderr, err, globals{})
		return mountUsage
	}
	if words == nil { // -f: all but the mount itself
		return 0
	}
	switch run(ctx, words, stdin, stdout, stderr) {
	case exitDone:
		return 0
	case exitUsage:
		return mountUsage
	}
	return mountFailed
}

// mountWords are the words of "tapefs mount" that do what the helper's arguments ask; nil when nothing is to be done.
func mountWords(args []string) ([]string, error) {
	var (
		places, options []string
		fake, sloppy    bool
		words           []string
	)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			places = append(places, arg)
			continue
		}
		for j := 1; j < len(arg); j++ {
			letter := arg[j]
			switch letter {
			case 'f':
				fake = true
			case 's':
				sloppy = true
			case 'v':
				words = append(words, "-v")
			case 'n': // mtab is no longer a file
			case 'o', 't', 'N':
				value := arg[j+1:]
				if value == "" {
					if i++; i == len(args) {
						return nil, usagef("-%c: a value is missing", letter)
					}
					value = args[i]
				}
				if letter == 'N' {
					return nil, usagef("-N: mounting in another namespace is not possible; run nsenter --mount")
				}
				if letter == 'o' {
					options = append(options, strings.Split(value, ",")...)
				}
				j = len(arg)
			default:
				return nil, withHint(usagef("there is no flag -%c", letter), "mount.tapefs --help")
			}
		}
	}
	if len(places) != 2 {
		return nil, withHint(usagef("a source and a directory belong here, not %s", ui.Count(int64(len(places)), "word", "words")), "mount.tapefs --help")
	}
	source, dir := places[0], places[1]
	o, err := parseMountOptions(options, sloppy)
	if err != nil {
		return nil, err
	}
	if o.config == "" && strings.Contains(source, "/") {
		options = append(options, "config="+source)
	}
	if o.fsName == "" { // by which "mount -a" sees that it is mounted
		options = append(options, "fsname="+source)
	}
	if fake {
		_, err := parseMountOptions(options, sloppy)
		return nil, err
	}
	words = append(words, "mount", "--daemon")
	if sloppy {
		words = append(words, "--sloppy")
	}
	for _, option := range options {
		words = append(words, "-o", option)
	}
	return append(words, "--", dir), nil
}
