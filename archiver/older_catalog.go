package archiver

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tapefs/archiver/volume"
	"tapefs/catalog"
	"tapefs/changer"
)

func olderError(barcode, format string, args ...any) error {
	return &changer.Error{Op: "write to tape " + barcode, Hint: volume.OlderHint, Err: fmt.Errorf("%w: %s", ErrOlder, fmt.Sprintf(format, args...))}
}

// numberedNames are the files that belong to a manifest, beside their list of sums.
var numberedNames = regexp.MustCompile(`^(?:manifest-[0-9a-fA-F-]{1,64}|links)-([0-9]{6,9})\.(?:tar\.enc|mac)$`)

// tapeJournal is what the names on a mounted tape tell of its manifests.
type tapeJournal struct {
	manifests []string // paths
	last      int      // greatest number that any of their files has
}

// listJournal looks for manifests on a mounted tape. It reads names alone.
func listJournal(root *os.Root) (j tapeJournal, err error) {
	number := func(text string) {
		if n, err := strconv.Atoi(text); err == nil {
			j.last = max(j.last, n)
		}
	}
	err = eachName(root, ".", func(name string) {
		if text, ok := strings.CutPrefix(name, "SHA256SUMS-"); ok && len(text) < 10 {
			number(text)
		}
	})
	if err != nil {
		return j, err
	}
	var folders []string
	if err := eachName(root, "tapefs", func(name string) { folders = append(folders, name) }); err != nil {
		return j, err
	}
	for _, folder := range folders {
		dir := "tapefs/" + folder
		err := eachName(root, dir, func(name string) {
			if m := numberedNames.FindStringSubmatch(name); m != nil {
				number(m[1])
			}
			if manifestNames.MatchString(name) {
				j.manifests = append(j.manifests, dir+"/"+name)
			}
		})
		if err != nil {
			return j, err
		}
	}
	return j, nil
}

// eachName calls fn for the names in a folder, if there is one.
func eachName(root *os.Root, dir string, fn func(string)) error {
	if info, err := root.Lstat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil
	}
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1000)
		for _, name := range names {
			fn(name)
		}
		if errors.Is(err, io.EOF) || err == nil && len(names) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// provedManifest is a manifest that was read back whole from its tape.
type provedManifest struct {
	catalog.Manifest
	salt []byte
}

// proveManifest reads a manifest back from a mounted tape. salt is that of its file also when it is not proved (nil: it has none).
// Errors about its content are ErrUnproved or fs.ErrNotExist.
func (a *Archiver) proveManifest(ctx context.Context, root *os.Root, t catalog.Tape, name string) (p provedManifest, err error) {
	key, err := a.env.Keys.Key(path.Base(path.Dir(name)))
	if err != nil {
		return p, err
	}
	sealed, err := root.Open(name)
	if err != nil {
		return p, err
	}
	defer sealed.Close()
	p.salt, err = volume.HeaderSalt(sealed)
	proof, perr := readProof(root, name)
	if err := cmp.Or(perr, badHeader(err)); err != nil { // without a proof it is half, whatever is wrong with it beside that
		return p, err
	}
	text, err := parseMAC(proof)
	if err != nil {
		return p, err
	}
	if text.Catalog != a.env.DB.UUID() || text.Volume != t.UUID {
		return p, fmt.Errorf("%w: it belongs to catalog %s, volume %s", ErrUnproved, text.Catalog, text.Volume)
	}
	head, err := readManifest(name, volume.File(ctx, sealed), proof, key, func(any) error { return nil })
	if err != nil {
		return p, err
	}
	p.Manifest = catalog.Manifest{Tape: t.ID, Seq: text.Seq, Name: name, MAC: text.MAC, Previous: text.Previous, After: head.After, Upto: head.Upto, Written: head.Written.UTC()}
	return p, nil
}

// unproved reports whether an error is about a manifest's content: it is there, and it does not hold.
func unproved(err error) bool {
	return errors.Is(err, ErrUnproved) || errors.Is(err, errHalf) || errors.Is(err, fs.ErrNotExist)
}

// checkJournal holds a mounted tape's manifests against the catalog before the tape is written: ErrOlder when there is a newer one that
// no session of this catalog wrote. What a session of its own left that died is told by its salt, which is in the catalog before a byte
// is written; with mend such a manifest is taken over if it is whole, and removed if it is not. With mend, too, a complete one that
// proves nothing and that no session of this catalog wrote is ErrRefused. It returns the greatest number that a manifest of the volume
// has or had.
func (a *Archiver) checkJournal(ctx context.Context, v *changer.Volume, t catalog.Tape, mend bool) (last int, err error) {
	defer func() {
		if err != nil && !errors.Is(err, ErrOlder) {
			err = fmt.Errorf("look which manifests are on tape %s: %w", t.Barcode, err)
		}
	}()
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return 0, err
	}
	defer root.Close() // an open folder would keep the volume from being unmounted
	found, err := listJournal(root)
	if err != nil {
		return 0, err
	}
	rows, err := a.env.DB.Manifests(ctx, t.ID)
	if err != nil {
		return 0, err
	}
	var live catalog.Manifest // the newest that is not lost
	known := map[string][]catalog.Manifest{}
	last = found.last
	for _, m := range rows {
		if !strings.Contains(m.Name, t.UUID) {
			continue // of a volume that was on this tape before
		}
		last = max(last, m.Seq)
		known[m.Name] = append(known[m.Name], m)
		if m.State < catalog.ManifestLost && m.Seq > live.Seq {
			live = m
		}
	}
	if generation, err := v.Generation(); err == nil && t.IndexGeneration > 0 && generation == t.IndexGeneration {
		return last, nil // the index of the last sync that was proved: nothing came after it
	}
	slices.SortFunc(found.manifests, func(x, y string) int { return cmp.Compare(path.Base(x), path.Base(y)) })
	for _, name := range found.manifests {
		if slices.ContainsFunc(known[name], func(m catalog.Manifest) bool { return m.State < catalog.ManifestLost }) {
			continue
		}
		vol, seq := manifestNames.FindStringSubmatch(path.Base(name))[1], 0
		if seq, err = strconv.Atoi(manifestNames.FindStringSubmatch(path.Base(name))[2]); err != nil || seq <= live.Seq || vol != t.UUID {
			continue // no newer one
		}
		p, err := a.proveManifest(ctx, root, t, name)
		switch {
		case err != nil && volume.VolumeGone(v, err):
			return last, err
		case err != nil && p.salt == nil && !unproved(err) && a.lacksKey(name):
			return last, olderError(t.Barcode, "manifest %d on it is sealed with a key that is not here", seq)
		}
		ours := false
		for _, m := range known[name] { // it counted as lost
			if err == nil && bytes.Equal(m.MAC, p.MAC) {
				ours, p.ID = true, m.ID
			}
		}
		if !ours && p.salt != nil {
			if ours, err = a.drewSalt(ctx, name, p.salt, err); err != nil && !unproved(err) {
				return last, err
			}
		}
		if err == nil && ours { // its list of sums is written last, and restore.sh goes by that
			if err = proveSums(ctx, root, catalog.JournalFile{Manifest: catalog.Manifest{Name: name, Seq: seq}}); err != nil && volume.VolumeGone(v, err) {
				return last, err
			}
		}
		switch {
		case err == nil && !ours:
			return last, olderError(t.Barcode, "its manifest %d of %s is not known to the catalog, which knows %d", seq, p.Written.Format(time.DateTime), live.Seq)
		case err == nil && mend:
			p.Upto = p.After // its changes are named again: the lists for restore.sh were written after it
			if err := a.env.DB.ManifestProved(ctx, p.Manifest); err != nil {
				return last, err
			}
			a.env.Log.Info("a manifest that an interrupted run left is whole", "tape", t.Barcode, "manifest", name)
			live = p.Manifest
		case err != nil && ours && mend && unproved(err):
			a.env.Log.Info("a manifest that an interrupted run left is not whole, and goes", "tape", t.Barcode, "manifest", name, "why", err)
			dropManifest(root, name, seq)
		case errors.Is(err, ErrUnproved) && p.salt != nil && mend && len(known[name]) == 0: // without a salt nobody can say whose it is
			return last, a.refuseManifest(ctx, t, name, seq, err)
		case err != nil:
			a.env.Log.Warn("a manifest on the tape is not proved", "tape", t.Barcode, "manifest", name, "error", err)
		}
	}
	return last, nil
}

// refuseManifest keeps a tape from being written that has a complete manifest which proves nothing and which no session of this catalog
// wrote: somebody altered it, or it tells of what the catalog does not know. The tape is suspect from then on, and the manifest is known
// as lost, so that whoever trusts the tape is not asked again.
func (a *Archiver) refuseManifest(ctx context.Context, t catalog.Tape, name string, seq int, why error) error {
	err := fmt.Errorf("%w: its manifest %d is complete, is not known to the catalog, and is not what was written: %w", ErrRefused, seq, why)
	if rerr := a.env.DB.AddLostManifest(context.WithoutCancel(ctx), t.ID, seq, name); rerr != nil {
		return rerr
	}
	if serr := volume.MarkSuspect(ctx, a.env, t.ID, err); serr != nil {
		return serr
	}
	return &changer.Error{Op: "write to tape " + t.Barcode, Err: err,
		Hint: "was the catalog put back from a backup? tapefs catalog rebuild takes in what it lacks; if not: " + volume.SuspectHint(t.Barcode)}
}

// drewSalt reports whether this catalog drew the salt of a file. It hands on the error that it is given, unless it has one of its own.
func (a *Archiver) drewSalt(ctx context.Context, name string, salt []byte, why error) (bool, error) {
	drawn, err := a.env.DB.SaltDrawn(ctx, path.Base(path.Dir(name)), salt)
	if err != nil {
		return false, err
	}
	return drawn, why
}

// lacksKey reports whether a file lies in the folder of a key that is not at hand.
func (a *Archiver) lacksKey(name string) bool {
	_, err := a.env.Keys.Key(path.Base(path.Dir(name)))
	return err != nil
}

// dropManifest removes the files of a manifest that proves nothing, as far as the tape lets anything go.
func dropManifest(root *os.Root, name string, seq int) {
	for _, n := range []string{macName(name), linksName(path.Base(path.Dir(name)), seq), sumsName(seq), name} {
		_ = root.Remove(n)
	}
}

// nextSeq is the number of the next manifest of the mounted volume: no number is ever used twice, since a name on tape is not.
func (w *writer) nextSeq(ctx context.Context) (int, error) {
	rows, err := w.a.env.DB.Manifests(ctx, w.tape.ID)
	if err != nil {
		return 0, err
	}
	last := w.lastSeq
	for _, m := range rows {
		if strings.Contains(m.Name, w.tape.UUID) {
			last = max(last, m.Seq)
		}
	}
	return last + 1, nil
}

// stranger refuses a loaded tape whose label names this catalog while the catalog does not know the volume: it was made after the state
// that the catalog is in. One that the catalog let go is none: its erasure was cut short.
func (a *Archiver) stranger(ctx context.Context, barcode string, is identity) error {
	if is.uuid == "" || is.label.Catalog != a.env.DB.UUID() {
		return nil
	}
	if _, err := a.env.DB.TapeByUUID(ctx, is.uuid); !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	t, err := a.env.DB.TapeByBarcode(ctx, barcode)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	if err == nil && t.UUID == "" && t.EmptiedUUID == is.uuid {
		return nil
	}
	return olderError(barcode, "it is %s, volume %s, and the catalog does not know it", is.holds(), is.uuid)
}
