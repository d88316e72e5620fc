package rebuild

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tapefs/tapefs/catalog"
)

// compare holds a tape against the catalog that stays: whether the tape is newer than what was recorded of it, and whether
// it has files that the catalog does not vouch for.
func (b *rebuilder) compare(ctx context.Context, s *survey) error {
	if b.env.DB == nil {
		return nil
	}
	t, err := b.env.DB.TapeByUUID(ctx, s.Label.Volume)
	if errors.Is(err, catalog.ErrNotFound) {
		s.news = true
		return nil
	}
	if err != nil {
		return err
	}
	s.news = t.IndexGeneration != s.Generation || t.Barcode != s.Barcode
	s.doubt, err = b.unvouched(ctx, s, t)
	return err
}

// unvouched reports whether a tape has objects or parts that the catalog knows nothing good of. Most are leftovers; it may
// also be that a record went wrong once, so what the journal says of the tape is taken over again.
func (b *rebuilder) unvouched(ctx context.Context, s *survey, t catalog.Tape) (bool, error) {
	good := map[string]bool{}
	err := b.env.DB.TapeFiles(ctx, t.ID, func(p catalog.CopyPart) error {
		if p.State == catalog.PartWritten || p.State == catalog.PartDurable || p.State == catalog.PartDamaged {
			good[p.Name] = true
		}
		return nil
	})
	return slices.ContainsFunc(s.Files, func(f tapeFile) bool { return !good[f.Name] }), err
}

// knownManifest returns the catalog's row of a manifest if that has the same MAC.
func (b *rebuilder) knownManifest(ctx context.Context, s *survey, m foundManifest) (*catalog.Manifest, error) {
	if b.env.DB == nil {
		return nil, nil
	}
	t, err := b.env.DB.TapeByUUID(ctx, s.Label.Volume)
	if err == nil {
		var old catalog.Manifest
		if old, err = b.env.DB.ManifestOf(ctx, t.ID, m.Seq); err == nil && bytes.Equal(old.MAC, m.MAC) {
			return &old, nil
		}
	}
	if errors.Is(err, catalog.ErrNotFound) {
		err = nil
	}
	return nil, err
}

func (b *rebuilder) knownSnapshot(ctx context.Context, s *survey, name string, mac []byte) (bool, error) {
	if b.env.DB == nil {
		return false, nil
	}
	return b.env.DB.HasSnapshot(ctx, s.Label.Volume, name, mac)
}

// choose decides which catalog is rebuilt, unless that was said or one is there: that of the first tape with a proof. What
// a label says is no proof. Tapes of other catalogs are passed over, and those are kept apart that nothing proves to be of
// this one.
func (b *rebuilder) choose() {
	b.apart()
	for _, s := range b.tapes {
		if b.uuid == "" && s.Catalog != "" {
			b.uuid = s.Catalog
			b.env.Note("rebuilding catalog %s", b.uuid)
		}
	}
	var ours []*survey
	for _, s := range b.tapes {
		switch {
		case s.Catalog == b.uuid && s.Catalog != "":
			ours = append(ours, s)
		case s.Catalog != "":
			b.pass(s, fmt.Sprintf("a tape of catalog %s, not of %s", s.Catalog, b.uuid))
		case s.Label.Lost != "" && b.uuid == "":
			b.pass(s, s.Label.Lost)
		case s.Label.Lost != "", s.Label.Catalog == b.uuid:
			b.claims = append(b.claims, s)
		case b.uuid == "":
			b.pass(s, fmt.Sprintf("its label names catalog %s, and nothing on it proves that with the keys at hand", s.Label.Catalog))
		default:
			b.pass(s, fmt.Sprintf("a tape of catalog %s by its label, not of %s", s.Label.Catalog, b.uuid))
		}
	}
	b.tapes = ours
}

func (b *rebuilder) pass(s *survey, why string) {
	b.env.Log.Info("tape is passed over", "tape", s.Barcode, "why", why)
	b.report.Passed = append(b.report.Passed, Refusal{Barcode: s.Barcode, Why: why})
}

// apart takes one of several cartridges that have the same volume UUID: the one with a proof, and whose journal reaches
// furthest. The others are copies of it, or pretend to be it.
func (b *rebuilder) apart() {
	best := map[string]*survey{}
	for _, s := range b.tapes {
		if was := best[s.Label.Volume]; was == nil || s.reach().compare(was.reach()) > 0 {
			best[s.Label.Volume] = s
		}
	}
	b.tapes = slices.DeleteFunc(b.tapes, func(s *survey) bool {
		first := best[s.Label.Volume]
		if first == s {
			return false
		}
		b.refuse(s.Barcode, "", fmt.Errorf("it has the volume UUID of tape %s, %s: one of them is a copy; %s was read, for its journal is proved and no shorter",
			first.Barcode, s.Label.Volume, first.Barcode))
		return true
	})
}

type reach struct {
	proved, seq int
	generation  int64
}

func (r reach) compare(o reach) int {
	return cmp.Or(cmp.Compare(r.proved, o.proved), cmp.Compare(r.seq, o.seq), cmp.Compare(r.generation, o.generation))
}

func (s *survey) reach() (r reach) {
	if s.Catalog != "" {
		r.proved = 1
	}
	for _, m := range s.Manifests {
		r.seq = max(r.seq, m.Seq)
	}
	r.generation = s.Generation
	return r
}
