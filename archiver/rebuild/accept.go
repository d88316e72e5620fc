package rebuild

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
)

// accept reads an unproved object whole and takes it into the catalog under its own time: what is newer stays
// what the paths show. Its sums are those of what was read now.
func (b *rebuilder) accept(ctx context.Context, s *survey, o *unprovedObject, parts []Unproved) error {
	m := volume.ObjectNames().FindStringSubmatch(parts[0].Name)
	ms, err := strconv.ParseInt(m[2][:12], 16, 64)
	if err != nil {
		return err
	}
	a := catalog.Adopted{OID: m[2], Fingerprint: m[1], Salt: o.salt, PlainSize: o.plain, SealedSize: o.plain + 16,
		Created: time.UnixMilli(ms).UTC(), Pool: s.Label.Pool, Volume: s.Label.Volume}
	a.PartSize = (parts[0].Size + catalog.ExtentSize - 1) / catalog.ExtentSize * catalog.ExtentSize
	for i, p := range parts {
		part, err := o.sums(ctx, i)
		if err != nil {
			return err
		}
		f, _ := s.file(p.Name)
		a.Parts = append(a.Parts, part)
		a.Files = append(a.Files, catalog.CopyPart{Number: i, Name: p.Name, Size: p.Size, StartBlock: f.Start})
	}
	if err := o.members(ctx, &a); err != nil {
		return err
	}
	return b.env.DB.Adopt(ctx, b.report.Run, a)
}

// sums reads part i whole.
func (o *unprovedObject) sums(ctx context.Context, i int) (catalog.Part, error) {
	p := catalog.Part{Number: i, Size: o.sizes[i]}
	whole, buf := sha256.New(), make([]byte, catalog.ExtentSize)
	in := io.NewSectionReader(o.files[i], 0, o.sizes[i])
	for left := p.Size; left > 0; {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		n := min(left, int64(len(buf)))
		if _, err := io.ReadFull(in, buf[:n]); err != nil {
			return p, err
		}
		sum := sha256.Sum256(buf[:n])
		p.Sums = append(p.Sums, sum[:]...)
		whole.Write(buf[:n])
		left -= n
	}
	p.SHA256 = whole.Sum(nil)
	return p, nil
}

// members reads all headers and contents of the archive.
func (o *unprovedObject) members(ctx context.Context, a *catalog.Adopted) error {
	o.pos = 0
	t := tar.NewReader(struct{ io.Reader }{o}) // reads what it could pass over, so that pos tells where it is
	at := map[string]int{}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		// The next header begins at a block; what is left of the last content was read.
		before := pack.Padded(o.pos)
		h, err := t.Next()
		if err == io.EOF {
			return o.ended()
		}
		if err != nil {
			return fmt.Errorf("its tar headers: %w", err)
		}
		source, p, err := pack.SplitMember(h.Name)
		if err != nil {
			return err
		}
		if a.Source != "" && a.Source != source {
			return errors.New("it has members of several sources")
		}
		a.Source = source
		m := catalog.AdoptedMember{Path: p, Header: before, Data: -1, Link: -1, Version: catalog.Version{Mode: uint32(h.Mode) & 0o7777,
			Owner: catalog.Owner{UID: uint32(h.Uid), GID: uint32(h.Gid), User: h.Uname, Group: h.Gname},
			MTime: catalog.Time{Sec: h.ModTime.Unix(), Nsec: int32(h.ModTime.Nanosecond())}, Nlink: 1}}
		switch h.Typeflag {
		case tar.TypeDir:
			m.Version.Kind = catalog.Directory
		case tar.TypeSymlink:
			m.Version.Kind, m.Version.Target, m.Version.Size = catalog.Symlink, h.Linkname, int64(len(h.Linkname))
		case tar.TypeLink:
			first, ok := at[h.Linkname]
			if !ok {
				return fmt.Errorf("link %.80q to what is not in the object", h.Name)
			}
			m.Version.Kind, m.Link, m.Version.Size = catalog.File, first, a.Members[first].Version.Size
		case tar.TypeReg:
			m.Version.Kind, m.Version.Size, m.Data = catalog.File, h.Size, o.pos
			var sum hash.Hash = sha256.New()
			if _, err := io.Copy(sum, t); err != nil {
				return fmt.Errorf("content of %.80q: %w", h.Name, err)
			}
			m.Version.SHA256 = sum.Sum(nil)
			at[h.Name] = len(a.Members)
		default:
			return fmt.Errorf("member %.80q is of a kind that tapefs does not write", h.Name)
		}
		a.Members = append(a.Members, m)
	}
}
