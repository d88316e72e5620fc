package verify

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// errProof: the openssl program took no more of an object.
var errProof = errors.New("the openssl program ended early")

// proof is an openssl program that opens one object while its sealed bytes are read from tape.
type proof struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	stderr changer.Clip
	files  chan provedFiles
}

type provedFiles struct {
	compared int
	err      error
}

func (p *proof) Write(b []byte) (int, error) {
	n, err := p.in.Write(b)
	if err != nil {
		err = fmt.Errorf("%w: %w", errProof, err)
	}
	return n, err
}

// proveCopy reads all parts of a copy in order, lets the openssl program open them, and compares
// each file with the sum that the catalog has of its content.
func (v *verifier) proveCopy(ctx context.Context, parts []catalog.VerifyPart) error {
	o, err := v.env.DB.PackedObject(ctx, parts[0].Object)
	if err != nil {
		return err
	}
	if o.Cipher == crypto.CBC { // of an imported archive: no tar, and no sums of files
		_, err := v.readPart(ctx, parts[0], nil)
		return err
	}
	// What was damaged and is whole elsewhere is read for itself: it takes part in no copy.
	var copied []catalog.VerifyPart
	for _, p := range parts {
		if p.State != catalog.PartDamaged || p.OpenDamage {
			copied = append(copied, p)
		} else if _, err := v.readPart(ctx, p, nil); err != nil {
			return err
		}
	}
	if parts = copied; len(parts) == 0 {
		return nil
	}
	if sizeOf(parts) != o.SealedSize { // a part is damaged: the others are still read
		for _, p := range parts {
			if _, err := v.readPart(ctx, p, nil); err != nil {
				return err
			}
		}
		return nil
	}
	if ok, err := v.mount(ctx, parts[0].Barcode); err != nil || !ok {
		return err
	}
	p, err := v.startProof(ctx, o)
	if err != nil {
		return err
	}
	good := true
	for i := range parts {
		out := p
		if !good {
			out = nil
		}
		ok, rerr := v.readPart(ctx, parts[i], out)
		if err = errors.Join(err, rerr); err != nil {
			good = false
			break
		}
		good = good && ok
	}
	damaged := len(v.sum.Damaged)
	res := p.finish(good)
	v.sum.Files += res.compared
	if err != nil {
		return err
	}
	// Where a part is bad or its tape away that is said already.
	if res.err != nil && (good || errors.Is(res.err, errContent)) && damaged == len(v.sum.Damaged) {
		v.found(parts[0], o.OID, res.err)
	}
	return nil
}

// startProof starts the program. The key reaches it through a pipe.
func (v *verifier) startProof(ctx context.Context, o catalog.PlannedObject) (*proof, error) {
	secret, err := v.env.Keys.Key(o.Fingerprint)
	if err != nil {
		return nil, fmt.Errorf("open object %s with openssl: %w", o.OID, err)
	}
	keys, err := v.env.DB.Keys(ctx)
	if err != nil {
		return nil, err
	}
	var key catalog.SealKey
	for _, k := range keys {
		if k.Fingerprint == o.Fingerprint {
			key = k
		}
	}
	want := map[string]catalog.Version{}
	for _, m := range o.Versions {
		if m.Kind != catalog.File {
			continue
		}
		name, err := v.env.DB.Path(ctx, m.ID)
		if err != nil {
			return nil, fmt.Errorf("open object %s with openssl: %w", o.OID, err)
		}
		want[strings.TrimPrefix(name, "/")] = m
	}
	p := &proof{files: make(chan provedFiles, 1)}
	p.cmd = exec.CommandContext(ctx, "openssl", "enc", "-d", "-"+key.Cipher, "-pbkdf2", "-iter", fmt.Sprint(key.Iterations), "-md", "sha256", "-pass", "fd:3")
	// The file may be sealed; a pipe holds it before anybody reads.
	pass, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("open object %s with openssl: %w", o.OID, err)
	}
	defer pass.Close()
	_, err = io.WriteString(w, secret.Text()+"\n")
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("open object %s with openssl: %w", o.OID, err)
	}
	p.cmd.ExtraFiles = []*os.File{pass}
	p.cmd.Stderr = &p.stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("open object %s with openssl: %w", o.OID, err)
	}
	go func() {
		var res provedFiles
		res.compared, res.err = compareFiles(out, want)
		_, _ = io.Copy(io.Discard, out) // or the program would wait for a reader
		p.files <- res
	}()
	return p, nil
}

// finish ends the program, which got all bytes if whole, and says what it gave.
func (p *proof) finish(whole bool) provedFiles {
	if !whole {
		_ = p.cmd.Process.Kill()
	}
	p.in.Close()
	res := <-p.files
	err := p.cmd.Wait()
	if whole && err != nil && res.err == nil {
		res.err = fmt.Errorf("openssl: %w: %.1000s", err, strings.TrimSpace(p.stderr.String()))
	}
	return res
}

// errContent: a file's content is not what the catalog has.
var errContent = errors.New("the openssl program gives other content than what was archived")

// compareFiles reads a tar stream to its end and compares each file with what is wanted by its name.
func compareFiles(r io.Reader, want map[string]catalog.Version) (compared int, err error) {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return compared, fmt.Errorf("read what openssl opened: %w", err)
		}
		m, ok := want[h.Name]
		if h.Typeflag == tar.TypeLink {
			delete(want, h.Name)
			continue
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if !ok {
			return compared, fmt.Errorf("%w: %q is no file of this object", errContent, h.Name)
		}
		delete(want, h.Name)
		sum := sha256.New()
		if _, err := io.Copy(sum, archive); err != nil {
			return compared, fmt.Errorf("read what openssl opened: %w", err)
		}
		if m.State == catalog.Void || len(m.SHA256) == 0 {
			continue
		}
		if !bytes.Equal(sum.Sum(nil), m.SHA256) {
			return compared, fmt.Errorf("%w: %q", errContent, h.Name)
		}
		compared++
	}
	for name, m := range want {
		if m.State != catalog.Void {
			return compared, fmt.Errorf("%w: %q is missing", errContent, name)
		}
	}
	return compared, nil
}
