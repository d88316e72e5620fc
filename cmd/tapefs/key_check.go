package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/crypto"
	"github.com/tapefs/tapefs/fs/recall"
)

type keyCheckCmd struct {
	Copy  string `help:"A second copy of a key file, on another disk or a stick, or the page of key print typed again." placeholder:"FILE"`
	Tapes int    `help:"Open one object of each key on up to N tapes in the library, those in drives first; else only what the cache holds is opened." placeholder:"N"`
}

// sampleDrawn is how many objects of a key are drawn to find one of which the cache holds a file.
const sampleDrawn = 200

func (c *keyCheckCmd) Run(ctx context.Context, a *app) error {
	if c.Tapes < 0 {
		return usagef("--tapes %d: a number of tapes is wanted", c.Tapes)
	}
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	ring, err := conf.keyring()
	if err != nil {
		return err
	}
	known, err := db.Keys(ctx)
	if err != nil {
		return err
	}
	missing := []string{}
	var usable []string
	for _, k := range known {
		switch err := ring.Has(k.Fingerprint); {
		case errors.Is(err, crypto.ErrNoKey):
			missing = append(missing, k.Fingerprint)
		case err != nil:
			return fmt.Errorf("check key %s: %w", k.Fingerprint, err)
		default:
			usable = append(usable, k.Fingerprint)
		}
	}
	out := keyCheck{Keys: []checkedKey{}, Missing: missing}
	err = c.samples(ctx, a, conf, db, usable, &out)
	if c.Copy != "" {
		if copyErr := c.checkCopy(ctx, a, conf, db, ring, &out); copyErr != nil {
			return errors.Join(err, copyErr, out.print(a))
		}
	}
	if len(missing) > 0 {
		err = errors.Join(err, withHint(fmt.Errorf("check keys: no file for %s", strings.Join(missing, ", ")),
			"put the key files back into %s", conf.Keys.Dir))
	}
	return errors.Join(err, out.print(a))
}

// keyCheck is what key check found.
type keyCheck struct {
	Keys    []checkedKey `json:"keys"`
	Missing []string     `json:"missing"`        // fingerprints that the catalog knows and that have no file
	Copy    string       `json:"copy,omitempty"` // fingerprint of the key of which --copy is a good copy
}

// checkedKey is a key of which there is a file.
type checkedKey struct {
	Fingerprint string   `json:"fingerprint"`
	Objects     int      `json:"objects"` // opened and compared
	Wrong       []string `json:"wrong"`   // what was wrong with others
}

// print writes the JSON; people are told as it goes.
func (k keyCheck) print(a *app) error {
	if !a.JSON {
		return nil
	}
	return ui.WriteJSON(a.stdout, k)
}

func (k checkedKey) print(a *app, fromTapes bool) {
	for _, why := range k.Wrong {
		fmt.Fprintf(a.stdout, "%s: %s\n", k.Fingerprint, why)
	}
	switch {
	case k.Objects > 0:
		fmt.Fprintf(a.stdout, "%s: good; %s opened and compared\n", k.Fingerprint, ui.Count(int64(k.Objects), "object", "objects"))
	case fromTapes:
		fmt.Fprintf(a.stdout, "%s: good; no object of it lies on these tapes\n", k.Fingerprint)
	default:
		fmt.Fprintf(a.stdout, "%s: good; no object of it is in the cache, --tapes N opens some from tape\n", k.Fingerprint)
	}
}

// samples opens objects of each key and compares a file in each with the SHA-256 that the catalog has.
func (c *keyCheckCmd) samples(ctx context.Context, a *app, conf *settings, db *catalog.DB, keys []string, out *keyCheck) error {
	queue, barcodes, err := c.sampleFrom(ctx, a, conf, db)
	if err != nil {
		return err
	}
	defer queue.Close(context.WithoutCancel(ctx))
	var all error
	for _, id := range keys {
		key := checkedKey{Fingerprint: id, Wrong: []string{}}
		for _, barcode := range barcodes {
			if err := c.sample(ctx, queue, db, id, barcode, &key.Objects); err != nil {
				all = errors.Join(all, fmt.Errorf("check key %s: %w", id, err))
				key.Wrong = append(key.Wrong, err.Error())
			}
		}
		if !a.JSON {
			key.print(a, c.Tapes > 0)
		}
		out.Keys = append(out.Keys, key)
	}
	return all
}

// sampleFrom opens the queue to read samples through and lists the tapes to read them from. Without --tapes
// the queue has no library and the only name is "": any tape.
func (c *keyCheckCmd) sampleFrom(ctx context.Context, a *app, conf *settings, db *catalog.DB) (*recall.Queue, []string, error) {
	if c.Tapes == 0 {
		alone := *conf
		alone.Library = config.Library{}
		queue, err := a.newQueue(&alone, db, "")
		return queue, []string{""}, err
	}
	lib, err := a.library(conf)
	if err != nil {
		return nil, nil, err
	}
	inv, err := lib.Inventory(ctx)
	if err != nil {
		return nil, nil, err
	}
	var barcodes []string
	for _, barcode := range nearest(inv) {
		if tape, err := db.TapeByBarcode(ctx, string(barcode)); err == nil && tape.UUID != "" && len(barcodes) < c.Tapes {
			barcodes = append(barcodes, string(barcode))
		}
	}
	queue, err := a.newQueue(conf, db, "")
	return queue, barcodes, err
}

// nearest lists the tapes of a library, those in drives first.
func nearest(inv *changer.Inventory) []changer.Barcode {
	var all []changer.Barcode
	for _, d := range inv.Drives {
		if d.Full && d.Barcode != "" {
			all = append(all, d.Barcode)
		}
	}
	for _, s := range inv.Slots {
		if s.Full && s.Barcode != "" {
			all = append(all, s.Barcode)
		}
	}
	return all
}

// sample proves one file of one object.
func (c *keyCheckCmd) sample(ctx context.Context, queue *recall.Queue, db *catalog.DB, key, barcode string, proved *int) error {
	drawn := 1
	if c.Tapes == 0 {
		drawn = sampleDrawn
	}
	files, err := db.SampleFiles(ctx, key, barcode, drawn)
	if err != nil {
		return err
	}
	for _, f := range files {
		if c.Tapes == 0 && queue.CachedBytes(f.ID) < f.Size {
			continue
		}
		if err := compareSample(ctx, queue, f); err != nil {
			return fmt.Errorf("object %s on %s: %w", f.OID, f.Barcode, err)
		}
		*proved++
		return nil
	}
	return nil
}

func compareSample(ctx context.Context, queue *recall.Queue, f catalog.SampleFile) error {
	file, err := queue.Open(ctx, f.ID)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(sampleReader{ctx, file}, 0, f.Size)); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), f.SHA256) {
		return fmt.Errorf("version %d opens to other bytes than were archived: %w", f.ID, crypto.ErrWrongKey)
	}
	return nil
}

// sampleReader makes a recall.File an io.ReaderAt.
type sampleReader struct {
	ctx  context.Context
	file *recall.File
}

func (r sampleReader) ReadAt(p []byte, off int64) (int, error) { return r.file.ReadAt(r.ctx, p, off) }

// checkCopy proves that a file holds one of our keys and is not that very key file.
func (c *keyCheckCmd) checkCopy(ctx context.Context, a *app, conf *settings, db *catalog.DB, ring *crypto.Keyring, out *keyCheck) error {
	text, err := os.ReadFile(c.Copy)
	if err != nil {
		return fmt.Errorf("read copy: %w", err)
	}
	var copied *crypto.Key
	if crypto.IsSealedKey(text) {
		copied, err = conf.openSealed(text, filepath.Base(c.Copy))
	} else {
		copied, err = crypto.ParseKey(copiedKey(text))
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w", c.Copy, err)
	}
	id := copied.Fingerprint()
	own, err := ring.Key(id)
	if err != nil {
		return fmt.Errorf("copy %s: key %s: %w", c.Copy, id, err)
	}
	ownInfo, err := os.Stat(ring.Path(own.Fingerprint()))
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	copyInfo, err := os.Stat(c.Copy)
	if err != nil {
		return fmt.Errorf("read copy: %w", err)
	}
	if os.SameFile(ownInfo, copyInfo) {
		return withHint(errors.New("check copy: that is the key file itself"),
			"copy it to another disk, or print it, and show that copy")
	}
	if _, err := db.EnsureKey(ctx, id, crypto.CTR, crypto.DefaultIterations); err != nil {
		return fmt.Errorf("record key: %w", err)
	}
	if err := db.SetKeyCopySeen(ctx, id, time.Now().UTC()); err != nil {
		return fmt.Errorf("record copy: %w", err)
	}
	if out.Copy = id; !a.JSON {
		fmt.Fprintf(a.stdout, "%s: the copy %s is good\n", id, c.Copy)
	}
	return nil
}

// copiedKey finds the key in what key print wrote, or typed from paper: 64 hex digits, with blanks and over
// two lines if need be.
func copiedKey(text []byte) []byte {
	isHex := func(b []byte) bool { return len(bytes.Trim(b, "0123456789abcdef")) == 0 }
	var before []byte
	for line := range bytes.Lines(text) {
		digits := bytes.ToLower(bytes.Join(bytes.Fields(line), nil))
		if both := append(bytes.Clone(before), digits...); len(digits) == 32 && len(both) == 64 && isHex(both) {
			return append(both, '\n')
		}
		if len(digits) == 64 && isHex(digits) {
			return append(digits, '\n')
		}
		before = digits
	}
	return text
}
