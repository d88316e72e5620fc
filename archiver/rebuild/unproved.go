package rebuild

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// unprovedMembers is how many names of an unproved object a report holds.
const unprovedMembers = 1000

// unproved lists the sealed files that no proved manifest names, and looks into them if that is asked for.
func (b *rebuilder) unproved(ctx context.Context) error {
	for _, s := range slices.Concat(b.tapes, b.claims) {
		files, err := b.unnamedFiles(ctx, s)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			continue
		}
		list := make([]Unproved, len(files))
		for i, f := range files {
			list[i] = Unproved{Barcode: s.Barcode, Name: f.Name, Size: f.Size}
		}
		if b.o.ListUnproved || b.o.AcceptUnproved {
			err = onTape(ctx, b.env, changer.Barcode(s.Barcode), "rebuild", s.Label.Volume, func(v *changer.Volume) error {
				return b.lookInto(ctx, s, v, list)
			})
		}
		b.report.Unproved = append(b.report.Unproved, list...)
		if err != nil {
			return fmt.Errorf("look into what no manifest names on tape %s: %w", s.Barcode, err)
		}
	}
	return nil
}

// unnamedFiles lists the files of a tape that the catalog does not know there.
func (b *rebuilder) unnamedFiles(ctx context.Context, s *survey) ([]tapeFile, error) {
	if slices.Contains(b.claims, s) {
		return s.Files, nil
	}
	t, err := b.env.DB.TapeByUUID(ctx, s.Label.Volume)
	if err != nil {
		return nil, err
	}
	var out []tapeFile
	i := 0
	err = b.env.DB.TapeFiles(ctx, t.ID, func(p catalog.CopyPart) error {
		for ; i < len(s.Files) && s.Files[i].Name < p.Name; i++ {
			out = append(out, s.Files[i])
		}
		if i < len(s.Files) && s.Files[i].Name == p.Name {
			i++
		}
		return nil
	})
	return append(out, s.Files[i:]...), err
}

// lookInto reads the tar headers of unproved objects that lie whole on the mounted tape.
func (b *rebuilder) lookInto(ctx context.Context, s *survey, v *changer.Volume, list []Unproved) error {
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for i := 0; i < len(list); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := i + 1
		for n < len(list) && oidOf(list[n].Name) == oidOf(list[i].Name) {
			n++
		}
		parts := list[i:n]
		i = n
		o, err := openUnproved(root, b.env.Keys, parts)
		if err == nil {
			err = o.headers(&parts[0])
			if err == nil && b.o.AcceptUnproved {
				b.env.Note("reading %s of tape %s, which no manifest names", parts[0].Name, s.Barcode)
				err = b.accept(ctx, s, o, parts)
			}
			o.close()
		}
		if err != nil {
			if volume.Excused(v, err) || ctx.Err() != nil {
				return err
			}
			parts[0].Why = err.Error()
			continue
		}
		for j := range parts {
			parts[j].Accepted = b.o.AcceptUnproved
		}
	}
	return nil
}

func oidOf(name string) string {
	m := volume.ObjectNames().FindStringSubmatch(name)
	return m[1] + "/" + m[2]
}

// unprovedObject reads an object that nothing is known of but its files.
type unprovedObject struct {
	key    *crypto.Key
	stream *crypto.Stream
	salt   []byte
	files  []*os.File
	sizes  []int64
	plain  int64 // bytes
	pos    int64
}

// openUnproved opens the parts of one object. All of them must lie on this tape.
func openUnproved(root *os.Root, keys *crypto.Keyring, parts []Unproved) (_ *unprovedObject, err error) {
	o := &unprovedObject{plain: -crypto.HeaderSize}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	for i, p := range parts {
		m := volume.ObjectNames().FindStringSubmatch(p.Name)
		if want := fmt.Sprintf("%04d", i+1); m[3] != want && (m[3] != "" || len(parts) > 1) {
			return nil, fmt.Errorf("part %s of it is not unproved on this tape", want)
		}
		if i > 0 && i < len(parts)-1 && p.Size != parts[0].Size || i > 0 && p.Size > parts[0].Size {
			return nil, fmt.Errorf("part %d is not as long as the first", i+1)
		}
		if o.key, err = keys.Key(m[1]); err != nil {
			return nil, err
		}
		f, err := changer.OpenFile(root, p.Name, os.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		o.files, o.sizes = append(o.files, f), append(o.sizes, p.Size)
		o.plain += p.Size
	}
	if len(parts) > 1 && parts[0].Size%catalog.ExtentSize != 0 || o.plain < pack.TarEnd {
		return nil, errors.New("it was cut off")
	}
	if o.salt, err = volume.HeaderSalt(o.files[0]); err != nil {
		return nil, err
	}
	o.stream, err = o.key.Stream(o.salt)
	return o, err
}

func (o *unprovedObject) close() {
	for _, f := range o.files {
		f.Close()
	}
}

// Read gives plain bytes.
func (o *unprovedObject) Read(p []byte) (int, error) {
	if o.pos >= o.plain {
		return 0, io.EOF
	}
	sealed, at := o.pos+crypto.HeaderSize, 0
	for sealed >= o.sizes[at] {
		sealed -= o.sizes[at]
		at++
	}
	p = p[:min(int64(len(p)), o.sizes[at]-sealed)]
	n, err := o.files[at].ReadAt(p, sealed)
	if n > 0 {
		o.stream.At(o.pos).XORKeyStream(p[:n], p[:n])
		o.pos += int64(n)
		return n, nil
	}
	return 0, err
}

// Seek lets the tar reader pass over contents.
func (o *unprovedObject) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += o.pos
	case io.SeekEnd:
		off += o.plain
	}
	if off < 0 {
		return 0, errors.New("seek before the start")
	}
	o.pos = off
	return off, nil
}

// headers lists the members. An error when the archive does not list to its end.
func (o *unprovedObject) headers(u *Unproved) error {
	o.pos = 0
	t := tar.NewReader(o)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return o.ended()
		}
		if err != nil {
			return fmt.Errorf("its tar headers: %w", err)
		}
		if len(u.Members) < unprovedMembers {
			u.Members = append(u.Members, h.Name)
		} else {
			u.More++
		}
	}
}

// ended tells whether the archive ends with two blocks of zeros where the object ends: archive/tar takes the end
// of the bytes for the end of the archive, too.
func (o *unprovedObject) ended() error {
	end := make([]byte, pack.TarEnd)
	if _, err := o.Seek(-pack.TarEnd, io.SeekEnd); err != nil {
		return err
	}
	if _, err := io.ReadFull(o, end); err != nil {
		return err
	}
	if slices.ContainsFunc(end, func(c byte) bool { return c != 0 }) {
		return errors.New("its tar archive has no end: it was cut off")
	}
	return nil
}
