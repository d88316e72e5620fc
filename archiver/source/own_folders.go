package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/tapefs/tapefs/archiver/job"
)

// archiveMount is the type of a mounted archive in mountinfo, this one's or another's.
const archiveMount = "fuse.tapefs"

// errOwnSource: a source lies in a folder of the archive itself.
var errOwnSource = errors.New("it lies in a folder where tapefs keeps files of its own, or in a mounted archive")

// OwnWithin lists what of a directory of this machine is not to be archived, as paths below it: the archive's own
// folders, wherever bind mounts show them, and mounted archives, which would hold themselves, and whose reading waits
// for the very drives that a run writes to.
func OwnWithin(top string, own []string, mounts []*mountinfo.Info) ([]string, error) {
	top = realPath(top)
	var found []string
	note := func(place string) error {
		if within(top, place) {
			return errOwnSource
		}
		if within(place, top) {
			found = append(found, strings.TrimPrefix(place[len(top):], "/"))
		}
		return nil
	}
	for _, dir := range own {
		for _, place := range placesOf(realPath(dir), mounts) {
			if err := note(place); err != nil {
				return nil, err
			}
		}
	}
	for _, m := range mounts {
		if m.FSType != archiveMount {
			continue
		}
		if err := note(m.Mountpoint); err != nil {
			return nil, err
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// placesOf lists where a directory can be seen: at its path, and wherever its file system or a part of it is mounted, too.
func placesOf(dir string, mounts []*mountinfo.Info) []string {
	places := []string{dir}
	home := mountOf(dir, mounts)
	if home == nil {
		return places
	}
	inside := filepath.Join(home.Root, strings.TrimPrefix(dir, home.Mountpoint))
	for _, m := range mounts {
		if m.Major != home.Major || m.Minor != home.Minor {
			continue
		}
		switch {
		case within(inside, m.Root):
			places = append(places, filepath.Join(m.Mountpoint, strings.TrimPrefix(inside, strings.TrimSuffix(m.Root, "/"))))
		case within(m.Root, inside): // a folder in it
			places = append(places, m.Mountpoint)
		}
	}
	return places
}

// mountOf is the mount in which a directory lies; nil when none is known.
func mountOf(dir string, mounts []*mountinfo.Info) (home *mountinfo.Info) {
	for _, m := range mounts { // of two mounts on one directory the later one is what is seen
		if within(dir, m.Mountpoint) && (home == nil || len(m.Mountpoint) >= len(home.Mountpoint)) {
			home = m
		}
	}
	return home
}

// sameDeviceFilters are rsync's options that leave out what is mounted below a directory of this machine from the very device that the
// directory lies on, as bind mounts do: --one-file-system looks at devices alone. What it leaves out, it leaves an empty directory for, and
// so do these.
func sameDeviceFilters(top string, mounts []*mountinfo.Info) (args []string) {
	top = realPath(top)
	home := mountOf(top, mounts)
	if home == nil {
		return nil
	}
	for _, m := range mounts {
		if m.Mountpoint == top || !within(m.Mountpoint, top) || m.Major != home.Major || m.Minor != home.Minor {
			continue
		}
		pattern := "/" + globQuote.Replace(strings.TrimPrefix(m.Mountpoint[len(top):], "/"))
		if info, err := os.Lstat(m.Mountpoint); err == nil && !info.IsDir() {
			pattern = "/" + globLiteral(strings.TrimPrefix(m.Mountpoint[len(top):], "/"))
		} else {
			pattern += "/*"
		}
		if arg := "--exclude=" + pattern; !slices.Contains(args, arg) {
			args = append(args, arg)
		}
	}
	return args
}

// within reports whether a clean path is dir, or lies below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// realPath resolves symlinks, as far as the path exists.
func realPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	for at, rest := abs, ""; ; at, rest = filepath.Dir(at), filepath.Join(filepath.Base(at), rest) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if at == filepath.Dir(at) {
			return abs
		}
	}
}

// ownFilters are rsync's options that leave out what OwnWithin finds, at a source of this machine and at one that is
// reached by ssh and turns out to be this machine.
func ownFilters(ctx context.Context, env *job.Env, src job.Source, at Address) ([]string, error) {
	if at.Transport == overDaemon || at.Transport == overSSH && !strings.HasPrefix(at.Path, "/") {
		return nil, nil
	}
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("look for the archive's own folders in source %s: %w", src.Name, err)
	}
	own := env.Config.Own
	if env.Config.SpoolDir != "" {
		own = append([]string{env.Config.SpoolDir}, own...)
	}
	var found []string
	err = Answered(ctx, StallOf(src), func() error {
		if at.Transport == InPlace {
			topReadable(at.Path) // only whether it answers: the listing says what is wrong with it
		}
		var err error
		found, err = OwnWithin(at.Path, own, mounts)
		return err
	})
	var silent *StallError
	if ctx.Err() != nil || errors.As(err, &silent) {
		return nil, fmt.Errorf("look at source %s: %w", src.Name, err)
	}
	if at.Transport == overSSH && (err != nil || len(found) > 0) {
		if here, hereErr := isHere(ctx, env, src, at); !here {
			return nil, hereErr
		}
	}
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", src.Name, err)
	}
	var args []string
	for _, p := range found {
		args = append(args, "--exclude=/"+globLiteral(p)+"/")
	}
	if src.OneFileSystem && at.Transport == InPlace {
		args = append(args, sameDeviceFilters(at.Path, mounts)...)
	}
	return args, nil
}

// isHere reports whether a source that is reached by ssh is on this machine: whether a file that was made here just
// now is there.
func isHere(ctx context.Context, env *job.Env, src job.Source, at Address) (bool, error) {
	mark, err := os.CreateTemp("", "tapefs-here-")
	if err != nil {
		return false, fmt.Errorf("look whether source %s is this machine: %w", src.Name, err)
	}
	defer os.Remove(mark.Name())
	if err := errors.Join(mark.Chmod(0o644), mark.Close()); err != nil {
		return false, fmt.Errorf("look whether source %s is this machine: %w", src.Name, err)
	}
	there := at
	there.Path = mark.Name()
	r, err := Reach(ctx, env, src, there, func(secluded bool) []string {
		args := append([]string{"-n"}, there.RemoteOptions(src, env.Config.SSH, secluded)...)
		return append(args, "--", strings.TrimSuffix(there.Listed(), "/"), filepath.Join(os.TempDir(), "nothing"))
	}, nil, func([]byte) error { return nil })
	if err != nil {
		return false, fmt.Errorf("look whether source %s is this machine: %w", src.Name, err)
	}
	return r.Exit == 0, nil
}
