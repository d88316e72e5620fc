package manifest

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"sync"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// linksList is the member of a links-<seq>.tar.enc.
const linksList = "links.list"

var LinksNames = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^tapefs/([0-9a-f]{16})/links-[0-9]{6,}\.tar\.enc$`) })

// linksName is the path of the list of other paths that goes with a manifest.
func linksName(fingerprint string, seq int) string {
	return fmt.Sprintf("%s/links-%06d.tar.enc", keyFolder(fingerprint), seq)
}

// linkLine tells restore.sh of a path that has its bytes from a member of some object. FORMAT.md, "links-SEQ.tar.enc".
func (b *builder) linkLine(ctx context.Context, c *catalog.Change, v *catalog.Version) error {
	if c.Kind != "link" {
		return nil
	}
	return b.sharedLine(ctx, c, v)
}

// sharedLine is a line of links.list.
func (b *builder) sharedLine(ctx context.Context, c *catalog.Change, v *catalog.Version) error {
	if v.State != catalog.Present || v.Data == v.ID || len(v.SHA256) != sha256.Size {
		return nil
	}
	objects, err := b.DB.ObjectNames(ctx, v.Data)
	if err != nil {
		return err
	}
	if len(objects) == 0 {
		return nil // its bytes are in no object any more: nothing shows it
	}
	where, err := b.DB.Path(ctx, v.ID)
	if err != nil {
		return fmt.Errorf("path of a link: %w", err)
	}
	from, err := b.DB.Path(ctx, v.Data)
	if err != nil {
		return fmt.Errorf("path of a link's bytes: %w", err)
	}
	line := fmt.Appendf(nil, "%d %s %d %x %04o %d %d =", c.ID, objects[len(objects)-1], v.Size, v.SHA256, v.Mode&0o7777, v.Owner.UID, v.Owner.GID)
	line = append(appendEscaped(line, v.Owner.User), " ="...)
	line = append(appendEscaped(line, v.Owner.Group), ' ')
	line = append(appendDecimal(line, v.MTime), ' ')
	line = append(appendEscaped(line, from[min(1, len(from)):]), ' ')
	line = appendEscaped(line, where[min(1, len(where)):])
	b.links.write(append(line, '\n'))
	return nil
}

// writeLinks seals the list onto the tape, if there is anything in it, and names it in SHA256SUMS.
func (b *builder) writeLinks(root *os.Root) error {
	if b.links.err != nil || b.links.size == 0 {
		return b.links.err
	}
	salt, err := b.DrawSalt()
	if err != nil {
		return err
	}
	stream, err := b.Key.Stream(salt)
	if err != nil {
		return err
	}
	sum := sha256.New()
	name := linksName(b.Key.Fingerprint(), b.seq)
	err = putNew(root, name, func(w io.Writer) error {
		sealed, err := stream.NewWriter(io.MultiWriter(w, sum))
		if err != nil {
			return err
		}
		return b.tarOf(sealed, linksList, b.links)
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", path.Base(name), err)
	}
	b.sums.printf("%x  %s\n", sum.Sum(nil), name)
	return nil
}

// tarOf writes a tar archive of one member.
func (b *builder) tarOf(w io.Writer, name string, s *scratch) error {
	buffered := bufio.NewWriterSize(w, 1<<20)
	t := tar.NewWriter(buffered)
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: s.size, ModTime: b.Now.Truncate(time.Second)}); err != nil {
		return err
	}
	if err := s.copyTo(t); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}
