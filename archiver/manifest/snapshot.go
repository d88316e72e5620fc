package manifest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/crypto"
)

const (
	// SnapshotTime is the time in a snapshot's name, UTC.
	SnapshotTime = "20060102T150405.000Z"
	// snapshotHeader is the first line under a snapshot's MAC.
	snapshotHeader = "tapefs-catalog 1"
)

// Snapshot is a copy of the catalog's file that is to be sealed onto a tape.
type Snapshot struct {
	File    string // on a disk of this machine
	Size    int64
	Catalog string // UUID
	Volume  string // UUID of the tape
	At      time.Time
}

// Name is the path on tape of a snapshot that a key seals, by its fingerprint.
func (s Snapshot) Name(fingerprint string) string {
	return keyFolder(fingerprint) + "/catalog-" + s.At.UTC().Format(SnapshotTime) + ".tar.enc"
}

// Seal writes the snapshot to a file of the tape, as an archive with one member. It returns how many bytes that took, and their MAC.
// Errors of the tape are *pack.WriteError.
func (s Snapshot) Seal(f io.Writer, key *crypto.Key, salt []byte) (written int64, mac []byte, err error) {
	stream, err := key.Stream(salt)
	if err != nil {
		return 0, nil, err
	}
	hash, out := key.ManifestMAC(SnapshotText(s.Catalog, s.Volume, s.At)), &countWriter{w: f}
	sealed, err := stream.NewWriter(io.MultiWriter(out, hash))
	if err == nil {
		err = tarFile(sealed, s.File, "catalog.db", s.Size, s.At)
	}
	if err != nil && out.err != nil {
		err = &pack.WriteError{Err: err}
	}
	return out.n, hash.Sum(nil), err
}

// Proof is the text of the .mac file beside the sealed snapshot.
func (s Snapshot) Proof(mac []byte) []byte {
	return fmt.Appendf(SnapshotText(s.Catalog, s.Volume, s.At), "mac=%x\n", mac)
}

// SnapshotText is what a snapshot's MAC is over, before the sealed bytes: an older snapshot under a newer
// one's name does not hold.
func SnapshotText(catalog, volume string, at time.Time) []byte {
	return fmt.Appendf(nil, "%s\ncatalog=%s\nvolume=%s\ntime=%s\n", snapshotHeader, catalog, volume, at.UTC().Format(SnapshotTime))
}

// SnapshotCatalog is the catalog that a snapshot's proof names; "" none.
func SnapshotCatalog(proof []byte) string {
	lines := strings.SplitN(string(proof), "\n", 3)
	if len(lines) < 3 {
		return ""
	}
	uuid, ok := strings.CutPrefix(lines[1], "catalog=")
	if !ok || !volume.UUIDText().MatchString(uuid) {
		return ""
	}
	return uuid
}

// tarFile writes one file as a whole tar archive.
func tarFile(w io.Writer, path, name string, size int64, at time.Time) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header, err := pack.TarHeader(&tar.Header{Format: tar.FormatPAX, Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: size, ModTime: at})
	if err == nil {
		_, err = w.Write(header)
	}
	if err == nil {
		_, err = io.CopyN(w, f, size)
	}
	if err == nil {
		_, err = w.Write(bytes.Repeat([]byte{0}, int(pack.Padded(size)-size)+pack.TarEnd))
	}
	return err
}

// countWriter counts what went through and remembers the writer's error.
type countWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
