package archiver

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/spool"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/fs/recall/blocksums"
)

// openFile opens an object of one part that lies in the spool, and removes that.
func (r *repacker) openFile(ctx context.Context, m *moving, dir string) error {
	sealed, err := os.Open(m.file)
	if err != nil {
		return fmt.Errorf("open object %s: %w", m.OID, err)
	}
	defer sealed.Close()
	if err := r.open(ctx, m, spoolReader{sealed}, dir); err != nil {
		return err
	}
	if err := os.Remove(m.file); err != nil {
		return fmt.Errorf("open object %s: %w", m.OID, err)
	}
	return nil
}

// spoolReader marks errors of the spool's disk, so that they are not taken for the tape's.
type spoolReader struct{ r io.Reader }

func (s spoolReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &readError{err}
	}
	return n, err
}

// open unpacks what lives of an object into a batch of the spool and plans the object that takes its place.
func (r *repacker) open(ctx context.Context, m *moving, sealed io.Reader, dir string) error {
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
	disk, err := localfs.OpenSyncer(a.env.Config.SpoolDir)
	if err != nil {
		return err
	}
	defer disk.Close()
	name := source + "-" + oid
	temp := filepath.Join(dir, "open")
	if err := os.Mkdir(temp, 0o700); err != nil {
		return fmt.Errorf("open object %s: %w", m.OID, err)
	}
	bytes, err := a.unpackInto(ctx, m, sealed, files, temp, name)
	if err != nil {
		return errors.Join(fmt.Errorf("open object %s: %w", m.OID, err), os.RemoveAll(temp), os.RemoveAll(filepath.Join(a.env.Config.SpoolDir, name+spool.FetchSuffix)))
	}
	if err := os.Rename(temp, filepath.Join(a.env.Config.SpoolDir, name)); err != nil {
		return fmt.Errorf("open object %s: %w", m.OID, err)
	}
	if err := disk.Sync(); err != nil {
		return fmt.Errorf("open object %s: %w", m.OID, err)
	}
	job.Failpoint("repack-opened")
	_, key, err := a.env.SealKey(ctx)
	if err != nil {
		return err
	}
	part, err := a.partSize(ctx, []string{r.poolOf(m)})
	if err != nil {
		return err
	}
	return a.env.DB.AddRepacked(ctx, catalog.Repacked{Run: r.run.ID, Replaces: m.Object, OID: oid, Key: key.ID, PartSize: max(part, m.life.PartSize),
		Size: m.life.SealedSize + objectOverhead, Members: members, Dir: name, Bytes: bytes})
}

func (r *repacker) poolOf(m *moving) string {
	t, err := r.a.env.DB.TapeByBarcode(context.Background(), m.from.Barcode)
	if err != nil {
		return ""
	}
	return t.PoolName
}

// oidStep bounds how far an id lies behind the one that it follows: an object may be repacked again and again, and the
// ids of one millisecond are 2^80.
var oidStep = new(big.Int).Lsh(big.NewInt(1), 48)

// followingOID is an id with the time of another that comes after it in the order of names.
func followingOID(oid string) (string, error) {
	if len(oid) != 32 {
		return "", fmt.Errorf("object id %q", oid)
	}
	low, ok := new(big.Int).SetString(oid[12:], 16)
	if !ok {
		return "", fmt.Errorf("object id %q", oid)
	}
	last := new(big.Int).Lsh(big.NewInt(1), 80)
	left := new(big.Int).Sub(last, low)
	left.Sub(left, big.NewInt(1))
	if left.Cmp(oidStep) > 0 {
		left = oidStep
	}
	if left.Sign() == 0 {
		return "", fmt.Errorf("no object id is left after %s", oid)
	}
	draw, err := rand.Int(rand.Reader, left)
	if err != nil {
		return "", fmt.Errorf("draw an object id: %w", err)
	}
	draw.Add(draw, low)
	return fmt.Sprintf("%s%020x", oid[:12], draw.Add(draw, big.NewInt(1))), nil
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
		if v.Kind != catalog.File || v.State == catalog.Void || first[pack.InodeOf(v)] {
			continue
		}
		first[pack.InodeOf(v)] = true
		p, err := a.env.DB.Path(ctx, v.ID)
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

// unpackInto opens a sealed object and writes the wanted files, with their times, below a folder.
// Each must have its recorded sum. batch is the name that the folder will have in the spool.
func (a *Archiver) unpackInto(ctx context.Context, m *moving, sealed io.Reader, files map[string]*catalog.Version, to, batch string) (total int64, err error) {
	key, err := a.env.Keys.Key(m.Fingerprint)
	if err != nil {
		return 0, err
	}
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
		if cause := (*readError)(nil); errors.As(err, &cause) {
			return 0, cause.err
		}
		if err != nil && !errors.Is(err, tar.ErrHeader) && !changer.FaultOf(err).OfFile() {
			return 0, err // of the spool's disk, or of this machine
		}
		if err != nil {
			return 0, &volume.DamageError{What: fmt.Sprintf("%d of its files are not in it: %v", left, err), Size: m.Size}
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
		err = a.unpackFile(t, f, m, v, a.spool.SumsName(batch, v.ID))
		if err := errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
		if err := localfs.SetTime(top, name, v.MTime); err != nil {
			return 0, err
		}
		total += v.Size
	}
	return total, nil
}

// unpackFile writes a member of an object into a file of the spool, and keeps the sums of its blocks if it is large.
func (a *Archiver) unpackFile(from io.Reader, f *os.File, m *moving, v *catalog.Version, sumsName string) error {
	sum := sha256.New()
	out := &localfs.SparseWriter{F: f}
	to := io.MultiWriter(out, sum)
	var sums *blocksums.Writer
	if v.Size >= blocksums.Least {
		var err error
		if sums, err = blocksums.Create(sumsName); err != nil {
			return err
		}
		to = io.MultiWriter(out, sum, sums)
	}
	n, err := io.Copy(to, from)
	if err == nil {
		err = out.Finish()
	}
	if cause := (*readError)(nil); errors.As(err, &cause) {
		err = cause.err
	}
	if err == nil && (n != v.Size || len(v.SHA256) > 0 && !bytes.Equal(sum.Sum(nil), v.SHA256)) {
		err = &volume.DamageError{What: fmt.Sprintf("%q in it is not what was archived", v.Name), Size: m.Size}
	}
	switch {
	case sums == nil:
	case err != nil:
		sums.Drop()
	default:
		err = sums.Commit(sum.Sum(nil))
	}
	return err
}
