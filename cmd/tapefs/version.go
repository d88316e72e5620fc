package main

import (
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// version is set by the build: -ldflags "-X main.version=…". A program that was built in another way knows its version from the module
// or the commit that it was made of.
var version = ""

// programVersion returns the version that --version prints, manifests record and pages show.
var programVersion = sync.OnceValue(func() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return builtVersion(info)
})

// builtVersion returns the version of a build without flags: that of the module where go install fetched it, else the commit of the
// checkout that go build was called in.
func builtVersion(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "-dirty"
		}
	}
	if commit == "" {
		return "dev"
	}
	return "dev-" + commit[:min(len(commit), 12)] + changed
}

type versionCmd struct{}

type versionOut struct {
	Version string `json:"version"`
}

// Run prints the version.
func (versionCmd) Run(a *app) error {
	if a.JSON {
		return ui.WriteJSON(a.stdout, versionOut{programVersion()})
	}
	_, err := fmt.Fprintln(a.stdout, "tapefs "+programVersion())
	return err
}
