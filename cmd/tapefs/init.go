package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer/virtual"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/crypto"
)

//go:embed config.yaml.tmpl
var configTemplate string

type initCmd struct {
	Virtual  string   `help:"Make a virtual library in this folder, or take the one that is there, and configure it." placeholder:"DIR"`
	Slots    int      `help:"Slots of the virtual library." default:"8"`
	Drives   int      `help:"Drives of the virtual library." default:"2"`
	TapeSize string   `help:"Size of its tapes." default:"1GiB" placeholder:"SIZE"`
	Flavor   string   `help:"LTFS programs of the virtual library: ${enum}." default:"openltfs" enum:"openltfs,hpe" env:"TAPEFS_VIRTUAL_FLAVOR"`
	Source   []string `help:"Add a source; may be given several times." placeholder:"NAME=URL" sep:"none"`

	Passphrase bool `help:"Seal the new key's file with a passphrase, asked for on the terminal."`
}

// initConfig fills config.yaml.tmpl.
type initConfig struct {
	State, KeysDir, SpoolDir, CacheDir string
	Changer                            string
	Drives                             []virtual.Drive
	Programs                           []namedProgram
	AcceptSingleKey, FormatBlank       bool
	Sources                            []namedSource
}

type namedProgram struct{ Name, Path string }
type namedSource struct{ Name, URL string }

// ltfsPrograms are the programs of a library in the order of the configuration.
var ltfsPrograms = []string{"mtx", "mt", "mkltfs", "ltfs", "ltfsck", "lsscsi", "sg_read_attr", "sg_logs"}

func (c *initCmd) Run(ctx context.Context, a *app) error {
	sources, err := parseSources(c.Source)
	if err != nil {
		return err
	}
	configPath := c.configPath(a.Config)
	state := a.State
	if state == "" {
		state = config.DefaultState()
	}
	if state, err = filepath.Abs(state); err != nil {
		return usagef("state folder: %w", err)
	}
	fill := initConfig{
		State: state, KeysDir: filepath.Join(state, "keys"),
		SpoolDir: filepath.Join(state, "spool"), CacheDir: filepath.Join(state, "cache"),
		Sources: sources,
	}
	for _, name := range ltfsPrograms {
		fill.Programs = append(fill.Programs, namedProgram{Name: name})
	}
	catalogPath := filepath.Join(state, "catalog.db")
	for _, path := range []string{configPath, catalogPath} {
		if _, err := os.Lstat(path); err == nil {
			hint := "choose another --config and --state, or use what is there"
			if c, err := loadSettings(configPath, a.State); path == configPath && err == nil {
				if _, err := os.Lstat(c.CatalogPath()); errors.Is(err, fs.ErrNotExist) {
					hint = noCatalogHint(c) + "; for a new archive, move " + configPath + " away, run init, and bring over from it what you need"
				}
			}
			return withHint(fmt.Errorf("initialise: %s exists already; nothing was changed", path), "%s", hint)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("initialise: %w", err)
		}
	}
	madeLibrary := false
	if c.Virtual != "" {
		if madeLibrary, err = c.virtualLibrary(&fill); err != nil {
			return err
		}
	}

	for _, dir := range []string{state, filepath.Join(state, "run"), fill.SpoolDir, fill.CacheDir, fill.KeysDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make state folder: %w", err)
		}
	}
	key, keyPath, madeKey, err := currentOrNewKey(fill.KeysDir, c.Passphrase)
	if err != nil {
		return err
	}
	db, err := catalog.Create(ctx, catalogPath)
	if err != nil {
		return fmt.Errorf("create catalog: %w", err)
	}
	defer db.Close()
	if _, err := db.EnsureKey(ctx, key, crypto.CTR, crypto.DefaultIterations); err != nil {
		return fmt.Errorf("record key: %w", err)
	}
	if err := writeConfig(configPath, fill); err != nil {
		return err
	}

	fmt.Fprintf(a.stdout, "wrote %s\n", configPath)
	fmt.Fprintf(a.stdout, "wrote %s\n", catalogPath)
	if madeKey {
		fmt.Fprintf(a.stdout, "wrote %s\n", keyPath)
	} else {
		fmt.Fprintf(a.stdout, "kept  %s\n", keyPath)
	}
	switch {
	case madeLibrary:
		fmt.Fprintf(a.stdout, "made a virtual library in %s: %d slots, %d drives, tapes of %s\n",
			c.Virtual, c.Slots, c.Drives, c.TapeSize)
	case c.Virtual != "":
		fmt.Fprintf(a.stdout, "took the virtual library in %s as it is\n", c.Virtual)
	}
	fmt.Fprint(a.stdout, a.repeat(fmt.Sprintf("\nWithout the key %s the tapes are noise. Copy it to a safe place now:\n"+
		"  tapefs key print                 text for the safe\n"+
		"  tapefs key check --copy FILE     proves that the copy is good\n", key)))
	if c.Virtual == "" {
		fmt.Fprintf(a.stdout, "\nNext: name your library and sources in %s, then: %s\n", configPath, a.repeat("tapefs archive"))
	} else if len(sources) > 0 {
		fmt.Fprintf(a.stdout, "\nNext: %s\n", a.repeat("tapefs archive"))
	}
	return nil
}

// configPath is where init writes: what was named, else where this user's commands will look.
func (c *initCmd) configPath(flag string) string {
	switch env := os.Getenv("TAPEFS_CONFIG"); {
	case flag != "":
		return flag
	case env != "":
		return env
	case os.Geteuid() == 0 && os.Getenv("XDG_CONFIG_HOME") == "":
		return "/etc/tapefs/config.yaml"
	}
	return cmp.Or(config.UserPath(), "/etc/tapefs/config.yaml")
}

// virtualLibrary makes the library, or takes the one that is in the folder: after a disaster it holds the tapes.
func (c *initCmd) virtualLibrary(fill *initConfig) (made bool, err error) {
	bytes, err := humanize.ParseBytes(c.TapeSize)
	if err != nil || bytes > 1<<62 {
		return false, usagef("--tape-size %q is not a size such as 1GiB", c.TapeSize)
	}
	self, err := os.Executable()
	if err != nil {
		return false, fmt.Errorf("find the tapefs program: %w", err)
	}
	dir, err := filepath.Abs(c.Virtual)
	if err != nil {
		return false, usagef("--virtual: %w", err)
	}
	lib, err := virtual.Open(dir)
	if err != nil {
		made = true
		lib, err = virtual.Create(dir, virtual.Options{Slots: c.Slots, Drives: c.Drives, TapeSize: int64(bytes), Flavor: c.Flavor,
			Program: []string{self, "virtual"}})
	}
	if err != nil {
		return false, err
	}
	fill.Changer, fill.Drives = lib.Changer, lib.Drives
	fill.AcceptSingleKey, fill.FormatBlank = true, true
	for i := range fill.Programs {
		fill.Programs[i].Path = filepath.Join(lib.Bin, fill.Programs[i].Name)
	}
	return made, nil
}

// currentOrNewKey keeps a key that is there already: init overwrites nothing. A new one may be sealed with a passphrase.
func currentOrNewKey(dir string, sealed bool) (id, path string, made bool, err error) {
	conf := &settings{Config: &config.Config{Keys: config.Keys{Dir: dir}}}
	ring, err := conf.keyring()
	if err != nil {
		return "", "", false, err
	}
	if id = ring.CurrentID(); id != "" {
		return id, ring.Path(id), false, nil
	}
	if len(ring.Fingerprints()) > 0 {
		_, err = ring.Current() // says what is wrong
		return "", "", false, err
	}
	key, err := crypto.NewKey()
	if err != nil {
		return "", "", false, err
	}
	if path, err = conf.addKey(ring, key, sealed); err != nil {
		return "", "", false, fmt.Errorf("save key: %w", err)
	}
	return key.Fingerprint(), path, true, nil
}

func parseSources(args []string) ([]namedSource, error) {
	var sources []namedSource
	seen := map[string]bool{}
	for _, arg := range args {
		name, url, ok := strings.Cut(arg, "=")
		if !ok || url == "" {
			return nil, usagef("--source %q: write NAME=URL", arg)
		}
		if !config.NamePattern().MatchString(name) {
			return nil, usagef("--source %q: names are made of a-z, 0-9, '.', '_', '-'", name)
		}
		if seen[name] {
			return nil, usagef("--source %q is named twice", name)
		}
		seen[name] = true
		if isRelative(url) {
			abs, err := filepath.Abs(url)
			if err != nil {
				return nil, usagef("--source %q: %w", name, err)
			}
			url = abs
		}
		sources = append(sources, namedSource{name, url})
	}
	return sources, nil
}

// isRelative tells a relative local path from an absolute one and from host:path.
func isRelative(url string) bool {
	colon := strings.IndexByte(url, ':')
	slash := strings.IndexByte(url, '/')
	remote := colon >= 0 && (slash < 0 || colon < slash)
	return !remote && !filepath.IsAbs(url)
}

// text is the commented configuration.
func (fill initConfig) text() (string, error) {
	tmpl, err := template.New("config.yaml").Funcs(template.FuncMap{"quote": strconv.Quote}).Parse(configTemplate)
	if err != nil {
		return "", fmt.Errorf("configuration template: %w", err)
	}
	var text strings.Builder
	if err := tmpl.Execute(&text, fill); err != nil {
		return "", fmt.Errorf("configuration template: %w", err)
	}
	return text.String(), nil
}

func writeConfig(path string, fill initConfig) error {
	text, err := fill.text()
	if err != nil {
		return err
	}
	if _, err := config.Parse([]byte(text)); err != nil {
		return usagef("write configuration: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
