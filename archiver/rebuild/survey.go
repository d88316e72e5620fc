package rebuild

import (
	"context"
	"encoding/json"
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

	"github.com/google/renameio/v2"

	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// survey is what was found on one tape. It is kept beside the copies of the tape's manifests, so that a
// rebuild that was stopped need not load the tape again.
type survey struct {
	Barcode    string
	Label      label
	Generation int64 // of the index
	Capacity   int64
	Free       int64
	Seen       time.Time
	Files      []tapeFile // sealed objects and parts, by name
	Links      []tapeFile `json:",omitempty"` // lists of links
	Manifests  []foundManifest
	Gaps       []int
	Snapshots  []foundSnapshot // proved ones
	Catalog    string          `json:",omitempty"` // the catalog that a proof on this tape names; "" nothing on it is proved
	Refused    []Refusal
	Remarks    []Refusal `json:",omitempty"`
	More       int       `json:",omitempty"` // refusals that are not kept

	doubt bool // the tape has files that the catalog does not vouch for: what it knows of the journal is read again
	news  bool // something of the tape is not in the catalog that stays

	SnapshotFile string // base name of the newest proved snapshot, whose copy lies beside; "" none
	dir          string
}

// label is what a tape's README.txt says, or, where that is lost, what its manifests prove.
type label struct {
	volume.Label
	Lost string `json:",omitempty"` // why README.txt tells nothing
}

// tapeFile is a sealed file below tapefs/.
type tapeFile struct {
	Name  string
	Size  int64
	Start int64  // LTFS block, -1 unknown
	Salt  []byte `json:",omitempty"` // if its first bytes were read
	Bare  bool   `json:",omitempty"` // its first bytes are not those of a sealed message
}

// foundManifest is a proved manifest, copied.
type foundManifest struct {
	Name     string // on the tape
	Key      string
	Seq      int
	MAC      []byte
	Previous []byte
	After    int64 `json:",omitempty"` // what it names of changes comes after this one, up to Upto
	Upto     int64
	Written  time.Time
	Salt     []byte
	Pool     string
	Number   int
	LastID   catalog.ID // the greatest that was given to a version by then
	Known    bool       `json:",omitempty"` // the catalog has it with this very MAC, and there is no copy
}

type foundSnapshot struct {
	Name    string
	Key     string
	Size    int64
	MAC     []byte
	Salt    []byte
	Written time.Time
}

// passError: a tape is none of this catalog's.
type passError struct{ why string }

func (e *passError) Error() string { return e.why }

const surveyDone = "survey.json"

// survey mounts one tape read-only and finds out what it holds.
func (b *rebuilder) survey(ctx context.Context, code changer.Barcode) (_ *survey, err error) {
	dir := filepath.Join(b.scratch, string(code))
	if strings.ContainsAny(string(code), "/\x00") || code == "." || code == ".." {
		return nil, fmt.Errorf("%q is no barcode", code)
	}
	if s, err := b.surveyed(dir); err == nil {
		b.env.Note("%s was read before the rebuild was stopped", code)
		return s, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &survey{Barcode: string(code), dir: dir}
	err = onTape(ctx, b.env, code, "rebuild", "", func(v *changer.Volume) error {
		root, err := os.OpenRoot(v.Dir)
		if err != nil {
			return err
		}
		defer root.Close()
		found, lost := volume.ReadLabel(root)
		switch {
		case volume.LabelLost(v, lost):
			found = volume.Label{Volume: v.UUID}
			s.Label.Lost = lost.Error()
		case errors.Is(lost, volume.ErrNoLabel):
			return &passError{lost.Error()}
		case lost != nil:
			return lost
		}
		s.Label.Label = found
		if s.Label.Volume != v.UUID {
			return fmt.Errorf("its label is of volume %s, and it is volume %s: %w", s.Label.Volume, v.UUID, changer.ErrWrongVolume)
		}
		s.Capacity, s.Seen = v.Capacity, time.Now().UTC()
		if s.Generation, err = v.Generation(); err != nil {
			return err
		}
		if s.Free, err = v.Free(); err != nil {
			return err
		}
		if err := b.look(ctx, s, v, root); err != nil {
			return err
		}
		switch nothing := s.Catalog == "" && len(s.Files) == 0; {
		case nothing && errors.Is(lost, volume.ErrLabelMissing):
			return &passError{"an LTFS volume without README.txt: not a tape of tapefs"}
		case nothing && errors.Is(lost, volume.ErrNoLabel):
			return &passError{lost.Error()}
		case nothing && lost != nil:
			return lost
		}
		s.relabel()
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return s, renameio.WriteFile(filepath.Join(dir, surveyDone), text, 0o600)
}

// surveyed reads what an earlier survey left.
func (b *rebuilder) surveyed(dir string) (*survey, error) {
	text, err := os.ReadFile(filepath.Join(dir, surveyDone))
	if err != nil {
		return nil, err
	}
	s := &survey{dir: dir}
	return s, json.Unmarshal(text, s)
}

// relabel makes the label of a tape whose README.txt is lost from what its manifests prove: one bad block must not cost
// all that lies behind it.
func (s *survey) relabel() {
	if s.Label.Lost == "" || s.Catalog == "" {
		return
	}
	s.Label.Catalog = s.Catalog
	for _, m := range s.Manifests {
		if m.Pool != "" {
			s.Label.Pool, s.Label.Number = m.Pool, m.Number
		}
	}
	s.remark(volume.ReadmeName, fmt.Errorf("%s; its manifests prove which tape it is", s.Label.Lost))
}

// tapeFilesMax bounds how many files of one tape are looked at. LTFS itself suffers above about a million.
const tapeFilesMax = 4_000_000

// sealedFiles lists the files in the key folders of a tape, by name, with their blocks.
func sealedFiles(root *os.Root, v *changer.Volume) ([]tapeFile, error) {
	var files []tapeFile
	var keys []string
	err := volume.EachEntry(root, "tapefs", func(e fs.DirEntry) error {
		if len(keys) == tapeFilesMax {
			return fmt.Errorf("more than %d folders lie on it: no tape of tapefs", tapeFilesMax)
		}
		if e.IsDir() {
			keys = append(keys, e.Name())
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		err := volume.EachEntry(root, "tapefs/"+k, func(e fs.DirEntry) error {
			f := tapeFile{Name: "tapefs/" + k + "/" + e.Name(), Start: -1}
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() {
				return err
			}
			if len(files) == tapeFilesMax {
				return fmt.Errorf("more than %d files lie on it: no tape of tapefs", tapeFilesMax)
			}
			f.Size = info.Size()
			if n, err := v.StartBlock(f.Name); err == nil {
				f.Start = n
			}
			files = append(files, f)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(files, func(x, y tapeFile) int { return strings.Compare(x.Name, y.Name) })
	return files, nil
}

// look sorts a tape's files and proves its manifests and snapshots. What the label says counts for nothing here.
func (b *rebuilder) look(ctx context.Context, s *survey, v *changer.Volume, root *os.Root) error {
	files, err := sealedFiles(root, v)
	if err != nil {
		return err
	}
	var manifests, snapshots []tapeFile
	has := map[string]bool{}
	for _, f := range files {
		has[f.Name] = true
	}
	for _, f := range files {
		switch base := path.Base(f.Name); {
		case volume.ObjectNames().MatchString(f.Name):
			s.Files = append(s.Files, f)
		case manifest.LinksNames().MatchString(f.Name): // the manifest beside it says the same, and is proved
			salt, err := volume.SaltOf(root, f.Name)
			if err != nil && volume.Excused(v, err) {
				return err
			}
			f.Salt = salt
			s.Links = append(s.Links, f)
		case manifest.Names().MatchString(base) && volume.KeyFolders().MatchString(path.Dir(f.Name)):
			manifests = append(manifests, f)
		case volume.SnapshotNames().MatchString(f.Name):
			snapshots = append(snapshots, f)
		case strings.HasSuffix(base, ".mac") && has[strings.TrimSuffix(f.Name, ".mac")+".tar.enc"]:
		default:
			s.refuse(f.Name, errors.New("no name that tapefs gives"))
		}
	}
	if err := b.compare(ctx, s); err != nil {
		return err
	}
	named := map[string]bool{}
	if err := b.manifests(ctx, s, v, root, manifests, named); err != nil {
		return err
	}
	if err := b.snapshots(ctx, s, v, root, snapshots); err != nil {
		return err
	}
	if s.Catalog == "" && (b.uuid == "" || s.Label.Catalog != b.uuid) {
		return nil // not ours, as far as can be told
	}
	for i := range s.Files {
		f := &s.Files[i]
		first := volume.ObjectNames().FindStringSubmatch(f.Name)[3]
		if first != "" && first != "0001" || named[f.Name] && !b.o.Headers {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		switch salt, err := volume.SaltOf(root, f.Name); {
		case err == nil:
			f.Salt = salt
		case volume.Excused(v, err):
			return err
		case errors.Is(err, crypto.ErrNotSealed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			f.Bare = true
		default:
			b.env.Log.Warn("cannot read the first bytes of a file", "tape", s.Barcode, "file", f.Name, "err", err)
		}
	}
	return nil
}

// refusalsMax bounds how many files of one tape are refused by name: on a hostile tape there may be any number.
const refusalsMax = 100

func (s *survey) refuse(name string, why error) {
	if len(s.Refused) >= refusalsMax {
		s.More++
		return
	}
	s.Refused = append(s.Refused, Refusal{Barcode: s.Barcode, Name: name, Why: why.Error()})
}

func (s *survey) remark(name string, why error) {
	s.Remarks = append(s.Remarks, Refusal{Barcode: s.Barcode, Name: name, Why: why.Error()})
}
