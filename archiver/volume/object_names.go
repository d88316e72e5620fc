package volume

import (
	"io"
	"os"
	"regexp"
	"sync"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// The files of an archive on tape, below its root.
var (
	ObjectNames = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^tapefs/([0-9a-f]{16})/([0-9a-f]{32})\.tar\.enc(?:\.([0-9]{4}))?$`)
	})
	KeyFolders    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^tapefs/[0-9a-f]{16}$`) })
	SnapshotNames = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^tapefs/([0-9a-f]{16})/catalog-([0-9TZ.]+)\.tar\.enc$`)
	})
)

// HeaderSalt reads the salt of a sealed file.
func HeaderSalt(f io.ReaderAt) ([]byte, error) {
	header := make([]byte, crypto.HeaderSize)
	if _, err := f.ReadAt(header, 0); err != nil {
		return nil, err
	}
	return crypto.ParseHeader(header)
}

// SaltOf reads the salt that a sealed file on a mounted tape begins with. io.EOF or io.ErrUnexpectedEOF: it is too short for one;
// crypto.ErrNotSealed: it begins with something else.
func SaltOf(root *os.Root, name string) ([]byte, error) {
	f, err := changer.OpenFile(root, name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	header := make([]byte, crypto.HeaderSize)
	if _, err := io.ReadFull(f, header); err != nil {
		return nil, err
	}
	return crypto.ParseHeader(header)
}
