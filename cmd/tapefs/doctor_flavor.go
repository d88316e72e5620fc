package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tapefs/tapefs/changer"
)

// ltfsSeen is what the LTFS programs said of themselves when doctor looked for them.
type ltfsSeen struct {
	flavor   changer.Flavor    // "" while ltfs said nothing
	versions map[string]string // of ltfs, mkltfs and ltfsck that run
	paths    map[string]string
}

// saw takes note of a program that ran.
func (s *ltfsSeen) saw(name, path, version, said string) {
	switch name {
	case "ltfs":
		s.flavor = changer.FlavorOf(said)
	case "mkltfs", "ltfsck":
	default:
		return
	}
	if s.versions == nil {
		s.versions, s.paths = map[string]string{}, map[string]string{}
	}
	s.versions[name], s.paths[name] = version, path
}

// mixed names a program that is of another release than ltfs: two installations are mixed. "" when there is none.
func (s *ltfsSeen) mixed() string {
	for _, name := range []string{"mkltfs", "ltfsck"} {
		if v, ltfs := s.versions[name], s.versions["ltfs"]; v != "" && ltfs != "" && v != ltfs {
			return fmt.Sprintf("%s is %s and %s is %s", s.paths["ltfs"], ltfs, s.paths[name], v)
		}
	}
	return ""
}

// flavor looks which LTFS is installed, and whether the configuration agrees.
func (u *checkup) flavor() {
	const check = "LTFS flavor"
	lib := u.conf.Library
	configured, err := changer.ParseFlavor(lib.Flavor)
	if err != nil || len(lib.Drives) == 0 || u.ltfs.flavor == "" {
		return // what is wrong was said already
	}
	is := u.ltfs.flavor
	if configured != changer.FlavorAuto && configured != is {
		u.fail(check, "set library.flavor: auto, or library.programs to the programs that are meant",
			"the configuration says %s, and %s is of %s", configured, u.ltfs.paths["ltfs"], is.Title())
		return
	}
	if text := u.ltfs.mixed(); text != "" {
		u.warn(check, "set the paths of ltfs, mkltfs and ltfsck under library.programs to those of one installation", "two are mixed: %s", text)
		return
	}
	if err := is.CheckOptions(lib.LTFSOptions); err != nil {
		u.failWith(check, err, "")
		return
	}
	if is != changer.HPE {
		u.ok(check, "%s: %s, which takes sg nodes", is, is.Title())
		return
	}
	for _, d := range lib.Drives {
		if real, err := filepath.EvalSymlinks(d.Device); d.Device != "" && err == nil && !strings.HasPrefix(filepath.Base(real), "sg") {
			u.fail(check, "set device: to the sg node that lsscsi -g shows in the last column, or leave it out",
				"drive %s: %s opens nothing but /dev/sgN, and %s is none", d.Serial, is.Title(), d.Device)
			return
		}
	}
	u.ok(check, "%s: %s, which takes /dev/sgN and is mounted with sync_type=unmount", is, is.Title())
}
