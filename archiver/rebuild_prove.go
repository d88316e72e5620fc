package archiver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tapefs/changer"
	"tapefs/crypto"
)

// fetchFile copies a file of the tape into the survey's folder; it is read there, where nobody changes it.
func (s *survey) fetchFile(root *os.Root, name, as string) (_ *os.File, err error) {
	in, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(s.dir, as), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(out, in); err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

// readProof reads a .mac file.
func readProof(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(macName(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, macTextMax+1))
}

// manifests proves a tape's manifests and keeps copies of those that hold. named collects the
// files on this tape that they name.
func (b *rebuilder) manifests(ctx context.Context, s *survey, v *changer.Volume, root *os.Root, files []tapeFile, named map[string]bool) error {
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := b.manifest(s, root, f, named)
		if err != nil {
			if excused(v, err) {
				return err
			}
			s.refuse(f.Name, err)
			continue
		}
		s.Manifests = append(s.Manifests, m)
	}
	slices.SortFunc(s.Manifests, func(x, y foundManifest) int {
		return cmp.Or(cmp.Compare(x.Seq, y.Seq), x.Written.Compare(y.Written), strings.Compare(x.Name, y.Name))
	})
	s.chain()
	return nil
}

func (b *rebuilder) manifest(s *survey, root *os.Root, f tapeFile, named map[string]bool) (m foundManifest, err error) {
	folder := path.Base(path.Dir(f.Name))
	key, err := b.keys.Key(folder)
	if err != nil {
		return m, err
	}
	if volume := manifestNames.FindStringSubmatch(path.Base(f.Name))[1]; volume != s.Label.Volume {
		return m, fmt.Errorf("%w: it belongs to volume %s", ErrUnproved, volume)
	}
	proof, err := readProof(root, f.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%w: its .mac file is missing", ErrUnproved)
	}
	if err != nil {
		return m, err
	}
	t, err := parseMAC(proof)
	if err != nil {
		return m, err
	}
	if t.Catalog != b.uuid {
		return m, fmt.Errorf("%w: it belongs to catalog %s", ErrUnproved, t.Catalog)
	}
	local := localName(f.Name)
	sealed, err := s.fetchFile(root, f.Name, local)
	if err != nil {
		return m, err
	}
	defer func() {
		err = errors.Join(err, sealed.Close())
		if err != nil {
			os.Remove(sealed.Name())
		}
	}()
	var mine []string
	head, err := readManifest(f.Name, sealed, proof, key, func(record any) error {
		if p, ok := record.(*partRecord); ok && p.Volume == s.Label.Volume {
			mine = append(mine, p.Name)
		}
		return nil
	})
	if err != nil {
		return m, err
	}
	for _, name := range mine {
		named[name] = true
	}
	salt, err := headerSalt(sealed)
	if err != nil {
		return m, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, localName(macName(f.Name))), proof, 0o600); err != nil {
		return m, err
	}
	return foundManifest{Name: f.Name, Key: folder, Seq: t.Seq, MAC: t.MAC, Previous: t.Previous, Upto: head.Upto, Written: head.Written.UTC(), Salt: salt}, nil
}

// localName is a tape file's name in the survey's folder.
func localName(name string) string { return strings.ReplaceAll(name, "/", "_") }

func headerSalt(f io.ReaderAt) ([]byte, error) {
	header := make([]byte, crypto.HeaderSize)
	if _, err := f.ReadAt(header, 0); err != nil {
		return nil, err
	}
	return crypto.ParseHeader(header)
}

// chain refuses manifests that do not follow the one before them, and notes those that are missing.
func (s *survey) chain() {
	var good []foundManifest
	for _, m := range s.Manifests {
		next, last := 1, make([]byte, 32)
		if n := len(good); n > 0 {
			next, last = good[n-1].Seq+1, good[n-1].MAC
		}
		switch {
		case m.Seq < next:
			s.refuse(m.Name, fmt.Errorf("%w: there is another manifest %d", ErrUnproved, m.Seq))
			continue
		case m.Seq == next && !bytes.Equal(m.Previous, last):
			s.refuse(m.Name, fmt.Errorf("%w: it does not follow manifest %d of this tape", ErrUnproved, m.Seq-1))
			continue
		}
		for ; next < m.Seq; next++ {
			s.Gaps = append(s.Gaps, next)
		}
		good = append(good, m)
	}
	s.Manifests = good
}

// snapshots proves the snapshots of a tape that are worth it: the newest that holds is kept, and
// older ones are believed by their proof's form alone, as rows that nothing reads.
func (b *rebuilder) snapshots(ctx context.Context, s *survey, v *changer.Volume, root *os.Root, files []tapeFile) error {
	slices.SortFunc(files, func(x, y tapeFile) int { return strings.Compare(path.Base(y.Name), path.Base(x.Name)) })
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.SnapshotFile != "" && !b.resumed {
			break // one is enough to begin with; the others' rows are in it
		}
		snap, err := b.proveSnapshot(s, root, f)
		if err != nil {
			if excused(v, err) {
				return err
			}
			s.refuse(f.Name, err)
			continue
		}
		s.Snapshots = append(s.Snapshots, snap)
		if s.SnapshotFile == "" {
			s.SnapshotFile = path.Base(f.Name)
		}
	}
	return nil
}

func (b *rebuilder) proveSnapshot(s *survey, root *os.Root, f tapeFile) (snap foundSnapshot, err error) {
	match := snapshotNames.FindStringSubmatch(f.Name)
	at, err := time.Parse(snapshotTime, match[2])
	if err != nil {
		return snap, fmt.Errorf("%w: its name has no time", ErrUnproved)
	}
	key, err := b.keys.Key(match[1])
	if err != nil {
		return snap, err
	}
	proof, err := readProof(root, f.Name)
	if err != nil {
		return snap, fmt.Errorf("%w: its .mac file: %w", ErrUnproved, err)
	}
	text := snapshotText(b.uuid, s.Label.Volume, at)
	rest, ok := bytes.CutPrefix(proof, append(slices.Clone(text), "mac="...))
	mac, err := hex.DecodeString(strings.TrimSuffix(string(rest), "\n"))
	if !ok || err != nil || len(mac) != 32 {
		return snap, fmt.Errorf("%w: its proof is of another catalog, volume or time, or none", ErrUnproved)
	}
	sealed, err := s.fetchFile(root, f.Name, path.Base(f.Name))
	if err != nil {
		return snap, err
	}
	defer func() {
		err = errors.Join(err, sealed.Close())
		if err != nil || b.resumed || s.SnapshotFile != "" {
			os.Remove(sealed.Name())
		}
	}()
	h := key.ManifestMAC(text)
	if _, err := io.Copy(h, sealed); err != nil {
		return snap, err
	}
	if !hmac.Equal(h.Sum(nil), mac) {
		return snap, fmt.Errorf("%w: the MAC is wrong, or the key is", ErrUnproved)
	}
	salt, err := headerSalt(sealed)
	return foundSnapshot{Name: f.Name, Key: match[1], Size: f.Size, MAC: mac, Salt: salt, Written: at}, err
}
