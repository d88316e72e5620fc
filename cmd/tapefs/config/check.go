package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// maxStreams: sshd refuses at random from 10 connections on that are not through yet (MaxStartups).
const maxStreams = 8

// leastVanished: what is meant as 2m, two months, is two minutes.
const leastVanished = Period(24 * time.Hour)

// NamePattern is DESIGN's rule for names of sources and pools: they become parts of paths on tape.
var NamePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`) })

func (c *Config) check() error {
	if len(c.KeyCommand) > 0 && c.KeyCommand[0] == "" {
		return errors.New("key_command: its first word is empty; write a list: [program, argument]")
	}
	if len(c.Notify) > 0 && c.Notify[0] == "" {
		return errors.New("notify: its first word is empty; write a list: [program, argument]")
	}
	if f := c.MetricsFile; f != "" && (!filepath.IsAbs(f) || filepath.Ext(f) != ".prom") {
		return fmt.Errorf("metrics_file: %q is not an absolute path that ends with .prom", f)
	}
	for _, dir := range c.Web.RestoreTo {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
			return fmt.Errorf("web.restore_to: %q is no absolute path without detours", dir)
		}
	}
	for _, address := range c.Web.Proxies {
		if _, err := netip.ParseAddr(address); err != nil {
			return fmt.Errorf("web.proxies: %q is no address such as 127.0.0.1", address)
		}
	}
	if _, err := changer.ParseFlavor(c.Library.Flavor); err != nil {
		return fmt.Errorf("library.flavor: %w", err)
	}
	if t := c.Library.CheckTimeout; t < 0 || t > 0 && t < Period(time.Second) {
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
		c.Pools = map[string]Pool{"main": {}}
	}
	for name, p := range c.Pools {
		if !NamePattern().MatchString(name) {
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
		if !NamePattern().MatchString(name) {
			return fmt.Errorf("sources: %q: names are made of a-z, 0-9, '.', '_', '-'", name)
		}
		if s.URL == "" {
			return fmt.Errorf("sources.%s.url is missing", name)
		}
		if s.Streams < 0 || s.Streams > maxStreams {
			return fmt.Errorf("sources.%s.streams: %d is not between 1 and %d", name, s.Streams, maxStreams)
		}
		if s.StallTimeout != 0 && s.StallTimeout < Period(time.Second) {
			return fmt.Errorf("sources.%s.stall_timeout: %s is less than a second", name, s.StallTimeout)
		}
		if s.Inbox && !archiver.OnThisMachine(s.URL) {
			return fmt.Errorf("sources.%s.inbox: files are only removed at a source on this machine, and %s is none", name, s.URL)
		}
		if s.MinAge < 0 {
			return fmt.Errorf("sources.%s.min_age: %s is negative", name, s.MinAge)
		}
		if n := s.Keep.Versions; n != nil && *n < 1 {
			return fmt.Errorf("sources.%s.keep.versions: %d would keep none; leave the key out to keep all", name, *n)
		}
		if age := s.Keep.Vanished; age != nil && *age < leastVanished {
			return fmt.Errorf("sources.%s.keep.vanished: %s is less than a day; leave the key out to keep what vanished for ever", name, *age)
		}
		for _, pool := range s.Copies {
			if _, ok := c.Pools[pool]; !ok {
				return fmt.Errorf("sources.%s.copies: no pool %q%s", name, pool, ui.DidYouMean(pool, slices.Sorted(maps.Keys(c.Pools))))
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
