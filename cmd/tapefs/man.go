package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tapefs/tapefs/changer/virtual"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/manual"
)

type manCmd struct {
	Dir string `arg:"" help:"Directory to write the pages to; it is made if it is missing."`
}

// Run writes the manual pages, each into the folder of its section as man wants them.
func (c *manCmd) Run(ctx context.Context, a *app) error {
	pages, err := manualPages(ctx)
	if err != nil {
		return err
	}
	for _, page := range pages {
		dir := filepath.Join(c.Dir, "man"+page.Section)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("write manual page: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, page.File()), []byte(page.String()), 0o644); err != nil {
			return fmt.Errorf("write manual page: %w", err)
		}
	}
	return nil
}

// manualPages are all pages, made from the command line and the configuration's template.
func manualPages(ctx context.Context) ([]*manual.Page, error) {
	parser, err := newParser(ctx, &cli{}, io.Discard, io.Discard, func(int) {})
	if err != nil {
		return nil, err
	}
	keys, err := configTemplateKeys()
	if err != nil {
		return nil, err
	}
	var virtualHelp bytes.Buffer
	if code := virtual.Main([]string{"--help"}, nil, &virtualHelp, io.Discard); code != 0 {
		return nil, errors.New("the virtual library does not print its help")
	}
	files := [][2]string{
		{"/etc/tapefs/config.yaml", "The configuration of root and of the services: tapefs.yaml(5)."},
		{"$XDG_CONFIG_HOME/tapefs/config.yaml", "The configuration of a user, looked for first; without the variable in ~/.config."},
	}
	pages := manual.Commands(manual.Program{
		App:   parser.Model,
		More:  commandMore,
		About: strings.TrimSuffix(parser.Model.Help, exitHelp),
		Exits: exitMeanings,
		Environment: [][2]string{
			{"TAPEFS_CONFIG", "The configuration file, where --config names none."},
			{"XDG_CONFIG_HOME", "Where the configuration of a user lies; else ~/.config."},
			{"XDG_STATE_HOME", "Where the state folder of a user lies, when neither --state nor the configuration names one; else ~/.local/state."},
		},
		Files: append(files,
			[2]string{"/var/lib/tapefs", "The state folder of root: catalog.db, keys, spool, cache, run. Users have theirs in $XDG_STATE_HOME/tapefs."}),
		SeeAlso: []string{"tapefs.yaml(5)", "mount.tapefs(8)"},
		Literal: map[string]string{"virtual": virtualHelp.String()},
		Unpaged: []string{"help", "version"},
	})
	pages = append(pages, mountHelperPage())
	return append(pages, keys.Page("tapefs.yaml", "configuration of tapefs", files, []string{"tapefs(1)", "tapefs-config(1)"})), nil
}

// mountHelperPage is mount.tapefs(8), whose options are those that the program knows.
func mountHelperPage() *manual.Page {
	var options [][2]string
	for _, o := range knownMountOptions {
		options = append(options, [2]string{o.form, o.help})
	}
	options = append(options,
		[2]string{strings.Join(impliedOptions, ", "), "Hold always."},
		[2]string{strings.Join(idleOptions, ", ") + ", " + strings.Join(idlePrefixes, "…, ") + "…", "Are for mount(8) and systemd, and change nothing here."})
	return manual.NewPage("mount.tapefs", "8", "mount a tape archive by mount(8) and fstab", []manual.Section{
		{Title: "SYNOPSIS", Text: "    mount -t tapefs [-o OPTION,...] SOURCE DIR\n    mount.tapefs SOURCE DIR [-fnsv] [-o OPTION,...]"},
		{Title: "DESCRIPTION", Text: "mount(8) runs this helper for file systems of the types tapefs and fuse.tapefs. It does what `tapefs mount --daemon` does, " +
			"and returns once the mount answers. No tape is touched for that.\n\n" +
			"SOURCE is the configuration file, or a word without a slash, such as tapefs: then it is the configuration that every command finds. " +
			"umount(8) ends the mount."},
		{Title: "OPTIONS", Items: options},
		{Title: "EXIT STATUS", Items: [][2]string{{"0", "it is mounted"}, {fmt.Sprint(mountUsage), "wrong usage or configuration"}, {fmt.Sprint(mountFailed), "the mount failed"}}},
		{Title: "EXAMPLES", Text: "In fstab:\n\n    /etc/tapefs/config.yaml  /archive  fuse.tapefs  allow_other,nofail  0  0\n\n" +
			"The archive as it was at the end of a year:\n\n    mount -t fuse.tapefs -o at=2025-12-31 tapefs /then"},
		{Title: "FILES", Items: [][2]string{{"STATE/run/mount.log", "What the process in the background says."}}},
	}, []string{"tapefs-mount(1)", "tapefs.yaml(5)", "mount(8)", "fstab(5)"})
}

// commandMore is what a command's help says besides its model.
func commandMore(leaf *kong.Node) manual.More {
	h := commandHelps[commandWords(leaf)]
	if len(h.examples) == 0 {
		return manual.More{}
	}
	more := manual.More{Text: strings.TrimSpace(strings.TrimSuffix(leaf.Detail, h.text())), Exits: h.exitList()}
	for _, e := range h.examples {
		more.Examples = append(more.Examples, manual.Example{Line: e[0], For: e[1]})
	}
	return more
}

// configTemplateKeys are the keys of the configuration with what the template says of each.
func configTemplateKeys() (manual.Template, error) {
	fill := initConfig{
		State: "/var/lib/tapefs", KeysDir: "/var/lib/tapefs/keys", SpoolDir: "/var/lib/tapefs/spool", CacheDir: "/var/lib/tapefs/cache",
		Sources: []namedSource{{"photos", "backup@server.example:/srv/photos"}},
	}
	for _, name := range ltfsPrograms {
		fill.Programs = append(fill.Programs, namedProgram{Name: name})
	}
	text, err := fill.text()
	if err != nil {
		return manual.Template{}, err
	}
	return manual.ParseTemplate(text, isConfigKey, hasNames), nil
}

// isConfigKey reports whether the configuration has a key at a path, where NAME stands for names of pools and sources.
func isConfigKey(path []string) bool { return configTypeAt(path) != nil }

// hasNames reports whether the keys below a path are names that people choose.
func hasNames(path []string) bool {
	t := configTypeAt(path)
	return t != nil && t.Kind() == reflect.Map
}

// configTypeAt is the type of the value at a path of keys, nil when there is none.
func configTypeAt(path []string) reflect.Type {
	t := reflect.TypeFor[config.Config]()
	for _, key := range path {
		if t = below(t, key); t == nil {
			return nil
		}
	}
	return t
}

func below(t reflect.Type, key string) reflect.Type {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Map:
		return t.Elem()
	case reflect.Struct:
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name == key {
				return f.Type
			}
		}
	}
	return nil
}

// configKeyPaths are the paths of all keys of the configuration that hold a value.
func configKeyPaths() []string {
	var paths []string
	var walk func(t reflect.Type, path []string)
	walk = func(t reflect.Type, path []string) {
		for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch {
		case t.Kind() == reflect.Map:
			walk(t.Elem(), append(slices.Clone(path), "NAME"))
			return
		case t.Kind() == reflect.Struct && t != reflect.TypeFor[config.SSH]():
			for f := range t.Fields() {
				if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" {
					walk(f.Type, append(slices.Clone(path), name))
				}
			}
			return
		}
		paths = append(paths, strings.Join(path, "."))
	}
	walk(reflect.TypeFor[config.Config](), nil)
	return paths
}
