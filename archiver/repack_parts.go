package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// An object of several parts is packed anew when all its parts can be read, on whatever tapes, and the spool takes its files.
// It is opened as it is read: its sealed bytes are nowhere but on tape.

// allParts lists the parts of an object that is to be packed anew, in order; nil when that cannot be, and why is logged: then
// it is moved as it is, with the key that it has.
func (a *Archiver) allParts(ctx context.Context, life *catalog.ObjectLife, p catalog.RepackPart) ([]catalog.CopyPart, error) {
	keep := func(why string, more ...any) ([]catalog.CopyPart, error) {
		a.env.Log.Info("an object of several parts is moved as it is", append([]any{"object", life.OID, "why", why}, more...)...)
		return nil, nil
	}
	found, err := a.env.DB.CopyParts(ctx, p.Copy)
	if err != nil {
		return nil, err
	}
	here := map[string]bool{p.Barcode: true}
	if slices.ContainsFunc(found, func(f catalog.CopyPart) bool { return f.Barcode != p.Barcode }) {
		inv, err := a.env.Lib.Inventory(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range inv.Barcodes() {
			here[string(b)] = true
		}
	}
	all := make([]catalog.CopyPart, (life.SealedSize+life.PartSize-1)/life.PartSize)
	for _, f := range found {
		// Of two of one number that on this tape: it is mounted anyway.
		if f.State == catalog.PartDurable && f.Number < len(all) && here[f.Barcode] && (all[f.Number].ID == 0 || f.Tape == p.Tape) {
			all[f.Number] = f
		}
	}
	for i := range all {
		if all[i].ID == 0 {
			return keep("not all its parts can be read", "missing", i+1)
		}
	}
	room, err := a.spoolRoom(ctx)
	if err != nil {
		return nil, err
	}
	if life.SealedSize > room {
		return keep("the spool does not take it", "bytes", life.SealedSize, "room", room)
	}
	return all, nil
}

// spoolRoom is how many bytes more the spool takes.
func (a *Archiver) spoolRoom(ctx context.Context) (int64, error) {
	limit, err := a.spool.Max(ctx)
	if err != nil {
		return 0, err
	}
	used, err := a.spool.Use(ctx)
	if err != nil {
		return 0, err
	}
	room := limit - used
	var st unix.Statfs_t
	if unix.Statfs(a.env.Config.SpoolDir, &st) == nil {
		room = min(room, int64(st.Bavail)*st.Bsize)
	}
	return room, nil
}

// readError is what went wrong where a stream comes from, as whoever reads the stream sees it.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// openParts reads the parts of an object one after the other, each extent held against its sum, and opens them into a batch of
// the spool.
func (r *repacker) openParts(ctx context.Context, m *moving, stuck map[int64]bool, dir string, sum *RepackedTape) (err error) {
	w := r.w
	defer func() { err = errors.Join(err, w.session.giveUp(ctx)) }()
	out, in := io.Pipe()
	ended := make(chan struct{})
	var at catalog.CopyPart // that is being read; the reader's until ended
	go func() {
		defer close(ended)
		err := r.readAll(ctx, m, &at, in)
		if err != nil {
			err = &readError{err}
		}
		in.CloseWithError(err) // nil: the end
	}()
	err = r.open(ctx, m, out, dir)
	out.CloseWithError(errOpened)
	<-ended
	switch {
	case err == nil:
		sum.Packed++
		for _, p := range m.all {
			if p.Barcode == m.from.Barcode {
				sum.Parts++
				sum.Bytes += p.Size
			}
		}
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case volume.IsDamage(err):
		stuck[m.Copy] = true
		if err := volume.MarkDamaged(ctx, r.a.env, at, err); err != nil {
			return err
		}
		r.noted.Add(w.sources[m.Source].Name, "", fmt.Errorf("copy of object %s on tape %s is damaged (archive --heal makes it from another copy): %w", m.OID, at.Barcode, err))
		return nil
	case errors.Is(err, changer.ErrNotInLibrary):
		return fmt.Errorf("%w: %w", ErrNeedsOperator, err)
	}
	return err
}

// errOpened: whoever opens the object has all that is wanted of it.
var errOpened = errors.New("all that is wanted was read")

// readAll reads parts one after the other, each from its tape. Between parts a drive that is wanted is given up and waited
// for. at is the part in hand.
func (r *repacker) readAll(ctx context.Context, m *moving, at *catalog.CopyPart, out io.Writer) error {
	w := r.w
	var v *changer.Volume
	mounted := int64(0)
	for _, p := range m.all {
		*at = p
		if mounted != 0 && w.session.lease.Due(w.a.env.Config.WriterSlice) {
			w.a.env.Note("another process wants the drive of the tape that is repacked")
			if err := w.session.giveUp(ctx); err != nil {
				return err
			}
			mounted = 0
		}
		if mounted != p.Tape {
			t, err := r.a.env.DB.TapeByBarcode(ctx, p.Barcode)
			if err != nil {
				return err
			}
			if v, err = w.session.mountToRead(ctx, t); err != nil {
				return err
			}
			mounted = p.Tape
		}
		w.a.env.Activity.Set(fmt.Sprintf("reading part %d of %d of object %s (%d bytes) from %s", p.Number+1, m.Parts, m.OID, p.Size, p.Barcode))
		sums, err := volume.PartSums(ctx, r.a.env, m.Object, p.Number)
		if err != nil {
			return err
		}
		if err := volume.ReadPart(ctx, v, p, sums, out); err != nil {
			return err
		}
	}
	return nil
}
