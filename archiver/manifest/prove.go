package manifest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// Bounds on what is read of one file of a tape, bytes. A manifest lists what went to a tape within one sync, and a
// snapshot takes some hundred bytes for each file of the archive.
const (
	MaxManifest = 64 << 30
	MaxSnapshot = 1 << 40
)

// ErrHalf: a manifest or snapshot that was not finished, as the end of a tape leaves it. Nothing is wrong with the tape.
var ErrHalf = errors.New("it was not finished: the tape ended there, or the run")

// SumOnTape is the MAC over text and a file on the tape, of which at most limit bytes are read. Nothing is copied.
func SumOnTape(ctx context.Context, root *os.Root, name string, key *crypto.Key, text []byte, limit int64) ([]byte, error) {
	in, err := changer.OpenFile(root, name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	h := key.ManifestMAC(text)
	n, err := io.Copy(h, io.LimitReader(volume.Reader(ctx, in), limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%w: it is longer than %d bytes", ErrUnproved, limit)
	}
	return h.Sum(nil), err
}

// ReadProof reads the .mac file beside a manifest or snapshot: ErrHalf when there is none, or when it was cut off. It is
// written last, so then nobody ever relied on either.
func ReadProof(root *os.Root, name string) ([]byte, error) {
	f, err := changer.OpenFile(root, MacName(name), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (there is no .mac file)", ErrHalf)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	proof, err := io.ReadAll(io.LimitReader(f, maxProof+1))
	if err == nil && cutOff(proof) {
		return nil, fmt.Errorf("%w (its .mac file has %d bytes)", ErrHalf, len(proof))
	}
	return proof, err
}

// cutOff reports whether a .mac file is the beginning of one and no more.
func cutOff(proof []byte) bool {
	if len(proof) == 0 {
		return true
	}
	begins := func(line string) bool {
		n := min(len(proof), len(line))
		return string(proof[:n]) == line[:n]
	}
	if !begins(fmt.Sprintf("tapefs-manifest %d\n", volume.TapeFormat)) && !begins(snapshotHeader+"\n") {
		return false
	}
	at := bytes.LastIndex(proof, []byte("\nmac="))
	return at < 0 || len(proof) < at+len("\nmac=")+2*sha256.Size+1 && !bytes.HasSuffix(proof, []byte("\n"))
}

// Proved is a manifest that was read back whole from its tape.
type Proved struct {
	catalog.Manifest
	Salt []byte
}

// Prove reads a manifest back from a mounted tape. salt is that of its file also when it is not proved (nil: it has none).
// Errors about its content are ErrUnproved or fs.ErrNotExist.
func Prove(ctx context.Context, env *job.Env, root *os.Root, t catalog.Tape, name string) (p Proved, err error) {
	key, err := env.Keys.Key(path.Base(path.Dir(name)))
	if err != nil {
		return p, err
	}
	sealed, err := changer.OpenFile(root, name, os.O_RDONLY, 0)
	if err != nil {
		return p, err
	}
	defer sealed.Close()
	p.Salt, err = volume.HeaderSalt(sealed)
	proof, perr := ReadProof(root, name)
	if err := cmp.Or(perr, badHeader(err)); err != nil { // without a proof it is half, whatever is wrong with it beside that
		return p, err
	}
	text, err := ParseProof(proof)
	if err != nil {
		return p, err
	}
	if text.Catalog != env.DB.UUID() || text.Volume != t.UUID {
		return p, fmt.Errorf("%w: it belongs to catalog %s, volume %s", ErrUnproved, text.Catalog, text.Volume)
	}
	head, err := Read(name, volume.File(ctx, sealed), proof, key, func(any) error { return nil })
	if err != nil {
		return p, err
	}
	p.Manifest = catalog.Manifest{Tape: t.ID, Seq: text.Seq, Name: name, MAC: text.MAC, Previous: text.Previous, After: head.After, Upto: head.Upto, Written: head.Written.UTC()}
	return p, nil
}

// Unproved reports whether an error is about a manifest's content: it is there, and it does not hold.
func Unproved(err error) bool {
	return errors.Is(err, ErrUnproved) || errors.Is(err, ErrHalf) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, changer.ErrAltered)
}

// LacksKey reports whether a file lies in the folder of a key that is not at hand.
func LacksKey(env *job.Env, name string) bool {
	_, err := env.Keys.Key(path.Base(path.Dir(name)))
	return err != nil
}

// dropManifest removes the files of a manifest that proves nothing, as far as the tape lets anything go.
func dropManifest(root *os.Root, name string, seq int) {
	for _, n := range []string{MacName(name), linksName(path.Base(path.Dir(name)), seq), sumsName(seq), name} {
		_ = root.Remove(n)
	}
}

// ProveFile reads a manifest or snapshot of the catalog back from its tape: it must have the MAC that was recorded.
func ProveFile(ctx context.Context, env *job.Env, root *os.Root, t catalog.Tape, f catalog.JournalFile) error {
	if f.Snapshot {
		return proveKnownSnapshot(ctx, env, root, t, f)
	}
	p, err := Prove(ctx, env, root, t, f.Name)
	if err != nil {
		return err
	}
	if !bytes.Equal(p.MAC, f.MAC) {
		return fmt.Errorf("%w: another manifest has its name", ErrUnproved)
	}
	return ProveSums(ctx, root, f)
}

// proveKnownSnapshot is Prove for a snapshot that the catalog knows.
func proveKnownSnapshot(ctx context.Context, env *job.Env, root *os.Root, t catalog.Tape, f catalog.JournalFile) error {
	match := volume.SnapshotNames().FindStringSubmatch(f.Name)
	if match == nil {
		return fmt.Errorf("%w: it has no name of a snapshot", ErrUnproved)
	}
	at, err := time.Parse(SnapshotTime, match[2])
	if err != nil {
		return fmt.Errorf("%w: its name has no time", ErrUnproved)
	}
	key, err := env.Keys.Key(match[1])
	if err != nil {
		return err
	}
	proof, err := ReadProof(root, f.Name)
	if err != nil {
		return err
	}
	text := SnapshotText(env.DB.UUID(), t.UUID, at)
	if !bytes.Equal(proof, fmt.Appendf(bytes.Clone(text), "mac=%x\n", f.MAC)) {
		return fmt.Errorf("%w: its .mac file is not the one that was written", ErrUnproved)
	}
	sum, err := SumOnTape(ctx, root, f.Name, key, text, MaxSnapshot)
	if err == nil && !bytes.Equal(sum, f.MAC) {
		err = fmt.Errorf("%w: the MAC is wrong", ErrUnproved)
	}
	return err
}

// sumsMax bounds how much of a SHA256SUMS file is looked at, in bytes: a line of about 150 for each object of one sync.
const sumsMax = 1 << 30

// ProveSums holds the list of sums that was written with a manifest against the manifest and its list of links: restore.sh goes by it.
func ProveSums(ctx context.Context, root *os.Root, f catalog.JournalFile) error {
	in, err := changer.OpenFile(root, sumsName(f.Seq), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(volume.Reader(ctx, in), sumsMax))
	if err != nil {
		return err
	}
	wanted := []string{linksName(path.Base(path.Dir(f.Name)), f.Seq), f.Name}
	found := false
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !slices.Contains(wanted, name) {
			continue
		}
		found = found || name == f.Name
		is, err := sha256OnTape(ctx, root, name)
		if err != nil {
			return err
		}
		if is != sum {
			return fmt.Errorf("%w: %s and what %s says of it differ", ErrUnproved, path.Base(name), sumsName(f.Seq))
		}
	}
	if !found {
		return fmt.Errorf("%w: %s does not list it", ErrUnproved, sumsName(f.Seq))
	}
	return nil
}

func sha256OnTape(ctx context.Context, root *os.Root, name string) (string, error) {
	in, err := changer.OpenFile(root, name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer in.Close()
	h := sha256.New()
	_, err = io.Copy(h, volume.Reader(ctx, in))
	return hex.EncodeToString(h.Sum(nil)), err
}

// badHeader makes what a sealed file's first bytes lack an error about its content.
func badHeader(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is cut short", ErrUnproved)
	case errors.Is(err, crypto.ErrNotSealed):
		return fmt.Errorf("%w: %w", ErrUnproved, err)
	}
	return err
}
