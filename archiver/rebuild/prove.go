package rebuild

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// fetchFile copies a file of the tape, whose MAC was found right, into the survey's folder, where nobody changes it. What
// is copied must have the MAC, too. An error of our own disk is a *localfs.DiskError.
func (s *survey) fetchFile(ctx context.Context, root *os.Root, name, as string, key *crypto.Key, text, mac []byte) (_ *os.File, err error) {
	in, err := changer.OpenFile(root, name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(s.dir, as), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, &localfs.DiskError{Err: err}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close(), os.Remove(out.Name()))
		}
	}()
	h := key.ManifestMAC(text)
	if _, err = io.Copy(io.MultiWriter(localfs.DiskWriter{W: out}, h), volume.Reader(ctx, in)); err != nil {
		return nil, err
	}
	if !hmac.Equal(h.Sum(nil), mac) {
		return nil, fmt.Errorf("%w: it changed while it was read", manifest.ErrUnproved)
	}
	if _, err = out.Seek(0, io.SeekStart); err != nil {
		return nil, &localfs.DiskError{Err: err}
	}
	return out, nil
}

// manifests proves a tape's manifests and keeps copies of those that hold. named collects the
// files on this tape that they name.
func (b *rebuilder) manifests(ctx context.Context, s *survey, v *changer.Volume, root *os.Root, files []tapeFile, named map[string]bool) error {
	for _, f := range files {
		m, err := b.manifest(ctx, s, root, f, named)
		switch {
		case err == nil:
			s.Manifests = append(s.Manifests, m)
			s.news = s.news || !m.Known
		default:
			if err := s.reject(ctx, v, f.Name, err); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(s.Manifests, func(x, y foundManifest) int {
		return cmp.Or(cmp.Compare(x.Seq, y.Seq), x.Written.Compare(y.Written), strings.Compare(x.Name, y.Name))
	})
	s.chain()
	return nil
}

// reject records why a manifest or snapshot does not count. It returns the error when that says nothing of the file, and ends the reading of
// the tape.
func (s *survey) reject(ctx context.Context, v *changer.Volume, name string, why error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case localfs.OfDisk(why), volume.Excused(v, why):
		return why
	case errors.Is(why, manifest.ErrHalf):
		s.remark(name, why)
	default:
		s.refuse(name, why)
	}
	return nil
}

// manifest proves one manifest by its MAC, read from the tape as it lies there, and only then copies and reads it.
func (b *rebuilder) manifest(ctx context.Context, s *survey, root *os.Root, f tapeFile, named map[string]bool) (m foundManifest, err error) {
	folder := path.Base(path.Dir(f.Name))
	proof, err := manifest.ReadProof(root, f.Name)
	if err != nil {
		return m, err
	}
	key, err := b.env.Keys.Key(folder)
	if err != nil {
		return m, err
	}
	if volume := manifest.Names().FindStringSubmatch(path.Base(f.Name))[1]; volume != s.Label.Volume {
		return m, fmt.Errorf("%w: it belongs to volume %s", manifest.ErrUnproved, volume)
	}
	t, err := manifest.ParseProof(proof)
	if err != nil {
		return m, err
	}
	if err := b.belongs(s, t.Catalog); err != nil {
		return m, err
	}
	if path.Base(manifest.Name("", t.Volume, t.Seq)) != path.Base(f.Name) {
		return m, fmt.Errorf("%w: its name is %q, its proof says volume %s seq %d", manifest.ErrUnproved, f.Name, t.Volume, t.Seq)
	}
	m = foundManifest{Name: f.Name, Key: folder, Seq: t.Seq, MAC: t.MAC, Previous: t.Previous}
	if old, err := b.knownManifest(ctx, s, m); err != nil {
		return m, err
	} else if old != nil && !s.doubt {
		s.Catalog, m.Known, m.Upto, m.Written = t.Catalog, true, old.Upto, old.Written
		return m, nil
	}
	sum, err := manifest.SumOnTape(ctx, root, f.Name, key, t.Header(), manifest.MaxManifest)
	if err != nil {
		return m, err
	}
	if !hmac.Equal(sum, t.MAC) {
		return m, fmt.Errorf("%w: the MAC is wrong, or the key is", manifest.ErrUnproved)
	}
	s.Catalog = t.Catalog
	sealed, err := s.fetchFile(ctx, root, f.Name, localName(f.Name), key, t.Header(), t.MAC)
	if err != nil {
		return m, err
	}
	defer func() {
		err = errors.Join(err, sealed.Close())
		if err != nil {
			os.Remove(sealed.Name())
		}
	}()
	head, err := manifest.Read(f.Name, sealed, proof, key, func(record any) error {
		if p, ok := record.(*manifest.PartRecord); ok && p.Volume == s.Label.Volume {
			named[p.Name] = true
		}
		return ctx.Err()
	}, "part")
	if err != nil {
		return m, err
	}
	if m.Salt, err = volume.HeaderSalt(sealed); err != nil {
		return m, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, localName(manifest.MacName(f.Name))), proof, 0o600); err != nil {
		return m, &localfs.DiskError{Err: err}
	}
	m.After, m.Upto, m.Written, m.Pool, m.Number, m.LastID = head.After, head.Upto, head.Written.UTC(), head.Pool, head.Number, head.LastID
	return m, nil
}

// belongs refuses what speaks of another catalog than the one that is rebuilt, or than what was proved on this tape.
func (b *rebuilder) belongs(s *survey, catalog string) error {
	want := b.uuid
	if s.Catalog != "" {
		want = s.Catalog
	}
	if want != "" && catalog != want {
		return fmt.Errorf("%w: it belongs to catalog %s", manifest.ErrUnproved, catalog)
	}
	return nil
}

// localName is a tape file's name in the survey's folder.
func localName(name string) string { return strings.ReplaceAll(name, "/", "_") }

// chain notes manifests that are missing, and those that do not follow the one before them: an older catalog was put
// back once, and what was written under their numbers before is gone. All of them are proved, and taken.
func (s *survey) chain() {
	next, last := 1, make([]byte, 32)
	for _, m := range s.Manifests {
		switch {
		case m.Seq < next:
			s.remark(m.Name, fmt.Errorf("there is another manifest %d of this tape: an older catalog was put back once", m.Seq))
			continue
		case m.Seq == next && !bytes.Equal(m.Previous, last):
			s.remark(m.Name, fmt.Errorf("it does not follow the manifest %d that lies here: an older catalog was put back once", m.Seq-1))
		}
		// Numbers of tries that failed are not used again: the MAC of the one before proves that none is missing.
		for ; next < m.Seq && !bytes.Equal(m.Previous, last); next++ {
			s.Gaps = append(s.Gaps, next)
		}
		next, last = m.Seq+1, m.MAC
	}
}

// snapshots proves the snapshots of a tape that are worth it: of the newest that holds a copy is kept to begin with, and
// those are proved that the catalog does not know.
func (b *rebuilder) snapshots(ctx context.Context, s *survey, v *changer.Volume, root *os.Root, files []tapeFile) error {
	slices.SortFunc(files, func(x, y tapeFile) int { return strings.Compare(path.Base(y.Name), path.Base(x.Name)) })
	for _, f := range files {
		if s.SnapshotFile != "" {
			break // one is enough to begin with; the others' rows are in it
		}
		snap, err := b.proveSnapshot(ctx, s, root, f)
		switch {
		case err == nil:
			s.Snapshots, s.news = append(s.Snapshots, snap), true
		case errors.Is(err, errKnown):
		default:
			if err := s.reject(ctx, v, f.Name, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// errKnown: the catalog that stays has this snapshot in its list.
var errKnown = errors.New("it is known")

func (b *rebuilder) proveSnapshot(ctx context.Context, s *survey, root *os.Root, f tapeFile) (snap foundSnapshot, err error) {
	match := volume.SnapshotNames().FindStringSubmatch(f.Name)
	at, err := time.Parse(manifest.SnapshotTime, match[2])
	if err != nil {
		return snap, fmt.Errorf("%w: its name has no time", manifest.ErrUnproved)
	}
	proof, err := manifest.ReadProof(root, f.Name)
	if err != nil {
		return snap, err
	}
	key, err := b.env.Keys.Key(match[1])
	if err != nil {
		return snap, err
	}
	of := manifest.SnapshotCatalog(proof)
	if err := b.belongs(s, of); err != nil {
		return snap, err
	}
	text := manifest.SnapshotText(of, s.Label.Volume, at)
	rest, ok := bytes.CutPrefix(proof, append(slices.Clone(text), "mac="...))
	mac, err := hex.DecodeString(strings.TrimSuffix(string(rest), "\n"))
	if !ok || err != nil || len(mac) != sha256.Size {
		return snap, fmt.Errorf("%w: its proof is of another catalog, volume or time, or none", manifest.ErrUnproved)
	}
	if known, err := b.knownSnapshot(ctx, s, f.Name, mac); err != nil {
		return snap, err
	} else if known {
		return snap, errKnown
	}
	sum, err := manifest.SumOnTape(ctx, root, f.Name, key, text, manifest.MaxSnapshot)
	if err != nil {
		return snap, err
	}
	if !hmac.Equal(sum, mac) {
		return snap, fmt.Errorf("%w: the MAC is wrong, or the key is", manifest.ErrUnproved)
	}
	s.Catalog = of
	snap = foundSnapshot{Name: f.Name, Key: match[1], Size: f.Size, MAC: mac, Written: at}
	if b.resumed || b.o.NoSnapshot {
		snap.Salt, err = volume.SaltOf(root, f.Name)
		return snap, err
	}
	sealed, err := s.fetchFile(ctx, root, f.Name, path.Base(f.Name), key, text, mac)
	if err != nil {
		return snap, err
	}
	s.SnapshotFile = path.Base(f.Name)
	snap.Salt, err = volume.HeaderSalt(sealed)
	return snap, errors.Join(err, sealed.Close())
}
