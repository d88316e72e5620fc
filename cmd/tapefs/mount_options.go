package main

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// mountOptions are what -o and fstab say of a mount; they go before the configuration.
type mountOptions struct {
	config, state, fsName string

	at           moment
	nonEmpty     bool
	noExec       bool
	allowOther   *bool
	owners       string
	offlineWait  *config.Period
	hideVanished *bool
}

// mountOption is one of them. One whose form ends in "=…" takes a value.
type mountOption struct {
	form, help string
	set        func(o *mountOptions, value string) error
}

// name is the option without its value.
func (o mountOption) name() string {
	name, _, _ := strings.Cut(o.form, "=")
	return name
}

// knownMountOptions are listed in mount.tapefs(8) as they stand here.
var knownMountOptions = []mountOption{
	{"config=FILE", "The configuration, an absolute path.", func(o *mountOptions, v string) error { return absolute(&o.config, v) }},
	{"state=DIR", "The state folder, an absolute path; overrides the configuration.", func(o *mountOptions, v string) error { return absolute(&o.state, v) }},
	{"at=TIME", "Show the archive as it was then: " + momentHelp + ".", func(o *mountOptions, v string) error { return o.at.UnmarshalText([]byte(v)) }},
	{"allow_other", "Let other users in; file modes decide what each may read.", func(o *mountOptions, _ string) error { o.allowOther = new(true); return nil }},
	{"noallow_other", "Let nobody else in. Root does by default.", func(o *mountOptions, _ string) error { o.allowOther = new(false); return nil }},
	{"owners=HOW", "Owners of files: name, number or squash, as in the configuration.", func(o *mountOptions, v string) error {
		if !slices.Contains(ownersWords, v) {
			return fmt.Errorf("%q is none of %s", v, strings.Join(ownersWords, ", "))
		}
		o.owners = v
		return nil
	}},
	{"offline_wait=TIME", "How long a read waits for a tape that is outside the library: 30m. 0s: it fails at once.", func(o *mountOptions, v string) error {
		p, err := config.ParsePeriod(v)
		if err == nil && p < 0 {
			err = fmt.Errorf("%s is negative", p)
		}
		o.offlineWait = &p
		return err
	}},
	{"hide_vanished", "Do not show files that vanished from their source.", func(o *mountOptions, _ string) error { o.hideVanished = new(true); return nil }},
	{"nonempty", "Mount also over a directory that holds files.", func(o *mountOptions, _ string) error { o.nonEmpty = true; return nil }},
	{"fsname=NAME", "What df and mount show as the source; default: tapefs.", func(o *mountOptions, v string) error {
		if v == "" || strings.ContainsAny(v, "\x00\n") {
			return fmt.Errorf("%q is no name", v)
		}
		o.fsName = v
		return nil
	}},
	{"noexec", "Run no programs from the archive.", func(o *mountOptions, _ string) error { o.noExec = true; return nil }},
}

// Options that change nothing: the archive can only be read, and honours neither devices nor set-user-id bits; the
// rest is for mount(8) and systemd.
var (
	impliedOptions = []string{"ro", "nosuid", "nodev", "default_permissions"}
	idleOptions    = []string{"rw", "exec", "suid", "dev", "defaults", "_netdev", "nofail", "auto", "noauto", "user", "nouser", "users", "owner", "group",
		"atime", "noatime", "relatime", "norelatime", "strictatime", "nodiratime", "sync", "async", "silent", "loud"}
	idlePrefixes = []string{"x-", "X-", "comment=", "uhelper=", "helper=", "subtype="}
)

var ownersWords = []string{"name", "number", "squash"}

func absolute(to *string, path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path", path)
	}
	*to = filepath.Clean(path)
	return nil
}

// parseMountOptions reads the options of -o. Unknown ones are errors, unless sloppy.
func parseMountOptions(words []string, sloppy bool) (mountOptions, error) {
	known := map[string]mountOption{}
	for _, o := range knownMountOptions {
		known[o.name()] = o
	}
	var result mountOptions
	for _, word := range words {
		name, value, hasValue := strings.Cut(word, "=")
		o, ok := known[name]
		switch {
		case ok && hasValue != strings.Contains(o.form, "="):
			return result, usagef("option %s: write %s", word, o.form)
		case ok:
			if err := o.set(&result, value); err != nil {
				return result, usagef("option %s: %w", name, err)
			}
		case word == "", slices.Contains(impliedOptions, word), slices.Contains(idleOptions, word), sloppy:
		case slices.ContainsFunc(idlePrefixes, func(p string) bool { return strings.HasPrefix(word, p) }):
		default:
			names := slices.Concat(slices.Sorted(maps.Keys(known)), impliedOptions, idleOptions)
			return result, withHint(usagef("there is no mount option %q%s", name, ui.DidYouMean(name, names)), "mount.tapefs(8) lists them")
		}
	}
	return result, nil
}

// apply puts what the options say into the configuration.
func (o mountOptions) apply(conf *settings) {
	m := &conf.Mount
	m.AllowOther = cmp.Or(o.allowOther, m.AllowOther)
	m.Owners = cmp.Or(o.owners, m.Owners)
	if o.offlineWait != nil {
		m.OfflineWait = *o.offlineWait
	}
	if o.hideVanished != nil {
		m.HideVanished = *o.hideVanished
	}
}
