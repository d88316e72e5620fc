package archiver

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/tapefs/tapefs/catalog"
)

// ReceiptLine is one line of a file of receipts, and what Receipts tells of each.
type ReceiptLine struct {
	Receipt  int64                 `json:"receipt"` // its number: two lines of one number are one removal
	Removed  time.Time             `json:"removed"`
	Run      int64                 `json:"run"`
	Source   string                `json:"source"`
	Path     string                `json:"path"`
	Path64   string                `json:"path64,omitempty"` // its exact bytes in base64, where it is not UTF-8
	Kind     string                `json:"kind"`
	Size     int64                 `json:"size"`
	SHA256   string                `json:"sha256,omitempty"`
	Version  int64                 `json:"version"`
	Verified []catalog.ReceiptCopy `json:"verified_copies"`
}

var kindWords = map[catalog.Kind]string{catalog.File: "file", catalog.Symlink: "symlink"}

// receiptPage is how many receipts are read from the catalog at once.
const receiptPage = 1000

// fileReceipts appends what was removed at a source to its file of receipts of the month, and syncs that before the catalog says so. It
// returns the file's path; "" when there was nothing to append.
func (a *Archiver) fileReceipts(ctx context.Context, src Source, row catalog.Source) (path string, err error) {
	if a.env.Config.ReceiptDir == "" {
		return "", nil
	}
	for {
		list, err := a.env.DB.UnfiledReceipts(ctx, row.ID, receiptPage)
		if err != nil || len(list) == 0 {
			return path, err
		}
		path = filepath.Join(a.env.Config.ReceiptDir, fmt.Sprintf("%s-%s.jsonl", src.Name, time.Now().UTC().Format("2006-01")))
		if err := appendReceipts(path, src.Name, list); err != nil {
			return "", fmt.Errorf("write receipts: %w", err)
		}
		if err := a.env.DB.FileReceipts(ctx, row.ID, list[len(list)-1].ID); err != nil {
			return "", err
		}
	}
}

func appendReceipts(path, source string, list []catalog.Receipt) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if torn, terr := endsTorn(f); terr != nil || torn {
		err = terr
		text.WriteByte('\n') // of a process that died while it wrote: its line is written again, as the catalog says
	}
	for i := 0; err == nil && i < len(list); i++ {
		var line []byte
		line, err = json.Marshal(newReceiptLine(&list[i], source))
		text.Write(append(line, '\n'))
	}
	if err == nil {
		_, err = f.Write(text.Bytes())
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// endsTorn reports whether the last line of a file has no end.
func endsTorn(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return last[0] != '\n', err
}

func newReceiptLine(r *catalog.Receipt, source string) ReceiptLine {
	l := ReceiptLine{Receipt: r.ID, Removed: r.At.UTC(), Run: r.Run, Source: source, Path: r.Path, Kind: kindWords[r.Kind], Size: r.Size,
		SHA256: hex.EncodeToString(r.SHA256), Version: int64(r.Version), Verified: r.Copies}
	if !utf8.ValidString(r.Path) {
		l.Path64 = base64.StdEncoding.EncodeToString([]byte(r.Path))
	}
	return l
}
