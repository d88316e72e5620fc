package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// Env is what every step of a run works with. Safe for concurrent use.
type Env struct {
	Config Config
	DB     *catalog.DB
	Keys   *crypto.Keyring
	Lib    *changer.Library // may be nil: then nothing that needs a tape works
	Log    *slog.Logger

	Activity Activity
	Flow     Flow
	Heard    Heard

	locked sourceNames // whose locks this process has
	locks  heldLocks   // all locks of this process
	told   told
}

const (
	defaultSyncBytes = 32 << 30         // docs/design.md, rule 1
	defaultSyncEvery = 10 * time.Minute // docs/design.md, rule 1

	// maxBehindBytes is how far a second copy that is written at the same time may be behind the first, and defaultBehindTime for
	// how long. The sealed bytes in between are in memory. With less than minBehindBytes it would be detached by every pause of its drive.
	maxBehindBytes    = 1 << 30
	minBehindBytes    = 24 << 20
	defaultBehindTime = 60 * time.Second
)

// behindBytes is maxBehindBytes, less on a machine with less than eight times as much memory.
func behindBytes() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return maxBehindBytes
	}
	return max(minBehindBytes, min(maxBehindBytes, int64(info.Totalram)*int64(info.Unit)/8))
}

// defaultWriterSlice is worth a load, which takes a minute or two with the mount, and is not too long for a person who waits to read.
const defaultWriterSlice = 2 * time.Minute

// SealKey is the key that seals, and its row in the catalog.
func (env *Env) SealKey(ctx context.Context) (*crypto.Key, catalog.SealKey, error) {
	key, err := env.Keys.Current()
	if err != nil {
		return nil, catalog.SealKey{}, err
	}
	row, err := env.DB.EnsureKey(ctx, key.Fingerprint(), crypto.CTR, crypto.DefaultIterations)
	if err != nil {
		return nil, catalog.SealKey{}, fmt.Errorf("record key %s: %w", key.Fingerprint(), err)
	}
	return key, row, nil
}

// Note tells what the robot or a drive is about to do.
func (env *Env) Note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	env.Log.Info(text)
	env.Activity.Set(text)
	if env.Config.Progress != nil {
		env.Config.Progress.Note(text)
	}
}

// Stage tells how far a stage is: bytes or files; total 0 unknown.
func (env *Env) Stage(name string, done, total int64) {
	if env.Config.Progress != nil {
		env.Config.Progress.Stage(name, done, total)
	}
}

// New checks the configuration; it touches neither library nor sources.
func New(c Config) (*Env, error) {
	if c.DB == nil || c.Keys == nil {
		return nil, errors.New("archiver needs a catalog and keys")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.SyncBytes <= 0 {
		c.SyncBytes = defaultSyncBytes
	}
	if c.SyncEvery <= 0 {
		c.SyncEvery = defaultSyncEvery
	}
	if c.BehindBytes <= 0 {
		c.BehindBytes = behindBytes()
	}
	if c.WriterSlice <= 0 {
		c.WriterSlice = defaultWriterSlice
	}
	if c.BehindTime <= 0 {
		c.BehindTime = defaultBehindTime
	}
	pools := map[string]bool{}
	for _, p := range c.Pools {
		if p.Name == "" || pools[p.Name] {
			return nil, fmt.Errorf("pool %q: the name is missing or used twice", p.Name)
		}
		pools[p.Name] = true
		for _, pattern := range append(append([]string(nil), p.Include...), p.Exclude...) {
			if _, err := path.Match(pattern, ""); err != nil {
				return nil, fmt.Errorf("pool %s: barcode pattern %q: %w", p.Name, pattern, err)
			}
		}
	}
	names := map[string]bool{}
	for _, s := range c.Sources {
		if s.Name == "" || names[s.Name] {
			return nil, fmt.Errorf("source %q: the name is missing or used twice", s.Name)
		}
		names[s.Name] = true
		for _, p := range s.Copies {
			if !pools[p] {
				return nil, fmt.Errorf("source %s: pool %q is not configured", s.Name, p)
			}
		}
	}
	return &Env{Config: c, DB: c.DB, Keys: c.Keys, Lib: c.Library, Log: c.Log}, nil
}
