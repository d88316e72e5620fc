package rebuild

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// fromSnapshot makes the catalog's file from a proved snapshot. It appears under its name when it is
// free of what described the machine.
func (b *rebuilder) fromSnapshot(ctx context.Context, s *survey, to string) (err error) {
	b.env.Note("beginning with the catalog snapshot %s of tape %s", s.SnapshotFile, s.Barcode)
	var key string
	for _, snap := range s.Snapshots {
		if strings.HasSuffix(snap.Name, "/"+s.SnapshotFile) {
			key = snap.Key
		}
	}
	k, err := b.env.Keys.Key(key)
	if err != nil {
		return err
	}
	sealed, err := os.Open(filepath.Join(s.dir, s.SnapshotFile))
	if err != nil {
		return err
	}
	defer sealed.Close()
	temp := to + ".snapshot"
	defer func() {
		for _, end := range []string{"", "-wal", "-shm"} {
			os.Remove(temp + end)
		}
	}()
	plain, err := k.NewReader(sealed)
	if err != nil {
		return err
	}
	members := tar.NewReader(plain)
	head, err := members.Next()
	if err != nil {
		return err
	}
	if head.Name != "catalog.db" || head.Typeflag != tar.TypeReg {
		return fmt.Errorf("it holds %.40q and no catalog.db", head.Name)
	}
	out, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, members)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	db, err := catalog.Open(ctx, temp)
	if err != nil {
		return err
	}
	if db.UUID() != b.uuid {
		err = fmt.Errorf("it is of catalog %s", db.UUID())
	}
	if err == nil {
		err = db.QuickCheck(ctx)
	}
	if err == nil {
		err = db.DropMachine(ctx)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return os.Rename(temp, to)
}

// apply takes over what the surveys found, the oldest manifest of all tapes first.
func (b *rebuilder) apply(ctx context.Context) error {
	type job struct {
		s    *survey
		tape catalog.Tape
		m    foundManifest
	}
	var jobs []job
	tapes := map[*survey]catalog.Tape{}
	for _, s := range b.tapes {
		t, err := b.seen(ctx, s)
		if err != nil {
			return err
		}
		tapes[s] = t
		if !s.doubt { // of a snapshot nothing was known when the tape was read
			if s.doubt, err = b.unvouched(ctx, s, t); err != nil {
				return err
			}
		}
		for _, m := range s.Manifests {
			jobs = append(jobs, job{s, t, m})
			b.rows.Given(m.LastID, m.Upto) // a number that has to be given anew is none that a later manifest has
		}
	}
	slices.SortStableFunc(jobs, func(x, y job) int {
		return cmp.Or(cmp.Compare(x.m.Upto, y.m.Upto), x.m.Written.Compare(y.m.Written), cmp.Compare(x.m.Seq, y.m.Seq))
	})
	for i, j := range jobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.env.Stage("manifests", int64(i), int64(len(jobs)))
		if err := b.applyManifest(ctx, j.s, j.tape, j.m); err != nil {
			return err
		}
	}
	if err := b.adopt(ctx, tapes); err != nil {
		return err
	}
	for _, s := range b.tapes {
		if err := b.applyTape(ctx, s, tapes[s]); err != nil {
			return fmt.Errorf("take over tape %s: %w", s.Barcode, err)
		}
	}
	return b.rows.Flush()
}

// seen records a tape that was read. Its pool and number are what its newest manifest says, for the label is not proved.
func (b *rebuilder) seen(ctx context.Context, s *survey) (catalog.Tape, error) {
	t := catalog.Tape{Barcode: s.Barcode, UUID: s.Label.Volume, PoolName: s.Label.Pool, Number: s.Label.Number,
		Generation: changer.Barcode(s.Barcode).Generation(), Capacity: s.Capacity, Free: s.Free, Seen: s.Seen}
	for _, m := range s.Manifests {
		if m.Pool != "" {
			t.PoolName, t.Number = m.Pool, m.Number
		}
	}
	return b.rows.SeenTape(ctx, t)
}

// vouchedElsewhere reports whether proved manifests on other tapes name files of a volume, and such a file lies there: so does a tape look
// whose last manifest did not fit on it any more. What is read from it is held against the sums in those manifests.
func (b *rebuilder) vouchedElsewhere(ctx context.Context, s *survey, t catalog.Tape) (bool, error) {
	durable, err := b.env.DB.DurableManifests(ctx)
	if err != nil {
		return false, err
	}
	vouched := false
	err = b.env.DB.TapeFiles(ctx, t.ID, func(p catalog.CopyPart) error {
		if p.State == catalog.PartDurable && durable[p.Manifest] {
			f, found := s.file(p.Name)
			vouched = vouched || found && f.Size == p.Size
		}
		return nil
	})
	return vouched, err
}

// adopt takes in tapes that only claim to be of this catalog: those of which the journal of another tape says so and which
// have nothing on them yet, or what it says, and all when that was asked for.
func (b *rebuilder) adopt(ctx context.Context, tapes map[*survey]catalog.Tape) error {
	claims := b.claims
	b.claims = nil
	for _, s := range claims {
		t, err := b.env.DB.TapeByUUID(ctx, s.Label.Volume)
		if err != nil && !errors.Is(err, catalog.ErrNotFound) {
			return err
		}
		empty := err == nil && t.Barcode == s.Barcode && len(s.Files) == 0
		if empty {
			if _, err := b.env.DB.LastManifest(ctx, t.ID); !errors.Is(err, catalog.ErrNotFound) {
				if err != nil {
					return err
				}
				empty = false
			}
			if objects, _, err := b.env.DB.TapeObjects(ctx, t.ID); err != nil {
				return err
			} else if objects > 0 {
				empty = false
			}
		}
		vouched := false
		if err == nil && t.Barcode == s.Barcode && !empty {
			if vouched, err = b.vouchedElsewhere(ctx, s, t); err != nil {
				return err
			}
		}
		if s.Label.Lost != "" {
			if !vouched {
				b.pass(s, s.Label.Lost)
				continue
			}
			s.Label.Catalog, s.Label.Pool, s.Label.Number = b.uuid, t.PoolName, t.Number
		}
		if !empty && !vouched && !b.o.AcceptUnproved {
			b.pass(s, "its label names this catalog, and nothing on it proves that; --accept-unproved takes it all the same")
			b.claims = append(b.claims, s)
			continue
		}
		if tapes[s], err = b.seen(ctx, s); err != nil {
			return err
		}
		b.tapes = append(b.tapes, s)
	}
	return b.rows.Flush()
}

// applyManifest proves the copy of a manifest again and takes it over.
func (b *rebuilder) applyManifest(ctx context.Context, s *survey, t catalog.Tape, m foundManifest) error {
	old, err := b.env.DB.ManifestOf(ctx, t.ID, m.Seq)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
	case err != nil:
		return err
	case m.Known || bytes.Equal(old.MAC, m.MAC) && !s.doubt:
		return nil
	case !bytes.Equal(old.MAC, m.MAC):
		b.report.Remarks = append(b.report.Remarks, Refusal{Barcode: s.Barcode, Name: m.Name,
			Why: fmt.Sprintf("the catalog knew another manifest %d of this tape: an older catalog was put back once", m.Seq)})
		if err := b.rows.ReplaceManifest(ctx, old.ID); err != nil {
			return err
		}
	}
	key, err := b.env.Keys.Key(m.Key)
	if err != nil {
		return err
	}
	proof, err := os.ReadFile(filepath.Join(s.dir, localName(manifest.MacName(m.Name))))
	if err != nil {
		return err
	}
	sealed, err := os.Open(filepath.Join(s.dir, localName(m.Name)))
	if err != nil {
		return err
	}
	defer sealed.Close()
	b.env.Note("reading manifest %d of tape %s", m.Seq, s.Barcode)
	err = b.rows.StartManifest(ctx, catalog.Manifest{Tape: t.ID, Seq: m.Seq, Name: m.Name, MAC: m.MAC, Previous: m.Previous, After: m.After, Upto: m.Upto, Written: m.Written})
	if err != nil {
		return err
	}
	if err := b.rows.Salt(ctx, m.Key, "manifest", m.Salt); err != nil {
		return err
	}
	take := &manifestTaker{b: b, barcode: s.Barcode, name: m.Name, skip: map[string]bool{}}
	head, err := manifest.Read(m.Name, sealed, proof, key, func(record any) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return take.record(ctx, record)
	})
	if err == nil {
		err = take.end(ctx)
	}
	if n := take.refused - refusalsMax; n > 0 {
		b.refuse(s.Barcode, m.Name, fmt.Errorf("%d further records of it cannot be taken over", n))
	}
	if errors.Is(err, manifest.ErrUnproved) { // what came before it was taken, and a newer tapefs may read the rest
		b.refuse(s.Barcode, m.Name, err)
		return b.rows.Flush()
	}
	if err != nil {
		return fmt.Errorf("take over %s of tape %s: %w", m.Name, s.Barcode, err)
	}
	b.rows.Given(head.LastID, head.Upto)
	job.Failpoint("rebuild-manifest")
	return b.rows.EndManifest(ctx)
}

// applyTape holds what manifests say of a tape against the files on it, and records that it was read.
func (b *rebuilder) applyTape(ctx context.Context, s *survey, t catalog.Tape) error {
	for _, snap := range s.Snapshots {
		if err := b.rows.Snapshot(ctx, t.ID, snap.Name, snap.Size, snap.MAC, snap.Written); err != nil {
			return err
		}
		if err := b.rows.Salt(ctx, snap.Key, "snapshot", snap.Salt); err != nil {
			return err
		}
	}
	for _, l := range s.Links {
		if l.Salt == nil {
			continue
		}
		if err := b.rows.Salt(ctx, manifest.LinksNames().FindStringSubmatch(l.Name)[1], "links", l.Salt); err != nil {
			return err
		}
	}
	if err := b.rows.Flush(); err != nil {
		return err
	}
	proved, err := b.holdAgainst(ctx, s, t)
	if err != nil {
		return err
	}
	var leftover int64
	for _, f := range s.Files {
		if proved[f.Name] {
			continue
		}
		leftover += f.Size
		if f.Salt == nil {
			continue
		}
		key := volume.ObjectNames().FindStringSubmatch(f.Name)[1]
		if _, err := b.env.Keys.Key(key); err != nil {
			continue // nothing is ever sealed under a key that is not ours
		}
		if err := b.rows.Salt(ctx, key, "object", f.Salt); err != nil {
			return err
		}
	}
	b.report.Tapes = append(b.report.Tapes, Tape{Barcode: s.Barcode, Pool: s.Label.Pool, Number: s.Label.Number, Manifests: len(s.Manifests),
		Gaps: s.Gaps, Files: len(s.Files)})
	return b.rows.ReadTape(ctx, t.ID, s.Generation, s.Capacity, s.Free, leftover, s.Seen)
}

// holdAgainst compares the parts that are said to lie on a tape with the files there, and records what became of those that
// differ. It returns the names of the files that are what they should be.
func (b *rebuilder) holdAgainst(ctx context.Context, s *survey, t catalog.Tape) (proved map[string]bool, err error) {
	type mark struct {
		catalog.CopyPart
		state catalog.PartState
		why   string
	}
	var marks []mark
	proved = map[string]bool{}
	err = b.env.DB.TapeFiles(ctx, t.ID, func(p catalog.CopyPart) error {
		if p.State != catalog.PartDurable && (p.State != catalog.PartWritten || b.stays) {
			return nil // what is written and not safe is for the next run to prove
		}
		f, found := s.file(p.Name)
		why, err := b.wrongFile(ctx, p, f, found)
		switch {
		case err != nil:
			return err
		case why == "":
			proved[p.Name] = true
		case !found:
			marks = append(marks, mark{p, catalog.PartLost, why})
		default:
			marks = append(marks, mark{p, catalog.PartDamaged, why})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, m := range marks {
		if proved[m.Name] { // of two tries of one name the other one is what lies there
			m.state = catalog.PartLost
		} else {
			b.refuse(s.Barcode, m.Name, errors.New(m.why))
		}
		if err := b.rows.MarkPart(ctx, m.ID, m.state); err != nil {
			return nil, err
		}
	}
	return proved, b.rows.Flush()
}

// file finds a file of the tape by name.
func (s *survey) file(name string) (tapeFile, bool) {
	i, ok := slices.BinarySearchFunc(s.Files, name, func(f tapeFile, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return tapeFile{Start: -1}, false
	}
	return s.Files[i], true
}

// wrongFile tells what is wrong with the file that a proved manifest names; "" nothing.
func (b *rebuilder) wrongFile(ctx context.Context, p catalog.CopyPart, f tapeFile, found bool) (string, error) {
	switch {
	case !found:
		return "a proved manifest names it, and it is not there", nil
	case f.Size != p.Size:
		return fmt.Sprintf("it has %d bytes, and a proved manifest says %d", f.Size, p.Size), nil
	case f.Start >= 0 && p.StartBlock >= 0 && f.Start != p.StartBlock:
		return fmt.Sprintf("it lies at block %d, and a proved manifest says %d: another file has its name", f.Start, p.StartBlock), nil
	case f.Bare:
		return "it does not begin as a sealed object does", nil
	case f.Salt != nil:
		salt, err := b.env.DB.PartSalt(ctx, p.ID)
		if err != nil {
			return "", err
		}
		if salt != nil && !bytes.Equal(salt, f.Salt) {
			return "it begins with another salt than a proved manifest says: another file has its name", nil
		}
	}
	return "", nil
}
