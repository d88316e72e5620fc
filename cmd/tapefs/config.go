package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"tapefs/archiver"
	"tapefs/changer"
	"tapefs/crypto"
)

// config is the configuration file. config.yaml.tmpl explains each key.
type config struct {
	State   string        `yaml:"state"`
	Library libraryConfig `yaml:"library"`
	Keys    keysConfig    `yaml:"keys"`
	// KeyCommand is a program and its arguments whose output is the passphrase of sealed keys.
	KeyCommand []string                `yaml:"key_command"`
	Pools      map[string]poolConfig   `yaml:"pools"`
	Sources    map[string]sourceConfig `yaml:"sources"`
	Spool      spoolConfig             `yaml:"spool"`
	Cache      cacheConfig             `yaml:"cache"`
	Mount      mountConfig             `yaml:"mount"`
	Recall     recallConfig            `yaml:"recall"`
	Scrub      scrubConfig             `yaml:"scrub"`
	// Notify is a program and its arguments, run for what somebody should know.
	Notify []string `yaml:"notify"`
	// MetricsFile is written in Prometheus' text format at the end of runs.
	MetricsFile string      `yaml:"metrics_file"`
	Tools       toolsConfig `yaml:"tools"`

	path string          // where it was read from
	ring *crypto.Keyring // read by keyring
}

type libraryConfig struct {
	Changer           string         `yaml:"changer"`
	Drives            []driveConfig  `yaml:"drives"`
	Flavor            string         `yaml:"flavor"`
	Programs          programsConfig `yaml:"programs"`
	LTFSOptions       []string       `yaml:"ltfs_options"`
	EjectBeforeUnload bool           `yaml:"eject_before_unload"`
	MoveTimeout       period         `yaml:"move_timeout"`
	ReadyTimeout      period         `yaml:"ready_timeout"`
	MountTimeout      period         `yaml:"mount_timeout"`
	UnmountTimeout    period         `yaml:"unmount_timeout"`
	AutoCheck         *bool          `yaml:"auto_check"`
	CheckTimeout      period         `yaml:"check_timeout"`
	IdleUnmount       period         `yaml:"idle_unmount"`
}

type driveConfig struct {
	Serial  string `yaml:"serial"`
	Element int    `yaml:"element"`
	Device  string `yaml:"device"`
	Tape    string `yaml:"tape"`

	Proved provedConfig `yaml:"proved"`
}

// provedConfig is what doctor --fix-config --prove saw of a drive.
type provedConfig struct {
	Serial  string `yaml:"serial"`
	Element int    `yaml:"element"`
	Node    string `yaml:"node"` // tape node of that day
	Date    string `yaml:"date"` // RFC 3339
}

type programsConfig struct {
	Mtx    string `yaml:"mtx"`
	Mt     string `yaml:"mt"`
	Mkltfs string `yaml:"mkltfs"`
	Ltfs   string `yaml:"ltfs"`
	Ltfsck string `yaml:"ltfsck"`
	Lsscsi string `yaml:"lsscsi"`

	SgReadAttr string `yaml:"sg_read_attr"`
	SgLogs     string `yaml:"sg_logs"`
}

type keysConfig struct {
	Dir             string `yaml:"dir"`
	AcceptSingleKey bool   `yaml:"accept_single_key"`
}

type poolConfig struct {
	Include     []string `yaml:"include"`
	Exclude     []string `yaml:"exclude"`
	FormatBlank bool     `yaml:"format_blank"`
	KeepFree    size     `yaml:"keep_free"`
	MinBatch    size     `yaml:"min_batch"`
	MaxAge      period   `yaml:"max_age"`
	VerifyAfter share    `yaml:"verify_after_write"`
}

type sourceConfig struct {
	URL            string    `yaml:"url"`
	Copies         []string  `yaml:"copies"`
	SSH            sshConfig `yaml:"ssh"`
	RsyncPath      string    `yaml:"rsync_path"`
	Include        []string  `yaml:"include"`
	Exclude        []string  `yaml:"exclude"`
	BundleBelow    size      `yaml:"bundle_below"`
	BundleSize     size      `yaml:"bundle_size"`
	DedupMin       size      `yaml:"dedup_min"`
	BandwidthLimit size      `yaml:"bandwidth_limit"`
	Streams        int       `yaml:"streams"`
	MinAge         period    `yaml:"min_age"`
	StallTimeout   period    `yaml:"stall_timeout"`
	OneFileSystem  bool      `yaml:"one_file_system"`
}

type spoolConfig struct {
	Dir string `yaml:"dir"`
	Max size   `yaml:"max"`
}

type cacheConfig struct {
	Dir     string `yaml:"dir"`
	Max     size   `yaml:"max"`
	Reserve size   `yaml:"reserve"`
}

type mountConfig struct {
	Owners     string `yaml:"owners"`
	AllowOther *bool  `yaml:"allow_other"`

	OfflineWait  period `yaml:"offline_wait"`
	HideVanished bool   `yaml:"hide_vanished"`
}

type recallConfig struct {
	Deny       *[]string `yaml:"deny"`
	DenyUIDs   []uint32  `yaml:"deny_uids"`
	MaxWaiting int       `yaml:"max_waiting"`
	Prefetch   *size     `yaml:"prefetch"`

	UserSlice   period `yaml:"user_slice"`
	ReaderSlice period `yaml:"reader_slice"`
	WriterSlice period `yaml:"writer_slice"`
}

// denied are programs that read whatever they find: indexers and thumbnailers.
var denied = []string{"tracker-*", "localsearch-*", "baloo_file*", "updatedb*", "recollindex", "nepomuk*", "tumblerd",
	"*thumbnailer*", "gdk-pixbuf-thum*", "kio_thumbnail*"}

// scrubConfig is what `verify --due` reads.
type scrubConfig struct {
	Every  period `yaml:"every"`
	Budget size   `yaml:"budget"`
}

type toolsConfig struct {
	Rsync     string `yaml:"rsync"`
	SSH       string `yaml:"ssh"`
	SyncBytes size   `yaml:"sync_bytes"`
	SyncEvery period `yaml:"sync_every"`
}

// proof is the entry as the changer wants it, the zero value when there is none.
func (p provedConfig) proof() (changer.Proof, error) {
	if p == (provedConfig{}) {
		return changer.Proof{}, nil
	}
	at, err := time.Parse(time.RFC3339, p.Date)
	if err != nil {
		return changer.Proof{}, fmt.Errorf("%q is not a time such as 2026-01-31T12:00:00Z; take proved: out and have it written anew: tapefs doctor --fix-config --prove", p.Date)
	}
	return changer.Proof{Serial: p.Serial, Element: p.Element, Node: p.Node, At: at}, nil
}

// defaultPrefetch is what is read ahead of who reads one file of a directory after the other: a second of a drive.
const defaultPrefetch = 256 << 20

// defaultCacheMax bounds the cache of sealed extents where the configuration says nothing.
const defaultCacheMax = 20 << 30

// maxStreams: sshd refuses at random from 10 connections on that are not through yet (MaxStartups).
const maxStreams = 8

// sourceName is DESIGN's rule for names of sources and pools: they become parts of paths on tape.
var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// loadConfig reads and checks the configuration. Unknown keys are errors.
func loadConfig(flagConfig, flagState string) (*config, error) {
	path, err := findConfig(flagConfig)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(usagef("read configuration: %w", err), "tapefs init --config %s writes one", path)
	} else if err != nil {
		return nil, usagef("read configuration: %w", err)
	}
	c, err := parseConfig(data)
	if err != nil {
		return nil, usagef("configuration %s: %w", path, err)
	}
	c.path = path
	if flagState != "" {
		c.State = flagState
	}
	if c.State == "" {
		c.State = defaultState()
	}
	if c.State, err = filepath.Abs(c.State); err != nil {
		return nil, usagef("state folder: %w", err)
	}
	c.fillPaths()
	return c, nil
}

// parseConfig reads a configuration's text and checks what does not need the machine.
func parseConfig(data []byte) (*config, error) {
	c := new(config)
	if err := decodeConfig(data, c); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, placed(err, data)
	}
	return c, nil
}

// errTag is a configuration that the YAML library gives up on, as it does of a tag (!!binary) before a value that is a list here.
var errTag = errors.New("this cannot be read as YAML; tags such as !!binary do not belong here")

// decodeConfig reads a configuration's text. The library panics on some: then the line is told.
func decodeConfig(data []byte, c *config) error {
	err := decodeYAML(data, c)
	if !errors.Is(err, errTag) {
		return err
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	for n := range lines {
		if errors.Is(decodeYAML(bytes.Join(lines[:n+1], nil), new(config)), errTag) {
			return fmt.Errorf("line %d: %q: %w", n+1, bytes.TrimSpace(lines[n]), err)
		}
	}
	return err
}

func decodeYAML(data []byte, c *config) (err error) {
	defer func() {
		if recover() != nil {
			err = errTag
		}
	}()
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return explainYAML(err)
	}
	return nil
}

func (c *config) check() error {
	if len(c.KeyCommand) > 0 && c.KeyCommand[0] == "" {
		return errors.New("key_command: its first word is empty; write a list: [program, argument]")
	}
	if len(c.Notify) > 0 && c.Notify[0] == "" {
		return errors.New("notify: its first word is empty; write a list: [program, argument]")
	}
	if f := c.MetricsFile; f != "" && (!filepath.IsAbs(f) || filepath.Ext(f) != ".prom") {
		return fmt.Errorf("metrics_file: %q is not an absolute path that ends with .prom", f)
	}
	if _, err := changer.ParseFlavor(c.Library.Flavor); err != nil {
		return fmt.Errorf("library.flavor: %w", err)
	}
	if t := c.Library.CheckTimeout; t < 0 || t > 0 && t < period(time.Second) {
		return fmt.Errorf("library.check_timeout: %s is less than a second", t)
	}
	serials := map[string]bool{}
	elements := map[int]bool{}
	for i, d := range c.Library.Drives {
		if d.Serial == "" || strings.ContainsAny(d.Serial, "/\x00") || d.Serial == "." || d.Serial == ".." {
			return fmt.Errorf("library.drives[%d].serial: %q is no serial number", i, d.Serial)
		}
		if serials[d.Serial] || elements[d.Element] {
			return fmt.Errorf("library.drives[%d]: serial %s or element %d is named twice", i, d.Serial, d.Element)
		}
		serials[d.Serial], elements[d.Element] = true, true
		if _, err := d.Proved.proof(); err != nil {
			return fmt.Errorf("library.drives[%d].proved.date: %w", i, err)
		}
	}
	if len(c.Pools) == 0 {
		c.Pools = map[string]poolConfig{"main": {}}
	}
	for name, p := range c.Pools {
		if !sourceName.MatchString(name) {
			return fmt.Errorf("pools: %q: names are made of a-z, 0-9, '.', '_', '-'", name)
		}
		if p.MaxAge < 0 {
			return fmt.Errorf("pools.%s.max_age: %s is negative", name, p.MaxAge)
		}
		for _, pattern := range slices.Concat(p.Include, p.Exclude) {
			if _, err := filepath.Match(pattern, ""); err != nil {
				return fmt.Errorf("pools.%s: pattern %q: %w", name, pattern, err)
			}
		}
	}
	for name, s := range c.Sources {
		if !sourceName.MatchString(name) {
			return fmt.Errorf("sources: %q: names are made of a-z, 0-9, '.', '_', '-'", name)
		}
		if s.URL == "" {
			return fmt.Errorf("sources.%s.url is missing", name)
		}
		if s.Streams < 0 || s.Streams > maxStreams {
			return fmt.Errorf("sources.%s.streams: %d is not between 1 and %d", name, s.Streams, maxStreams)
		}
		if s.StallTimeout != 0 && s.StallTimeout < period(time.Second) {
			return fmt.Errorf("sources.%s.stall_timeout: %s is less than a second", name, s.StallTimeout)
		}
		if s.MinAge < 0 {
			return fmt.Errorf("sources.%s.min_age: %s is negative", name, s.MinAge)
		}
		for _, pool := range s.Copies {
			if _, ok := c.Pools[pool]; !ok {
				return fmt.Errorf("sources.%s.copies: no pool %q%s", name, pool, didYouMean(pool, slices.Sorted(maps.Keys(c.Pools))))
			}
		}
	}
	if c.Recall.Deny != nil {
		for _, pattern := range *c.Recall.Deny {
			if _, err := filepath.Match(pattern, ""); err != nil {
				return fmt.Errorf("recall.deny: pattern %q: %w", pattern, err)
			}
		}
	}
	if c.Recall.MaxWaiting < 0 || c.Mount.OfflineWait < 0 {
		return errors.New("recall.max_waiting and mount.offline_wait are not negative")
	}
	if c.Recall.UserSlice < 0 || c.Recall.ReaderSlice < 0 || c.Recall.WriterSlice < 0 {
		return errors.New("recall.user_slice, recall.reader_slice and recall.writer_slice are not negative")
	}
	switch c.Mount.Owners {
	case "", "name", "number", "squash":
	default:
		return fmt.Errorf("mount.owners: %q is none of name, number, squash", c.Mount.Owners)
	}
	return nil
}

// fillPaths sets what defaults to a place below the state folder, and sizes.
func (c *config) fillPaths() {
	below := func(path *string, name string) {
		if *path == "" {
			*path = filepath.Join(c.State, name)
		}
	}
	below(&c.Keys.Dir, "keys")
	below(&c.Spool.Dir, "spool")
	below(&c.Cache.Dir, "cache")
	if c.Cache.Max == 0 {
		c.Cache.Max = defaultCacheMax
	}
	if c.Recall.Deny == nil {
		c.Recall.Deny = &denied
	}
	if c.Recall.Prefetch == nil {
		ahead := size(defaultPrefetch)
		c.Recall.Prefetch = &ahead
	}
	if c.Recall.MaxWaiting == 0 {
		c.Recall.MaxWaiting = 1000
	}
	if c.Scrub.Every == 0 {
		c.Scrub.Every = defaultScrub
	}
	if c.Mount.Owners == "" {
		c.Mount.Owners = "name"
	}
}

func (c *config) catalogPath() string { return filepath.Join(c.State, "catalog.db") }
func (c *config) runDir() string      { return filepath.Join(c.State, "run") }
func (c *config) socketPath() string  { return filepath.Join(c.runDir(), "tapefs.sock") }

// changerConfig is the library section as package changer wants it.
func (c *config) changerConfig() changer.Config {
	l := c.Library
	drives := make([]changer.DriveConfig, len(l.Drives))
	for i, d := range l.Drives {
		proof, _ := d.Proved.proof() // checked
		drives[i] = changer.DriveConfig{Serial: d.Serial, Element: d.Element, Device: d.Device, Tape: d.Tape, Proved: proof}
	}
	flavor, err := changer.ParseFlavor(l.Flavor)
	if err != nil {
		flavor = changer.FlavorAuto // check refused it before
	}
	return changer.Config{
		Changer:           l.Changer,
		Drives:            drives,
		RunDir:            c.runDir(),
		Flavor:            flavor,
		Programs:          changer.Programs(l.Programs),
		LTFSOptions:       l.LTFSOptions,
		EjectBeforeUnload: l.EjectBeforeUnload,
		MoveTimeout:       time.Duration(l.MoveTimeout),
		ReadyTimeout:      time.Duration(l.ReadyTimeout),
		MountTimeout:      time.Duration(l.MountTimeout),
		UnmountTimeout:    time.Duration(l.UnmountTimeout),
		CheckTimeout:      time.Duration(l.CheckTimeout),
		CheckByHand:       l.AutoCheck != nil && !*l.AutoCheck,
	}
}

// archiverPools lists the pools by name.
func (c *config) archiverPools() []archiver.Pool {
	pools := make([]archiver.Pool, 0, len(c.Pools))
	for name, p := range c.Pools {
		if len(p.Include) == 0 {
			p.Include = []string{"*"}
		}
		pools = append(pools, archiver.Pool{Name: name, Include: p.Include, Exclude: p.Exclude,
			FormatBlank: p.FormatBlank, KeepFree: int64(p.KeepFree),
			MinBatch: int64(p.MinBatch), MaxAge: time.Duration(p.MaxAge), VerifyAfterWrite: float64(p.VerifyAfter)})
	}
	slices.SortFunc(pools, func(a, b archiver.Pool) int { return strings.Compare(a.Name, b.Name) })
	return pools
}

// archiverSources lists the sources by name. A source without copies gets one in the first pool.
func (c *config) archiverSources() []archiver.Source {
	first := c.archiverPools()[0].Name
	sources := make([]archiver.Source, 0, len(c.Sources))
	for name, s := range c.Sources {
		if len(s.Copies) == 0 {
			s.Copies = []string{first}
		}
		sources = append(sources, archiver.Source{Name: name, URL: s.URL, Copies: s.Copies, SSH: s.SSH,
			RsyncPath: s.RsyncPath, Include: s.Include, Exclude: s.Exclude,
			BundleBelow: int64(s.BundleBelow), DedupMin: int64(s.DedupMin), BundleSize: int64(s.BundleSize),
			Bandwidth: int64(s.BandwidthLimit), Streams: s.Streams, MinAge: time.Duration(s.MinAge), StallTimeout: time.Duration(s.StallTimeout), OneFileSystem: s.OneFileSystem})
	}
	slices.SortFunc(sources, func(a, b archiver.Source) int { return strings.Compare(a.Name, b.Name) })
	return sources
}
