package restore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// Look says what Run would read from which tapes, and about how long that takes. It makes nothing, writes nothing and moves no tape.
// A file that the target has with the right size and time counts as being there: Run reads it and compares its sum.
func Look(ctx context.Context, env *job.Env, paths []string, o Options) (out job.Outlook, err error) {
	r := newRestoration(env, o)
	if r.args, err = r.arguments(ctx, paths); err != nil {
		return out, err
	}
	if r.root, err = os.OpenRoot(o.To); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, fmt.Errorf("open the target: %w", err)
	}
	if r.root != nil {
		defer r.root.Close()
	}
	if env.Lib != nil {
		if r.inv, err = env.Lib.Inventory(ctx); err != nil {
			return out, fmt.Errorf("look for the tapes: %w", err)
		}
	}
	defer r.closeLists()
	if err := r.eachVersion(ctx, func(ctx context.Context, arg int, dest string, v *catalog.Version) error {
		return r.foresee(ctx, arg, dest, v, &out)
	}); err != nil {
		return out, err
	}
	out.Lost = r.sum.Failed
	for _, a := range r.args {
		if a.some != nil {
			out.Unknown = append(out.Unknown, a.some.unmet()...)
		}
	}
	for _, t := range r.tapes {
		if t.barcode == "" {
			out.Spooled += t.pieces
			continue
		}
		jumps, err := t.jumps()
		if err != nil {
			return out, err
		}
		out.Tapes = append(out.Tapes, job.TapeOutlook{Barcode: t.barcode, Place: job.PlaceOf(r.inv, t.barcode), Files: t.pieces, Bytes: t.bytes, Jumps: jumps})
	}
	for _, m := range r.missing {
		out.Tapes = append(out.Tapes, job.TapeOutlook{Barcode: m.Barcode, Place: job.PlaceOutside, Files: m.Files, Bytes: m.Bytes, Jumps: 1})
	}
	out.SortTapes()
	return out, env.Reckon(ctx, &out, r.inv)
}

// foresee counts what prepare would do with an entry.
func (r *restoration) foresee(ctx context.Context, arg int, dest string, v *catalog.Version, out *job.Outlook) error {
	if v.Kind != catalog.File {
		return nil
	}
	out.Files++
	if v.Nlink > 1 {
		if p := r.primaries[v.Inode]; p != nil && p.dest != dest {
			return nil // linked at the end
		}
		r.primaries[v.Inode] = &primary{id: v.ID, dest: dest}
	}
	if r.looksPresent(dest, v) {
		out.Present++
		return nil
	}
	if v.Size == 0 {
		return nil
	}
	return r.planFile(ctx, arg, dest, v)
}

// looksPresent reports whether the target has a file with a version's size and time.
func (r *restoration) looksPresent(dest string, v *catalog.Version) bool {
	if r.root == nil {
		return false
	}
	info, err := r.root.Lstat(dest)
	if err != nil || !info.Mode().IsRegular() || info.Size() != v.Size {
		return false
	}
	t := info.ModTime()
	return t.Unix() == v.MTime.Sec && t.Nanosecond() == int(v.MTime.Nsec)
}

// smallGap is what a drive reads over rather than to stop and run: bytes.
const smallGap = 64 << 20

// jumps counts the places of a tape between which there is more than a small gap.
func (t *tapeList) jumps() (n int64, err error) {
	if err := t.list.Sort(); err != nil {
		return 0, err
	}
	var part, end int64
	for {
		key, val, ok, err := t.list.Next()
		if err != nil || !ok {
			return n, err
		}
		p, err := decodePiece(val)
		if err != nil {
			return n, err
		}
		at, of := int64(binary.BigEndian.Uint64(key[16:])), int64(binary.BigEndian.Uint64(key[8:]))
		if n == 0 || of != part || at > end+smallGap {
			n++
		}
		part, end = of, at+p.size
	}
}

func (r *restoration) closeLists() {
	for _, t := range r.tapes {
		t.list.Close()
	}
}
