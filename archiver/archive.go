package archiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"time"

	"tapefs/catalog"
	"tapefs/changer"
	"tapefs/crypto"
)

const (
	defaultSyncBytes = 32 << 30         // docs/design.md, rule 1
	defaultSyncEvery = 10 * time.Minute // docs/design.md, rule 1
)

// Archiver makes copies of sources on tapes. Safe for concurrent use by runs of different sources.
type Archiver struct {
	cfg  Config
	log  *slog.Logger
	db   *catalog.DB
	keys *crypto.Keyring
	lib  *changer.Library // may be nil: then nothing that needs a tape works

	activity  activity
	locked    sync.Map // names of the sources whose locks are held here
	moved     sync.Map // by source and path: versions that a planned file may be, under another name
	again     sync.Map // by source and path: files that are taken because the archive has lost their bytes
	flow      flow
	heard     heard
	silentFor time.Duration // after that a source gives its place to the next one
	fetching  fetching
	sharing   sync.Mutex // one batch at a time looks whether others have its content, and is recorded
	told      told
	releasing sync.Mutex // one writer at a time lets go of batches
	seenLock  sync.Mutex // of the file of seenTapes
}

// New checks the configuration; it touches neither library nor sources.
func New(c Config) (*Archiver, error) {
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
	return &Archiver{cfg: c, log: c.Log, db: c.DB, keys: c.Keys, lib: c.Library, silentFor: silentFor}, nil
}

// pool finds a configured pool.
func (a *Archiver) pool(name string) (Pool, error) {
	for _, p := range a.cfg.Pools {
		if p.Name == name {
			return p, nil
		}
	}
	return Pool{}, fmt.Errorf("pool %q is not configured", name)
}

// sealKey is the key that seals, and its row in the catalog.
func (a *Archiver) sealKey(ctx context.Context) (*crypto.Key, catalog.SealKey, error) {
	key, err := a.keys.Current()
	if err != nil {
		return nil, catalog.SealKey{}, err
	}
	row, err := a.db.EnsureKey(ctx, key.Fingerprint(), crypto.CTR, crypto.DefaultIterations)
	if err != nil {
		return nil, catalog.SealKey{}, fmt.Errorf("record key %s: %w", key.Fingerprint(), err)
	}
	return key, row, nil
}

// note tells what the robot or a drive is about to do.
func (a *Archiver) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.log.Info(text)
	a.activity.set(text)
	if a.cfg.Progress != nil {
		a.cfg.Progress.Note(text)
	}
}

// stage tells how far a stage is: bytes or files; total 0 unknown.
func (a *Archiver) stage(name string, done, total int64) {
	if a.cfg.Progress != nil {
		a.cfg.Progress.Stage(name, done, total)
	}
}
