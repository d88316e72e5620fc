package manifest

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
)

// Members of a manifest.
const (
	recordsMember = "manifest.jsonl"
	voidMember    = "void.list"
	metaMember    = "meta.list"
	movedMember   = "moved.list"
	forgetMember  = "forget.list"
	goneMember    = "gone.list"
)

// journalDB is what a manifest is made of. *catalog.DB has it.
type journalDB interface {
	UUID() string
	Unmanifested(ctx context.Context, tape int64, fn func(*catalog.ManifestPart) error) error
	UnnamedElsewhere(ctx context.Context, tape int64, fn func(*catalog.ManifestPart) error) error
	Changes(ctx context.Context, after int64, fn func(*catalog.Change) error) error
	Get(ctx context.Context, id catalog.ID) (catalog.Version, error)
	Path(ctx context.Context, id catalog.ID) (string, error)
	LastVersion(ctx context.Context) (catalog.ID, error)
	Linked(ctx context.Context, v *catalog.Version) (bool, error)
	Lookup(ctx context.Context, parent catalog.ID, name string) (catalog.Version, error)
	Resolve(ctx context.Context, path string) (catalog.Version, error)
	PlannedAt(ctx context.Context, parent catalog.ID, name string) (bool, error)
	DataWanted(ctx context.Context, data catalog.ID) (bool, error)
	ObjectNames(ctx context.Context, id catalog.ID) ([]string, error)
	Sources(ctx context.Context) ([]catalog.Source, error)
	Keys(ctx context.Context) ([]catalog.SealKey, error)
	Pools(ctx context.Context) ([]catalog.Pool, error)
	Tapes(ctx context.Context) ([]catalog.Tape, error)
}

var _ journalDB = (*catalog.DB)(nil)

// Input says what to write and where.
type Input struct {
	DB       journalDB
	Dir      string                 // the mounted volume
	Key      *crypto.Key            // seals; its fingerprint names the folder
	Salt     []byte                 // drawn for this manifest alone
	DrawSalt func() ([]byte, error) // draws another, for the list of links, if there are any
	Label    volume.Label
	Tape     catalog.Tape
	Previous catalog.Manifest // the tape's newest that is not lost; zero for the first
	Seq      int              // its number, above all that the volume ever had; 0: the one after Previous
	After    int64            // last change that the pool's manifests name already
	Scratch  string           // folder for temporary files: they hold names in clear
	Version  string           // of tapefs
	Now      time.Time        // zero: the clock
}

// Write lists what lies on a tape and no manifest names yet, likewise what is safe on other tapes of the pool that
// could not take their manifest, and all changes after a position, seals that, and writes it with its .mac and SHA256SUMS-<seq>. It returns
// what catalog.AddManifest wants. Nothing of it is safe before the tape was synced. Its files must be new. Errors of the tape
// are *writeError, others are those of the catalog and of the disk that holds the scratch files.
func Write(ctx context.Context, m Input) (catalog.Manifest, []int64, error) {
	b, err := newBuilder(m)
	if err != nil {
		return catalog.Manifest{}, nil, fmt.Errorf("write manifest: %w", err)
	}
	defer b.close()
	if err := b.gather(ctx); err != nil {
		return catalog.Manifest{}, nil, fmt.Errorf("gather manifest: %w", err)
	}
	if err := b.flush(); err != nil { // before a file of the tape is begun
		return catalog.Manifest{}, nil, fmt.Errorf("gather manifest: %w", err)
	}
	man, err := b.write(ctx)
	if err != nil {
		return catalog.Manifest{}, nil, fmt.Errorf("write manifest %s: %w", b.name, err)
	}
	return man, b.copyParts, nil
}

// builder gathers one manifest in scratch files, so that it may be of any size.
type builder struct {
	Input
	seq       int
	name      string // on the tape
	previous  []byte
	upto      int64
	copyParts []int64

	head, body, sums *scratch // records of dirs and the like; of objects; lines of SHA256SUMS
	meta             *scratch // lines of meta.list
	moved            *scratch // lines of moved.list
	forgotten        *scratch // lines of forget.list
	gone             *scratch // lines of gone.list
	links            *scratch // lines of links.list

	tapes   map[int64]catalog.Tape
	sources map[int64]string
	dirs    map[catalog.ID]bool // whose records are wanted or written
	parents []catalog.ID        // of dirs, to be looked up
	voids   []voidEntry
	objects map[int64]bool // whose records are written
	parts   map[int64]bool // by id of the copy's part: whose records are written
}

type voidEntry struct {
	oid string
	id  catalog.ID
}

func newBuilder(m Input) (*builder, error) {
	if err := m.Label.Check(); err != nil {
		return nil, err
	}
	if m.Now.IsZero() {
		m.Now = time.Now()
	}
	if m.Previous.Seq > 0 && (m.Previous.Tape != m.Tape.ID || len(m.Previous.MAC) != sha256.Size) {
		return nil, fmt.Errorf("manifest %d of tape %d cannot precede one of tape %d", m.Previous.Seq, m.Previous.Tape, m.Tape.ID)
	}
	b := &builder{Input: m, seq: max(m.Seq, m.Previous.Seq+1), upto: m.After, previous: m.Previous.MAC, dirs: map[catalog.ID]bool{},
		objects: map[int64]bool{}, parts: map[int64]bool{}}
	if m.Previous.Seq == 0 {
		b.previous = make([]byte, sha256.Size)
	}
	b.name = Name(m.Key.Fingerprint(), m.Label.Volume, b.seq)
	for _, s := range []**scratch{&b.head, &b.body, &b.sums, &b.meta, &b.moved, &b.forgotten, &b.gone, &b.links} {
		var err error
		if *s, err = newScratch(m.Scratch); err != nil {
			b.close()
			return nil, err
		}
	}
	return b, nil
}

// scratches are all scratch files; nil those that could not be made.
func (b *builder) scratches() []*scratch {
	return []*scratch{b.head, b.body, b.sums, b.meta, b.moved, b.forgotten, b.gone, b.links}
}

// flush writes out what the scratch files hold in memory.
func (b *builder) flush() error {
	for _, s := range b.scratches() {
		if s.err == nil {
			s.err = s.w.Flush()
		}
		if s.err != nil {
			return s.err
		}
	}
	return nil
}

func (b *builder) close() {
	for _, s := range b.scratches() {
		if s != nil {
			s.f.Close()
		}
	}
}

// write seals what was gathered onto the tape.
func (b *builder) write(ctx context.Context) (catalog.Manifest, error) {
	voids, err := b.voidList(ctx)
	if err != nil {
		return catalog.Manifest{}, err
	}
	last, err := b.DB.LastVersion(ctx)
	if err != nil {
		return catalog.Manifest{}, err
	}
	first, err := json.Marshal(Head{Type: "manifest", Format: volume.TapeFormat, Catalog: b.Label.Catalog, Volume: b.Label.Volume,
		Barcode: b.Tape.Barcode, Pool: b.Label.Pool, Number: b.Label.Number, Seq: b.seq, Previous: hex.EncodeToString(b.previous),
		Written: b.Now.UTC(), Version: b.Version, After: b.After, Upto: b.upto, LastID: last})
	if err != nil {
		return catalog.Manifest{}, err
	}
	stream, err := b.Key.Stream(b.Salt)
	if err != nil {
		return catalog.Manifest{}, err
	}
	root, err := os.OpenRoot(b.Dir)
	if err != nil {
		return catalog.Manifest{}, &pack.WriteError{Err: err}
	}
	defer root.Close()
	if err := root.MkdirAll(keyFolder(b.Key.Fingerprint()), 0o755); err != nil {
		return catalog.Manifest{}, &pack.WriteError{Err: err}
	}
	text := Proof{Catalog: b.Label.Catalog, Volume: b.Label.Volume, Seq: b.seq, Previous: b.previous}
	mac, sum := b.Key.ManifestMAC(text.Header()), sha256.New()
	err = putNew(root, b.name, func(w io.Writer) error {
		sealed, err := stream.NewWriter(io.MultiWriter(w, mac, sum))
		if err != nil {
			return err
		}
		return b.tar(sealed, append(first, '\n'), voids)
	})
	if err != nil {
		return catalog.Manifest{}, err
	}
	text.MAC = mac.Sum(nil)
	if err := putNew(root, MacName(b.name), func(w io.Writer) error { _, err := w.Write(text.text()); return err }); err != nil {
		return catalog.Manifest{}, err
	}
	job.Failpoint("manifest-mac")
	if err := b.writeLinks(root); err != nil {
		return catalog.Manifest{}, err
	}
	if err := b.writeSums(root, sum); err != nil {
		return catalog.Manifest{}, err
	}
	return catalog.Manifest{Tape: b.Tape.ID, Seq: b.seq, Name: b.name, MAC: text.MAC, Previous: b.previous, After: b.After, Upto: b.upto, State: catalog.ManifestWritten, Written: b.Now.UTC()}, nil
}

// tar writes the members: first the short ones, which restore.sh reads.
func (b *builder) tar(w io.Writer, first []byte, voids []byte) error {
	buffered := bufio.NewWriterSize(w, 1<<20)
	t := tar.NewWriter(buffered)
	member := func(name string, size int64) error {
		return t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: b.Now.Truncate(time.Second)})
	}
	if err := member(voidMember, int64(len(voids))); err != nil {
		return err
	}
	if _, err := t.Write(voids); err != nil {
		return err
	}
	if err := member(metaMember, b.meta.size); err != nil {
		return err
	}
	if err := b.meta.copyTo(t); err != nil {
		return err
	}
	if err := member(movedMember, b.moved.size); err != nil {
		return err
	}
	if err := b.moved.copyTo(t); err != nil {
		return err
	}
	if err := member(forgetMember, b.forgotten.size); err != nil {
		return err
	}
	if err := b.forgotten.copyTo(t); err != nil {
		return err
	}
	if err := member(goneMember, b.gone.size); err != nil {
		return err
	}
	if err := b.gone.copyTo(t); err != nil {
		return err
	}
	if err := member(recordsMember, int64(len(first))+b.head.size+b.body.size); err != nil {
		return err
	}
	if _, err := t.Write(first); err != nil {
		return err
	}
	for _, s := range []*scratch{b.head, b.body} {
		if err := s.copyTo(t); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// voidList is the text of void.list: object id, blank, path in the tar stream with odd bytes as
// \0ooo, which the shell's printf %b understands.
func (b *builder) voidList(ctx context.Context) ([]byte, error) {
	var out []byte
	for _, v := range b.voids {
		path, err := b.DB.Path(ctx, v.id)
		if err != nil {
			return nil, fmt.Errorf("path of a void member: %w", err)
		}
		out = append(out, v.oid...)
		out = append(out, ' ')
		out = appendEscaped(out, path[min(1, len(path)):]) // without the slash in front
		out = append(out, '\n')
	}
	return out, nil
}

// appendEscaped leaves the letters that restore.sh lets through and writes all else in octal.
func appendEscaped(out []byte, s string) []byte {
	const plain = "/._+@%=:-"
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			out = append(out, c)
		default:
			known := false
			for j := range len(plain) {
				known = known || plain[j] == c
			}
			if known {
				out = append(out, c)
			} else {
				out = fmt.Appendf(out, `\0%03o`, c)
			}
		}
	}
	return out
}

// putNew makes a file on a tape that must be new. What fill gets from elsewhere may fail, too: only errors of the tape are *writeError.
func putNew(root *os.Root, name string, fill func(io.Writer) error) error {
	var local bool
	err := volume.CreateNew(root, name, func(w io.Writer) error {
		out := &countWriter{w: w}
		err := fill(out)
		local = err != nil && out.err == nil
		return err
	})
	if err != nil && !local {
		err = &pack.WriteError{Err: err}
	}
	return err
}

// writeSums writes SHA256SUMS-<seq>: the manifest's own sum comes last.
func (b *builder) writeSums(root *os.Root, manifest hash.Hash) error {
	return putNew(root, sumsName(b.seq), func(w io.Writer) error {
		if _, err := io.WriteString(w, sumsHead(b.Label.Volume, b.seq)); err != nil {
			return err
		}
		if err := b.sums.copyTo(w); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "%x  %s\n", manifest.Sum(nil), b.name)
		return err
	})
}
