package manifest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// numberedNames are the files that belong to a manifest, beside their list of sums.
var numberedNames = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:manifest-[0-9a-fA-F-]{1,64}|links)-([0-9]{6,9})\.(?:tar\.enc|mac)$`)
})

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
	err = volume.EachName(root, ".", func(name string) {
		if text, ok := strings.CutPrefix(name, "SHA256SUMS-"); ok && len(text) < 10 {
			number(text)
		}
	})
	if err != nil {
		return j, err
	}
	var folders []string
	if err := volume.EachName(root, "tapefs", func(name string) { folders = append(folders, name) }); err != nil {
		return j, err
	}
	for _, folder := range folders {
		dir := "tapefs/" + folder
		err := volume.EachName(root, dir, func(name string) {
			if m := numberedNames().FindStringSubmatch(name); m != nil {
				number(m[1])
			}
			if Names().MatchString(name) {
				j.manifests = append(j.manifests, dir+"/"+name)
			}
		})
		if err != nil {
			return j, err
		}
	}
	return j, nil
}

// Check holds a mounted tape's manifests against the catalog before the tape is written: ErrOlder when there is a newer one that
// no session of this catalog wrote. What a session of its own left that died is told by its salt, which is in the catalog before a byte
// is written; with mend such a manifest is taken over if it is whole, and removed if it is not. With mend, too, a complete one that
// proves nothing and that no session of this catalog wrote is ErrRefused. It returns the greatest number that a manifest of the volume
// has or had.
func Check(ctx context.Context, env *job.Env, v *changer.Volume, t catalog.Tape, mend bool) (last int, err error) {
	defer func() {
		if err != nil && !errors.Is(err, volume.ErrOlder) {
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
	rows, err := env.DB.Manifests(ctx, t.ID)
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
		vol, seq := Names().FindStringSubmatch(path.Base(name))[1], 0
		if seq, err = strconv.Atoi(Names().FindStringSubmatch(path.Base(name))[2]); err != nil || seq <= live.Seq || vol != t.UUID {
			continue // no newer one
		}
		p, err := Prove(ctx, env, root, t, name)
		switch {
		case err != nil && volume.VolumeGone(v, err):
			return last, err
		case err != nil && p.Salt == nil && !Unproved(err) && LacksKey(env, name):
			return last, volume.OlderError(t.Barcode, "manifest %d on it is sealed with a key that is not here", seq)
		}
		ours := false
		for _, m := range known[name] { // it counted as lost
			if err == nil && bytes.Equal(m.MAC, p.MAC) {
				ours, p.ID = true, m.ID
			}
		}
		if !ours && p.Salt != nil {
			if ours, err = drewSalt(ctx, env, name, p.Salt, err); err != nil && !Unproved(err) {
				return last, err
			}
		}
		if err == nil && ours { // its list of sums is written last, and restore.sh goes by that
			if err = ProveSums(ctx, root, catalog.JournalFile{Manifest: catalog.Manifest{Name: name, Seq: seq}}); err != nil && volume.VolumeGone(v, err) {
				return last, err
			}
		}
		switch {
		case err == nil && !ours:
			return last, volume.OlderError(t.Barcode, "its manifest %d of %s is not known to the catalog, which knows %d", seq, p.Written.Format(time.DateTime), live.Seq)
		case err == nil && mend:
			p.Upto = p.After // its changes are named again: the lists for restore.sh were written after it
			if err := env.DB.ManifestProved(ctx, p.Manifest); err != nil {
				return last, err
			}
			env.Log.Info("a manifest that an interrupted run left is whole", "tape", t.Barcode, "manifest", name)
			live = p.Manifest
		case err != nil && ours && mend && Unproved(err):
			env.Log.Info("a manifest that an interrupted run left is not whole, and goes", "tape", t.Barcode, "manifest", name, "why", err)
			dropManifest(root, name, seq)
		case errors.Is(err, ErrUnproved) && p.Salt != nil && mend && len(known[name]) == 0: // without a salt nobody can say whose it is
			return last, refuseManifest(ctx, env, t, name, seq, err)
		case err != nil:
			env.Log.Warn("a manifest on the tape is not proved", "tape", t.Barcode, "manifest", name, "err", err)
		}
	}
	return last, nil
}

// refuseManifest keeps a tape from being written that has a complete manifest which proves nothing and which no session of this catalog
// wrote: somebody altered it, or it tells of what the catalog does not know. The tape is suspect from then on, and the manifest is known
// as lost, so that whoever trusts the tape is not asked again.
func refuseManifest(ctx context.Context, env *job.Env, t catalog.Tape, name string, seq int, why error) error {
	err := fmt.Errorf("%w: its manifest %d is complete, is not known to the catalog, and is not what was written: %w", ErrRefused, seq, why)
	if rerr := env.DB.AddLostManifest(context.WithoutCancel(ctx), t.ID, seq, name); rerr != nil {
		return rerr
	}
	if serr := volume.MarkSuspect(ctx, env, t.ID, err); serr != nil {
		return serr
	}
	return &changer.Error{Op: "write to tape " + t.Barcode, Err: err,
		Hint: "was the catalog put back from a backup? tapefs catalog rebuild takes in what it lacks; if not: " + volume.SuspectHint(t.Barcode)}
}

// drewSalt reports whether this catalog drew the salt of a file. It hands on the error that it is given, unless it has one of its own.
func drewSalt(ctx context.Context, env *job.Env, name string, salt []byte, why error) (bool, error) {
	drawn, err := env.DB.SaltDrawn(ctx, path.Base(path.Dir(name)), salt)
	if err != nil {
		return false, err
	}
	return drawn, why
}

// ErrRefused: a rebuild or a check came across something on tape that is not what it says it is. The rest was taken.
var ErrRefused = errors.New("some of what lies on the tapes was refused")
