package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

// configuration loads the configuration that the flags name.
func (a *app) configuration() (*settings, error) {
	return loadSettings(a.Config, a.State)
}

// readCatalog opens the catalog for reading. Close it.
func (a *app) readCatalog(ctx context.Context) (*settings, *catalog.DB, error) {
	c, err := a.configuration()
	if err != nil {
		return nil, nil, err
	}
	db, err := catalog.OpenReadOnly(ctx, c.CatalogPath())
	if err != nil {
		return nil, nil, openError(err, c)
	}
	return c, db, nil
}

// writeCatalog opens the catalog for writing. Close it.
func (a *app) writeCatalog(ctx context.Context) (*settings, *catalog.DB, error) {
	c, err := a.configuration()
	if err != nil {
		return nil, nil, err
	}
	db, err := catalog.Open(ctx, c.CatalogPath())
	if err != nil {
		return nil, nil, openError(err, c)
	}
	return c, db, nil
}

func openError(err error, c *settings) error {
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(err, "%s", noCatalogHint(c))
	}
	return err
}

// noCatalogHint is what to do when there is a configuration and no catalog: init refuses then.
func noCatalogHint(c *settings) string {
	return fmt.Sprintf("is %s the right state folder, and is its disk mounted? If the catalog is lost, tapefs catalog rebuild reads it back from the tapes", c.State)
}

// library opens the configured library.
func (a *app) library(c *settings) (*changer.Library, error) {
	if len(c.Library.Drives) == 0 || c.Library.Changer == "" {
		return nil, withHint(usagef("no tape library is configured"),
			"set library.changer and library.drives in %s", c.File())
	}
	if err := os.MkdirAll(c.RunDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make run folder: %w", err)
	}
	if errno := unix.Access(c.RunDir(), unix.W_OK|unix.X_OK); errno != nil { // no lock can be taken, so no drive be used
		return nil, fmt.Errorf("use run folder: %w", &fs.PathError{Op: "write", Path: c.RunDir(), Err: errno})
	}
	settings := c.ChangerConfig()
	settings.Waits = a.waits
	lib, err := changer.Open(settings, a.log)
	if err != nil {
		return nil, fmt.Errorf("open library: %w", err)
	}
	a.stopper.uses(lib.AtWork)
	lib.Know(c.knownTapes)
	lib.OnCheck(func(_ context.Context, found changer.Checked) error { return recordCheck(c, found) })
	timed := a.keepsTimes(c)
	lib.OnLoaded(func(took time.Duration) { timed(catalog.Timed{What: catalog.TimedLoad, Times: 1, Took: took}) })
	lib.OnWear(func(w changer.Wear) {
		err := recordInCatalog(c, func(ctx context.Context, db *catalog.DB) error { return volume.RecordWear(ctx, db, w) })
		if err != nil { // no job depends on it
			a.log.Debug("record what a drive says of itself", "err", err)
		}
	})
	return lib, nil
}

// keepsTimes returns what records how long the library took, for estimates. No job depends on it.
func (a *app) keepsTimes(c *settings) func(...catalog.Timed) {
	return func(list ...catalog.Timed) {
		err := recordInCatalog(c, func(ctx context.Context, db *catalog.DB) error { return db.AddTimed(ctx, list...) })
		if err != nil {
			a.log.Debug("record how long the library took", "err", err)
		}
	}
}

// recordCheck records what was found of a tape that was checked by itself, because a session died on it.
func recordCheck(c *settings, found changer.Checked) error {
	return recordInCatalog(c, func(ctx context.Context, db *catalog.DB) error {
		t, err := db.TapeByBarcode(ctx, string(found.Barcode))
		if err != nil {
			return err
		}
		if !strings.EqualFold(t.UUID, found.UUID) {
			return fmt.Errorf("tape %s: %w: the catalog knows %s, and %s was checked", t.Barcode, changer.ErrWrongVolume, t.UUID, found.UUID)
		}
		_, err = volume.Checked(ctx, db, t, found.Generation, found.At)
		return err
	})
}

// waits tells the person at the terminal, or the mail of cron, what a command waits for. A mount, whose readers wait each for himself,
// has it in its log.
func (a *app) waits(w changer.Waiting) {
	if a.mounted {
		a.log.Info(w.String())
		return
	}
	fmt.Fprintln(a.stderr, w)
}

// knownTapes lists the tapes of the catalog, none while there is no catalog.
func (c *settings) knownTapes(ctx context.Context) ([]changer.Barcode, error) {
	db, err := catalog.OpenReadOnly(ctx, c.CatalogPath())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return tapeNames(ctx, db)
}

func tapeNames(ctx context.Context, db *catalog.DB) ([]changer.Barcode, error) {
	tapes, err := db.Tapes(ctx)
	names := make([]changer.Barcode, len(tapes))
	for i, t := range tapes {
		names[i] = changer.Barcode(t.Barcode)
	}
	return names, err
}

// spelt gives the catalog's spelling of a barcode that somebody typed with or without its media suffix.
func spelt(ctx context.Context, db *catalog.DB, word string) (string, error) {
	names, err := tapeNames(ctx, db)
	return string(changer.Barcode(word).AmongSame(names)), err
}

// newArchiver opens all else that writing to tape needs.
func (a *app) newArchiver(c *settings, db *catalog.DB, progress archiver.Progress) (*archiver.Archiver, error) {
	keys, err := c.keyring()
	if err != nil {
		return nil, err
	}
	lib, err := a.library(c)
	if err != nil {
		return nil, err
	}
	return archiver.New(c.archiver(a, db, keys, lib, progress))
}

// newReader opens what looking at sources needs: no library, and nothing is written to the catalog.
func (a *app) newReader(c *settings, db *catalog.DB) (*archiver.Archiver, error) {
	keys, err := c.keyring()
	if err != nil {
		return nil, err
	}
	return archiver.New(c.archiver(a, db, keys, nil, nil))
}

// archiver wires an archiver.
func (c *settings) archiver(a *app, db *catalog.DB, keys *crypto.Keyring, lib *changer.Library, progress archiver.Progress) archiver.Config {
	return archiver.Config{
		DB:             db,
		Keys:           keys,
		Library:        lib,
		SpoolDir:       c.Spool.Dir,
		SpoolMax:       int64(c.Spool.Max),
		RunDir:         c.RunDir(),
		ReceiptDir:     filepath.Join(c.State, "receipts"),
		Own:            c.ownFolders(),
		Sources:        c.ArchiverSources(),
		Pools:          c.ArchiverPools(),
		Rsync:          c.Tools.Rsync,
		SSH:            c.Tools.SSH,
		SyncBytes:      int64(c.Tools.SyncBytes),
		SyncEvery:      time.Duration(c.Tools.SyncEvery),
		RequireKeyCopy: !c.Keys.AcceptSingleKey,
		Log:            a.log,
		Progress:       progress,
		WriterSlice:    time.Duration(c.Recall.WriterSlice),
		Waits:          a.waits,
		Version:        programVersion(),
	}
}

// ownFolders are the folders with files of the archive itself.
func (c *settings) ownFolders() []string {
	own := []string{c.State, c.Keys.Dir, c.Spool.Dir, c.Cache.Dir}
	// The programs of a virtual library lie in its folder, beside its tapes.
	if bin := filepath.Dir(c.Library.Programs.Mtx); filepath.IsAbs(bin) {
		if _, err := os.Lstat(filepath.Join(filepath.Dir(bin), "library.json")); err == nil {
			own = append(own, filepath.Dir(bin))
		}
	}
	return own
}
