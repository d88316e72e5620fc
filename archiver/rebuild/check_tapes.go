package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// TapeCheck is what a tape holds against what the catalog says of it. Nothing is read but names and sizes, and its manifests.
type TapeCheck struct {
	Barcode   string    `json:"barcode"`
	Files     int       `json:"files"` // sealed objects and parts on it
	Wrong     []Refusal `json:"wrong"`
	Leftover  []Refusal `json:"leftover"` // files that the catalog does not know there
	LeftBytes int64     `json:"leftover_bytes"`
	Absent    string    `json:"absent,omitempty"`    // why it could not be looked at; "": it was
	Hint      string    `json:"hint,omitempty"`      // what to do about that
	Unlabeled bool      `json:"unlabeled,omitempty"` // nothing is on it, not even its label: the next run that writes to it begins with that
}

// CheckTapes mounts tapes read-only, one after the other, and compares. None named: all that the catalog knows and
// the library holds. ErrRefused when something is missing or differs, ErrNeedsOperator when tapes are not there.
func CheckTapes(ctx context.Context, env *job.Env, barcodes []string) ([]TapeCheck, error) {
	tapes, err := env.DB.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	if err := env.Lib.Recover(ctx); err != nil {
		return nil, fmt.Errorf("recover the library: %w", err)
	}
	wanted := map[string]bool{}
	for _, b := range barcodes {
		if _, err := env.DB.TapeByBarcode(ctx, b); err != nil {
			return nil, err
		}
		wanted[b] = true
	}
	var out []TapeCheck
	wrong, absent, unread := 0, 0, 0
	for _, t := range tapes {
		if t.UUID == "" || len(wanted) > 0 && !wanted[t.Barcode] {
			continue
		}
		c := TapeCheck{Barcode: t.Barcode}
		err := onTape(ctx, env, volume.BarcodeOf(t), "check", t.UUID, func(v *changer.Volume) error {
			if t.State == catalog.TapeForeign {
				return compareForeign(ctx, env, v, t, &c)
			}
			err := volume.CheckLabel(env, v, t)
			if errors.Is(err, volume.ErrLabelMissing) && t.Used == 0 { // its format was interrupted, and the writer takes it as it is
				c.Unlabeled = true
				return nil
			}
			if err != nil && !volume.LabelLost(v, err) {
				return err
			}
			return cmp.Or(compareTape(ctx, env, v, t, &c), err)
		})
		switch {
		case ctx.Err() != nil:
			return out, ctx.Err()
		case errors.Is(err, changer.ErrNotInLibrary), errors.Is(err, changer.ErrNoMedium):
			c.Absent = err.Error()
			absent++
		case saysNothingOfTape(err):
			c.Absent, c.Hint = err.Error(), refusalOf(t.Barcode, "", err).Hint
			unread++
		case err != nil:
			c.Wrong = append(c.Wrong, refusalOf(t.Barcode, "", err))
		}
		wrong += len(c.Wrong)
		out = append(out, c)
	}
	switch {
	case wrong > 0:
		return out, fmt.Errorf("%w: %d", manifest.ErrRefused, wrong)
	case unread > 0:
		return out, fmt.Errorf("%d tapes could not be looked at, which says nothing of what they hold", unread)
	case absent > 0:
		return out, fmt.Errorf("%w: %d tapes are not in the library", job.ErrNeedsOperator, absent)
	}
	return out, nil
}

// saysNothingOfTape reports whether a tape could not be looked at for a reason that lies with this machine, the drive, the library or
// the moment. A volume that wants ltfsck is neither right nor wrong before that was run.
func saysNothingOfTape(err error) bool {
	if changer.FaultOf(err).Passing() {
		return true
	}
	return slices.ContainsFunc([]error{errLtfsDied, changer.ErrNoDrive, changer.ErrBusy, changer.ErrStuck, changer.ErrLibraryOffline, changer.ErrUnknown,
		changer.ErrNeedsCheck, changer.ErrMixedDrives}, func(target error) bool { return errors.Is(err, target) })
}

// compareForeign looks for the files that the catalog knows on a tape of an imported archive; what else is there is not ours.
func compareForeign(ctx context.Context, env *job.Env, v *changer.Volume, t catalog.Tape, c *TapeCheck) error {
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return env.DB.TapeFiles(ctx, t.ID, func(p catalog.CopyPart) error {
		info, err := root.Lstat(p.Name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			c.Wrong = append(c.Wrong, Refusal{Barcode: t.Barcode, Name: p.Name, Why: "it is not there"})
		case err != nil:
			return err
		case info.Size() != p.Size:
			c.Wrong = append(c.Wrong, Refusal{Barcode: t.Barcode, Name: p.Name, Why: fmt.Sprintf("it has %d bytes, not %d", info.Size(), p.Size)})
		default:
			c.Files++
		}
		return nil
	})
}

// compareTape holds the files of a mounted tape against the catalog.
func compareTape(ctx context.Context, env *job.Env, v *changer.Volume, t catalog.Tape, c *TapeCheck) error {
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	files, err := sealedFiles(root, v)
	if err != nil {
		return err
	}
	s := &survey{Files: files}
	named, err := env.DB.DurableManifests(ctx)
	if err != nil {
		return err
	}
	known, lost, bad := map[string]bool{}, map[string]bool{}, map[int64]error{}
	wrong := func(name, why string) { c.Wrong = append(c.Wrong, Refusal{Barcode: t.Barcode, Name: name, Why: why}) }
	journal, err := env.DB.Manifests(ctx, t.ID)
	if err != nil {
		return err
	}
	for _, m := range journal {
		if m.State != catalog.ManifestDurable {
			continue
		}
		err := manifest.ProveFile(ctx, env, root, t, catalog.JournalFile{Manifest: m})
		switch {
		case err == nil || manifest.LacksKey(env, m.Name):
		case manifest.Lost(v, err):
			bad[m.ID], lost[m.Name], lost[manifest.MacName(m.Name)] = err, true, true
			wrong(m.Name, fmt.Sprintf("it is not the manifest that was written: %v; tapefs verify --tape %s records that, and the next tapefs archive writes another", err, t.Barcode))
		default:
			return err
		}
	}
	err = env.DB.TapeFiles(ctx, t.ID, func(p catalog.CopyPart) error {
		f, found := s.file(p.Name)
		known[p.Name] = known[p.Name] || found
		if p.State != catalog.PartDurable {
			return nil
		}
		switch {
		case !found:
			wrong(p.Name, "it is not there")
		case f.Size != p.Size:
			wrong(p.Name, fmt.Sprintf("it has %d bytes, not %d", f.Size, p.Size))
		case f.Start >= 0 && p.StartBlock >= 0 && f.Start != p.StartBlock:
			wrong(p.Name, fmt.Sprintf("it lies at block %d, not %d: another file has its name", f.Start, p.StartBlock))
		case bad[p.Manifest] != nil:
			wrong(p.Name, "the manifest that names it is lost: without the catalog it would be, too")
		case !named[p.Manifest]:
			wrong(p.Name, "no durable manifest names it: without the catalog it would be lost; the next tapefs archive writes one")
		}
		return nil
	})
	if err != nil {
		return err
	}
	journalled, err := env.DB.JournalFiles(ctx, t.ID)
	if err != nil {
		return err
	}
	for _, name := range journalled {
		for _, name := range []string{name, manifest.MacName(name)} {
			if _, found := s.file(name); !found && !lost[name] {
				wrong(name, "it is not there")
			}
			known[name] = true
		}
		if m := manifest.Names().FindStringSubmatch(path.Base(name)); m != nil {
			known[path.Dir(name)+"/links-"+m[2]+".tar.enc"] = true // not every manifest has one
		}
	}
	for _, f := range files {
		if volume.ObjectNames().MatchString(f.Name) {
			c.Files++
		}
		if known[f.Name] {
			continue
		}
		c.LeftBytes += f.Size
		why := "no row of the catalog has this name"
		if base := path.Base(f.Name); manifest.Names().MatchString(base) || strings.HasPrefix(base, "manifest-") || strings.HasPrefix(base, "catalog-") {
			why = "a manifest or snapshot that was not made durable, or that the catalog does not know"
		}
		c.Leftover = append(c.Leftover, Refusal{Barcode: t.Barcode, Name: f.Name, Why: why})
	}
	return nil
}
