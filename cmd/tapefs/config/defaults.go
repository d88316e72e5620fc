package config

import (
	"path/filepath"
	"time"
)

// defaultPrefetch is how much is read ahead for somebody who reads a directory's files in order, bytes: a second of a drive.
const defaultPrefetch = 256 << 20

// DefaultCacheMax bounds the cache of sealed extents where the configuration says nothing.
const DefaultCacheMax = 20 << 30

// defaultScrub is how long what lies on tape is trusted unread where the configuration says nothing.
const defaultScrub = Period(180 * 24 * time.Hour)

// denied are programs that read whatever they find: indexers and thumbnailers. They get an error instead of a tape.
var denied = []string{"tracker-*", "localsearch-*", "baloo_file*", "updatedb*", "recollindex", "nepomuk*", "tumblerd",
	"*thumbnailer*", "gdk-pixbuf-thum*", "glycin*", "kio_thumbnail*", "kioworker:thumbnail*", "kioslave5:thumbnail*",
	"minidlnad", "clamscan", "clamd", "clamdscan", "clamonacc", "aide"}

// fillPaths fills in what the file left out: folders below the state folder, sizes and times.
func (c *Config) fillPaths() {
	below := func(path *string, name string) {
		if *path == "" {
			*path = filepath.Join(c.State, name)
		}
	}
	below(&c.Keys.Dir, "keys")
	below(&c.Spool.Dir, "spool")
	below(&c.Cache.Dir, "cache")
	if c.Cache.Max == 0 {
		c.Cache.Max = DefaultCacheMax
	}
	if c.Recall.Deny == nil {
		c.Recall.Deny = &denied
	}
	if c.Recall.Prefetch == nil {
		ahead := Size(defaultPrefetch)
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

// File returns where the configuration was read from.
func (c *Config) File() string { return c.file }

// CatalogPath returns where the catalog lies.
func (c *Config) CatalogPath() string { return filepath.Join(c.State, "catalog.db") }

// RunDir returns the folder of locks, mount points and sockets.
func (c *Config) RunDir() string { return filepath.Join(c.State, "run") }

// SocketPath returns where the process that owns the cache listens.
func (c *Config) SocketPath() string { return filepath.Join(c.RunDir(), "tapefs.sock") }
