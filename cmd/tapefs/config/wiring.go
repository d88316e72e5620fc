package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/changer"
)

// proof is the entry as the changer wants it, the zero value when there is none.
func (p Proved) proof() (changer.Proof, error) {
	if p == (Proved{}) {
		return changer.Proof{}, nil
	}
	at, err := time.Parse(time.RFC3339, p.Date)
	if err != nil {
		return changer.Proof{}, fmt.Errorf("%q is not a time such as 2026-01-31T12:00:00Z; take proved: out and have it written anew: tapefs doctor --fix-config --prove", p.Date)
	}
	return changer.Proof{Serial: p.Serial, Element: p.Element, Node: p.Node, At: at}, nil
}

// ChangerConfig is the library section as package changer wants it.
func (c *Config) ChangerConfig() changer.Config {
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
		RunDir:            c.RunDir(),
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

// ArchiverPools lists the pools by name.
func (c *Config) ArchiverPools() []archiver.Pool {
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

// ArchiverSources lists the sources by name. A source without copies gets one in the first pool.
func (c *Config) ArchiverSources() []archiver.Source {
	if len(c.Sources) == 0 {
		return nil // of a configuration that may have no pool either
	}
	first := c.ArchiverPools()[0].Name
	sources := make([]archiver.Source, 0, len(c.Sources))
	for name, s := range c.Sources {
		if len(s.Copies) == 0 {
			s.Copies = []string{first}
		}
		sources = append(sources, archiver.Source{Name: name, URL: s.URL, Copies: s.Copies, SSH: s.SSH,
			RsyncPath: s.RsyncPath, Include: s.Include, Exclude: s.Exclude,
			BundleBelow: int64(s.BundleBelow), DedupMin: int64(s.DedupMin), BundleSize: int64(s.BundleSize),
			Bandwidth: int64(s.BandwidthLimit), Streams: s.Streams, MinAge: time.Duration(s.MinAge), StallTimeout: time.Duration(s.StallTimeout), OneFileSystem: s.OneFileSystem, Inbox: s.Inbox, Keep: s.Keep.rule()})
	}
	slices.SortFunc(sources, func(a, b archiver.Source) int { return strings.Compare(a.Name, b.Name) })
	return sources
}

// rule is the section as package archiver wants it.
func (k Keep) rule() (rule archiver.Keep) {
	if k.Versions != nil {
		rule.Versions = *k.Versions
	}
	if k.Vanished != nil {
		rule.Vanished = time.Duration(*k.Vanished)
	}
	return rule
}
