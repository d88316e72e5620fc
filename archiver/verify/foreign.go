package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/fs/recall"
)

// surveyPart reads a file of an imported archive whole for the first time: all that proves it is an MD5. What it learns is recorded.
func (v *verifier) surveyPart(ctx context.Context, p catalog.VerifyPart) (bool, error) {
	md5, err := v.env.DB.ForeignMD5(ctx, p.Object)
	if err != nil {
		return false, err
	}
	tape, err := v.env.DB.TapeByBarcode(ctx, p.Barcode)
	if err != nil {
		return false, err
	}
	sums, err := surveyFile(ctx, v.volume, p.CopyPart, md5, tape.UUID != "")
	switch {
	case err == nil:
		v.sum.Parts++
		v.sum.Bytes += p.Size
		return true, v.env.DB.RecordSurvey(ctx, catalog.Surveyed{Object: p.Object, CopyPart: p.ID, Part: sums, Tape: p.Barcode, UUID: v.volume.UUID, At: time.Now()})
	case ctx.Err() != nil:
		return false, ctx.Err()
	case volume.IsDamage(err):
		v.found(p, p.Name, err)
		return false, volume.MarkDamaged(ctx, v.env, p.CopyPart, err)
	}
	v.away[p.Barcode] = err
	return false, v.leave(ctx)
}

// surveyFile returns the sums of a file. Where nothing but the label says that this is the tape (proved is false), a file that is not
// there is no damage.
func surveyFile(ctx context.Context, v *changer.Volume, p catalog.CopyPart, md5 []byte, proved bool) (catalog.Part, error) {
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return catalog.Part{}, fmt.Errorf("open the volume of tape %s: %w", p.Barcode, err)
	}
	defer root.Close()
	f, err := volume.OpenOnTape(ctx, root, p.Name)
	if err != nil {
		if !proved && errors.Is(err, fs.ErrNotExist) {
			return catalog.Part{}, fmt.Errorf("read tape %s: %w: it may be another tape with this label", p.Barcode, err)
		}
		if d := volume.Damaged(v, err.Error(), 0, err); d != nil {
			return catalog.Part{}, d
		}
		return catalog.Part{}, fmt.Errorf("read tape %s: %w", p.Barcode, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return catalog.Part{}, fmt.Errorf("read tape %s: %w", p.Barcode, err)
	}
	if info.Size() != p.Size {
		return catalog.Part{}, &volume.DamageError{What: fmt.Sprintf("%s has %d bytes, not %d", p.Name, info.Size(), p.Size), Size: info.Size()}
	}
	sums, err := recall.SumForeign(ctx, f, p.Size, md5, func(int64, []byte) error { return nil })
	if err != nil && ctx.Err() == nil {
		if d := volume.Damaged(v, fmt.Sprintf("%s: %v", p.Name, err), p.Size, err); d != nil {
			return sums, d
		}
	}
	return sums, err
}
