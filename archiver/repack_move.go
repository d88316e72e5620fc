package archiver

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
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

	"tapefs/catalog"
	"tapefs/changer"
)

// moving is a part on its way from a tape that is repacked.
type moving struct {
	healPart
	life catalog.ObjectLife
	how  int
}

// move brings parts of one tape into the spool, and from there onto other tapes. With one drive that is one after the
// other.
func (r *repacker) move(ctx context.Context, t catalog.Tape, load []moving, stuck map[int64]bool, sum *RepackedTape) (err error) {
	w := r.w
	if err := w.closeTape(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(r.a.cfg.SpoolDir, 0o700); err != nil {
		return fmt.Errorf("make the spool: %w", err)
	}
	dir, err := os.MkdirTemp(r.a.cfg.SpoolDir, healPrefix)
	if err != nil {
		return fmt.Errorf("make room in the spool: %w", err)
	}
	defer removeAll(dir, &err)
	got, err := r.read(ctx, t, load, stuck, dir, sum)
	if err != nil {
		return err
	}
	for _, m := range got {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := w.openTape(ctx, t.PoolName, m.Size)
		if err == nil {
			err = w.writeHealed(ctx, m.healPart)
		}
		failpoint("repack-copied")
		switch {
		case err == nil:
			sum.Copied++
			sum.Parts++
			sum.Bytes += m.Size
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrNeedsOperator):
			return nil // the pool is blocked now
		case errors.Is(err, errTooSmall), errors.Is(err, errReseal):
			stuck[m.Copy] = true
			r.noted.add(w.sources[m.Source].Name, "", fmt.Errorf("object %s stays on tape %s: %w", m.OID, t.Barcode, err))
		default:
			return err
		}
		if err := os.Remove(m.file); err != nil {
			return fmt.Errorf("leave the spool: %w", err)
		}
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	// What was packed anew is in the spool like anything that was fetched.
	if err := w.pass(ctx, true); err != nil {
		return err
	}
	return w.release(ctx)
}

// read reads parts from the tape, each extent held against its sum. Those that are to be packed anew are opened into
// batches of the spool; the others are returned.
func (r *repacker) read(ctx context.Context, t catalog.Tape, load []moving, stuck map[int64]bool, dir string, sum *RepackedTape) (got []moving, err error) {
	w := r.w
	defer func() { err = errors.Join(err, w.giveUp(ctx)) }()
	v, err := w.mountToRead(ctx, t)
	if err != nil {
		if errors.Is(err, changer.ErrNotInLibrary) {
			err = fmt.Errorf("%w: %w", ErrNeedsOperator, err)
		}
		return nil, err
	}
	for i, m := range load {
		if i > 0 && w.lease.Wanted() {
			w.a.note("another process wants the drive of %s", t.Barcode)
			return got, nil
		}
		w.a.activity.set(fmt.Sprintf("reading part %d of %d of object %s (%d bytes) from %s", m.Number+1, m.Parts, m.OID, m.Size, t.Barcode))
		m.file = filepath.Join(dir, fmt.Sprint(i))
		if m.sums, err = r.a.partSums(ctx, m.Object, m.Number); err != nil {
			return got, err
		}
		err := fetchPart(ctx, v, m.healPart)
		if err == nil && m.how == packIt {
			if err = r.open(ctx, &m, dir); err == nil {
				sum.Packed++
				sum.Parts++
				sum.Bytes += m.Size
				continue
			}
		}
		switch {
		case err == nil:
			got = append(got, m)
		case ctx.Err() != nil:
			return got, ctx.Err()
		case isDamage(err):
			stuck[m.Copy] = true
			if err := r.a.markDamaged(ctx, m.from, err); err != nil {
				return got, err
			}
			r.noted.add(w.sources[m.Source].Name, "", fmt.Errorf("copy of object %s on tape %s is damaged (archive --heal makes it from another copy): %w", m.OID, t.Barcode, err))
		default:
			return got, err
		}
	}
	return got, nil
}

// open unpacks what lives of an object into a batch of the spool and plans the object that takes its place.
func (r *repacker) open(ctx context.Context, m *moving, dir string) error {
	a := r.a
	source := r.w.sources[m.Source].Name
	oid, err := followingOID(m.OID)
	if err != nil {
		return err
	}
	files, members, err := a.livingFiles(ctx, &m.life, source)
	if err != nil {
		return err
	}
	disk, err := openDisk(a.cfg.SpoolDir)
	if err != nil {
		return err
	}
	defer disk.close()
	temp := filepath.Join(dir, "open")
	if err := os.Mkdir(temp, 0o700); err != nil {
		return fmt.Errorf("open object %s: %w", m.OID, err)
	}
	bytes, err := a.unpackInto(ctx, m, files, temp)
	if err != nil {
		return errors.Join(fmt.Errorf("open object %s: %w", m.OID, err), os.RemoveAll(temp))
	}
	if err := os.Remove(m.file); err != nil {
		return fmt.Errorf("open object %s: %w", m.OID, err)
	}
	name := source + "-" + oid
	if err := os.Rename(temp, filepath.Join(a.cfg.SpoolDir, name)); err != nil {
		return fmt.Errorf("open object %s: %w", m.OID, err)
	}
	if err := disk.sync(); err != nil {
		return fmt.Errorf("open object %s: %w", m.OID, err)
	}
	failpoint("repack-opened")
	_, key, err := a.sealKey(ctx)
	if err != nil {
		return err
	}
	part, err := a.partSize(ctx, []string{r.poolOf(m)})
	if err != nil {
		return err
	}
	return a.db.AddRepacked(ctx, catalog.Repacked{Run: r.run.ID, Replaces: m.Object, OID: oid, Key: key.ID, PartSize: max(part, m.life.PartSize),
		Size: m.life.SealedSize + objectOverhead, Members: members, Dir: name, Bytes: bytes})
}

func (r *repacker) poolOf(m *moving) string {
	t, err := r.a.db.TapeByBarcode(context.Background(), m.from.Barcode)
	if err != nil {
		return ""
	}
	return t.PoolName
}

// followingOID is an id with the time of another that comes after it in the order of names.
func followingOID(oid string) (string, error) {
	var low, draw [10]byte
	if n, err := hex.Decode(low[:], []byte(oid[12:])); err != nil || n != len(low) {
		return "", fmt.Errorf("object id %q", oid)
	}
	for range 1000 {
		if _, err := rand.Read(draw[:]); err != nil {
			return "", fmt.Errorf("draw an object id: %w", err)
		}
		if bytes.Compare(draw[:], low[:]) > 0 {
			return oid[:12] + hex.EncodeToString(draw[:]), nil
		}
	}
	return "", fmt.Errorf("no object id is left after %s", oid)
}

// livingFiles names the files whose bytes are needed, by their names in the tar stream, and lists all members that stay.
func (a *Archiver) livingFiles(ctx context.Context, life *catalog.ObjectLife, source string) (map[string]*catalog.Version, []catalog.ID, error) {
	files := map[string]*catalog.Version{}
	var members []catalog.ID
	first := map[catalog.ID]bool{} // of hard-linked names the first has the bytes
	for i := range life.Versions {
		v := &life.Versions[i]
		if !life.Live[v.ID] {
			continue
		}
		members = append(members, v.ID)
		if v.Kind != catalog.File || v.State == catalog.Void || first[inodeOf(v)] {
			continue
		}
		first[inodeOf(v)] = true
		p, err := a.db.Path(ctx, v.ID)
		if err != nil {
			return nil, nil, err
		}
		name := strings.TrimPrefix(p, "/")
		if !strings.HasPrefix(name, source+"/") {
			return nil, nil, fmt.Errorf("version %d at %q is not of source %s", v.ID, p, source)
		}
		files[name] = v
	}
	return files, members, nil
}

// unpackInto opens a sealed object that lies in the spool and writes the wanted files, with their times, below a folder.
// Each must have its recorded sum.
func (a *Archiver) unpackInto(ctx context.Context, m *moving, files map[string]*catalog.Version, to string) (total int64, err error) {
	key, err := a.keys.Key(m.Fingerprint)
	if err != nil {
		return 0, err
	}
	sealed, err := os.Open(m.file)
	if err != nil {
		return 0, err
	}
	defer sealed.Close()
	plain, err := key.NewReader(sealed)
	if err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	top, err := root.Open(".")
	if err != nil {
		return 0, err
	}
	defer top.Close()
	left := len(files)
	for t := tar.NewReader(plain); left > 0; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		h, err := t.Next()
		if err != nil {
			return 0, &damageError{what: fmt.Sprintf("%d of its files are not in it: %v", left, err), size: m.Size}
		}
		v := files[h.Name]
		if v == nil || h.Typeflag != tar.TypeReg {
			continue
		}
		left--
		name := h.Name[strings.IndexByte(h.Name, '/')+1:]
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return 0, err
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return 0, err
		}
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(f, sum), t)
		if err := errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
		if n != v.Size || len(v.SHA256) > 0 && !bytes.Equal(sum.Sum(nil), v.SHA256) {
			return 0, &damageError{what: fmt.Sprintf("%q in it is not what was archived", h.Name), size: m.Size}
		}
		if err := setTime(top, name, v.MTime); err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// prove reads back what replaces something, through fresh mounts, and lets go of what it replaces.
func (r *repacker) prove(ctx context.Context) error {
	if err := r.w.closeTape(ctx); err != nil {
		return err
	}
	if err := r.w.stopAll(); err != nil {
		return err
	}
	parts, err := r.a.db.UnprovedMoves(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(parts, func(x, y catalog.VerifyPart) int {
		return cmp.Or(cmp.Compare(x.Barcode, y.Barcode), cmp.Compare(x.StartBlock, y.StartBlock), cmp.Compare(x.ID, y.ID))
	})
	v := &verifier{a: r.a, run: r.run, noted: r.noted, away: map[string]error{}}
	for _, p := range parts {
		if err = ctx.Err(); err != nil {
			break
		}
		if _, err = v.readPart(ctx, p, nil); err != nil {
			break
		}
	}
	if err := errors.Join(err, v.leave(ctx)); err != nil {
		return err
	}
	if err := v.want(ctx); err != nil {
		return err
	}
	failpoint("repack-proved")
	_, err = r.a.db.FinishMoves(ctx)
	return err
}
