package archiver

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
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tapefs/archiver/volume"
	"tapefs/changer"
	"tapefs/crypto"
)

// Bounds on what is read of one file of a tape, bytes. A manifest lists what went to a tape within one sync, and a
// snapshot takes some hundred bytes for each file of the archive.
const (
	manifestMax = 64 << 30
	snapshotMax = 1 << 40
)

// errHalf: a manifest or snapshot that was not finished, as the end of a tape leaves it. Nothing is wrong with the tape.
var errHalf = errors.New("it was not finished: the tape ended there, or the run")

// sumOnTape is the MAC over text and a file on the tape, of which at most limit bytes are read. Nothing is copied.
func sumOnTape(ctx context.Context, root *os.Root, name string, key *crypto.Key, text []byte, limit int64) ([]byte, error) {
	in, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	h := key.ManifestMAC(text)
	n, err := io.Copy(h, io.LimitReader(volume.Reader(ctx, in), limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%w: it is longer than %d bytes", ErrUnproved, limit)
	}
	return h.Sum(nil), err
}

// fetchFile copies a file of the tape, whose MAC was found right, into the survey's folder, where nobody changes it. What
// is copied must have the MAC, too. An error of our own disk is a *localError.
func (s *survey) fetchFile(ctx context.Context, root *os.Root, name, as string, key *crypto.Key, text, mac []byte) (_ *os.File, err error) {
	in, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(s.dir, as), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, &localError{err}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close(), os.Remove(out.Name()))
		}
	}()
	h := key.ManifestMAC(text)
	if _, err = io.Copy(io.MultiWriter(localWriter{out}, h), volume.Reader(ctx, in)); err != nil {
		return nil, err
	}
	if !hmac.Equal(h.Sum(nil), mac) {
		return nil, fmt.Errorf("%w: it changed while it was read", ErrUnproved)
	}
	if _, err = out.Seek(0, io.SeekStart); err != nil {
		return nil, &localError{err}
	}
	return out, nil
}

// readProof reads the .mac file beside a manifest or snapshot: errHalf when there is none, or when it was cut off. It is
// written last, so then nobody ever relied on either.
func readProof(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(macName(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (there is no .mac file)", errHalf)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	proof, err := io.ReadAll(io.LimitReader(f, macTextMax+1))
	if err == nil && cutOff(proof) {
		return nil, fmt.Errorf("%w (its .mac file has %d bytes)", errHalf, len(proof))
	}
	return proof, err
}

// cutOff reports whether a .mac file is the beginning of one and no more.
func cutOff(proof []byte) bool {
	if len(proof) == 0 {
		return true
	}
	begins := func(line string) bool {
		n := min(len(proof), len(line))
		return string(proof[:n]) == line[:n]
	}
	if !begins(fmt.Sprintf("tapefs-manifest %d\n", volume.TapeFormat)) && !begins(snapshotHeader+"\n") {
		return false
	}
	at := bytes.LastIndex(proof, []byte("\nmac="))
	return at < 0 || len(proof) < at+len("\nmac=")+2*sha256.Size+1 && !bytes.HasSuffix(proof, []byte("\n"))
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
		case ctx.Err() != nil:
			return ctx.Err()
		case isLocal(err), volume.Excused(v, err):
			return err
		case errors.Is(err, errHalf):
			s.remark(f.Name, err)
		default:
			s.refuse(f.Name, err)
		}
	}
	slices.SortFunc(s.Manifests, func(x, y foundManifest) int {
		return cmp.Or(cmp.Compare(x.Seq, y.Seq), x.Written.Compare(y.Written), strings.Compare(x.Name, y.Name))
	})
	s.chain()
	return nil
}

// manifest proves one manifest by its MAC, read from the tape as it lies there, and only then copies and reads it.
func (b *rebuilder) manifest(ctx context.Context, s *survey, root *os.Root, f tapeFile, named map[string]bool) (m foundManifest, err error) {
	folder := path.Base(path.Dir(f.Name))
	proof, err := readProof(root, f.Name)
	if err != nil {
		return m, err
	}
	key, err := b.env.Keys.Key(folder)
	if err != nil {
		return m, err
	}
	if volume := manifestNames.FindStringSubmatch(path.Base(f.Name))[1]; volume != s.Label.Volume {
		return m, fmt.Errorf("%w: it belongs to volume %s", ErrUnproved, volume)
	}
	t, err := parseMAC(proof)
	if err != nil {
		return m, err
	}
	if err := b.belongs(s, t.Catalog); err != nil {
		return m, err
	}
	if path.Base(manifestName("", t.Volume, t.Seq)) != path.Base(f.Name) {
		return m, fmt.Errorf("%w: its name is %q, its proof says volume %s seq %d", ErrUnproved, f.Name, t.Volume, t.Seq)
	}
	m = foundManifest{Name: f.Name, Key: folder, Seq: t.Seq, MAC: t.MAC, Previous: t.Previous}
	if old, err := b.knownManifest(ctx, s, m); err != nil {
		return m, err
	} else if old != nil && !s.doubt {
		s.Catalog, m.Known, m.Upto, m.Written = t.Catalog, true, old.Upto, old.Written
		return m, nil
	}
	sum, err := sumOnTape(ctx, root, f.Name, key, t.header(), manifestMax)
	if err != nil {
		return m, err
	}
	if !hmac.Equal(sum, t.MAC) {
		return m, fmt.Errorf("%w: the MAC is wrong, or the key is", ErrUnproved)
	}
	s.Catalog = t.Catalog
	sealed, err := s.fetchFile(ctx, root, f.Name, localName(f.Name), key, t.header(), t.MAC)
	if err != nil {
		return m, err
	}
	defer func() {
		err = errors.Join(err, sealed.Close())
		if err != nil {
			os.Remove(sealed.Name())
		}
	}()
	head, err := readManifest(f.Name, sealed, proof, key, func(record any) error {
		if p, ok := record.(*partRecord); ok && p.Volume == s.Label.Volume {
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
	if err := os.WriteFile(filepath.Join(s.dir, localName(macName(f.Name))), proof, 0o600); err != nil {
		return m, &localError{err}
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
		return fmt.Errorf("%w: it belongs to catalog %s", ErrUnproved, catalog)
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
		case ctx.Err() != nil:
			return ctx.Err()
		case isLocal(err), volume.Excused(v, err):
			return err
		case errors.Is(err, errHalf):
			s.remark(f.Name, err)
		default:
			s.refuse(f.Name, err)
		}
	}
	return nil
}

// errKnown: the catalog that stays has this snapshot in its list.
var errKnown = errors.New("it is known")

func (b *rebuilder) proveSnapshot(ctx context.Context, s *survey, root *os.Root, f tapeFile) (snap foundSnapshot, err error) {
	match := volume.SnapshotNames.FindStringSubmatch(f.Name)
	at, err := time.Parse(snapshotTime, match[2])
	if err != nil {
		return snap, fmt.Errorf("%w: its name has no time", ErrUnproved)
	}
	proof, err := readProof(root, f.Name)
	if err != nil {
		return snap, err
	}
	key, err := b.env.Keys.Key(match[1])
	if err != nil {
		return snap, err
	}
	of := snapshotCatalog(proof)
	if err := b.belongs(s, of); err != nil {
		return snap, err
	}
	text := snapshotText(of, s.Label.Volume, at)
	rest, ok := bytes.CutPrefix(proof, append(slices.Clone(text), "mac="...))
	mac, err := hex.DecodeString(strings.TrimSuffix(string(rest), "\n"))
	if !ok || err != nil || len(mac) != sha256.Size {
		return snap, fmt.Errorf("%w: its proof is of another catalog, volume or time, or none", ErrUnproved)
	}
	if known, err := b.knownSnapshot(ctx, s, f.Name, mac); err != nil {
		return snap, err
	} else if known {
		return snap, errKnown
	}
	sum, err := sumOnTape(ctx, root, f.Name, key, text, snapshotMax)
	if err != nil {
		return snap, err
	}
	if !hmac.Equal(sum, mac) {
		return snap, fmt.Errorf("%w: the MAC is wrong, or the key is", ErrUnproved)
	}
	s.Catalog = of
	snap = foundSnapshot{Name: f.Name, Key: match[1], Size: f.Size, MAC: mac, Written: at}
	if b.resumed || b.o.NoSnapshot {
		snap.Salt, err = saltOf(root, f.Name)
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

// snapshotCatalog is the catalog that a snapshot's proof names; "" none.
func snapshotCatalog(proof []byte) string {
	lines := strings.SplitN(string(proof), "\n", 3)
	if len(lines) < 3 {
		return ""
	}
	uuid, ok := strings.CutPrefix(lines[1], "catalog=")
	if !ok || !volume.UUIDText.MatchString(uuid) {
		return ""
	}
	return uuid
}
