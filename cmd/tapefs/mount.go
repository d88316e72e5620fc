package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
	"github.com/tapefs/tapefs/fs"
	"github.com/tapefs/tapefs/fs/recall"
)

type mountCmd struct {
	Mountpoint    string `arg:"" help:"An empty directory."`
	Daemon        bool   `help:"Return once the mount answers, and serve in the background."`
	AllowNonEmpty bool   `help:"Mount over a directory that holds files, an archive or a source: they cannot be seen until it is unmounted."`

	Options []string `name:"options" short:"o" placeholder:"OPTION,..." help:"Options as mount(8) has them: allow_other, at=TIME, config=FILE and more; mount.tapefs(8) lists them."`
	Sloppy  bool     `hidden:"" help:"Pass over unknown options (mount -s)."`

	Listen string `help:"Also show the page for browsers (tapefs serve) at host:port or unix:/path." placeholder:"ADDRESS"`

	At moment `help:"Show the archive as it was then: ${moment}." placeholder:"TIME"`

	ReadyFD int `hidden:"" help:"File descriptor to report readiness on (given by --daemon)."`
	KeysFD  int `hidden:"" help:"File descriptor to read opened keys from (given by --daemon)."`

	chosen mountOptions // what Options say
}

func (c *mountCmd) Run(ctx context.Context, a *app) error {
	a.mounted = true
	if err := c.takeOptions(a); err != nil {
		return err
	}
	dir, err := c.mountPoint(a)
	if err != nil {
		return err
	}
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	if err := c.mayMountOn(conf, dir); err != nil {
		return err
	}
	if c.Daemon {
		return c.background(a, dir)
	}
	return c.serve(ctx, a, dir)
}

// takeOptions reads what -o says. What is a flag, too, becomes that flag.
func (c *mountCmd) takeOptions(a *app) error {
	o, err := parseMountOptions(c.Options, c.Sloppy)
	if err != nil {
		return err
	}
	a.Config, a.State = cmp.Or(o.config, a.Config), cmp.Or(o.state, a.State)
	c.AllowNonEmpty = c.AllowNonEmpty || o.nonEmpty
	if !o.at.IsZero() {
		c.At = o.at
	}
	c.chosen = o
	return nil
}

// serve mounts, and unmounts on a signal or returns when somebody else unmounted.
func (c *mountCmd) serve(ctx context.Context, a *app, dir string) error {
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	c.chosen.apply(conf)
	if err := c.takeKeys(conf); err != nil {
		return err
	}
	var shown *page
	if c.Listen != "" {
		if shown, err = a.openPage(conf, db, c.Listen); err != nil {
			return err
		}
		defer shown.listener.Close()
	}
	queue, err := a.newQueue(conf, db, wantedByMount)
	if err != nil {
		return err
	}
	if err := forgetWanted(ctx, conf, db, wantedByMount); err != nil {
		a.log.Warn("forget what earlier mounts wanted", "err", err)
	}
	defer a.recoverDrives(ctx, conf)()
	defer a.notifier(conf).watchCatalog(ctx, db)()
	allowOther := allowOtherPermitted()
	if conf.Mount.AllowOther != nil {
		allowOther = *conf.Mount.AllowOther
	}
	m, err := fs.Serve(ctx, dir, db, opener{queue}, fs.Options{
		Owners: conf.Mount.Owners, AllowOther: allowOther, Log: a.log,
		Outside: queue.Outside, Deny: *conf.Recall.Deny, DenyUIDs: conf.Recall.DenyUIDs, MaxWaiting: conf.Recall.MaxWaiting,
		Reports: reports(conf, db, queue), At: c.At.Time, HideVanished: conf.Mount.HideVanished,
		FsName: c.chosen.fsName, NoExec: c.chosen.noExec,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("mount %s: %w", dir, err), queue.Close(context.WithoutCancel(ctx)))
	}
	defer a.showPage(ctx, shown)()
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		a.log.Warn("notify systemd", "err", err)
	}
	if c.ReadyFD > 0 {
		if err := reportReady(c.ReadyFD); err != nil {
			a.log.Warn("report readiness", "err", err)
		}
	}
	waited := make(chan error, 1)
	go func() { waited <- m.Wait() }()
	err = c.untilUnmounted(ctx, a, m, waited)
	return errors.Join(err, queue.Close(context.WithoutCancel(ctx)))
}

// recoverDrives unmounts, in the background, the tapes that a mount which was killed left behind: nobody may want those drives for long.
// Call end.
func (a *app) recoverDrives(ctx context.Context, conf *settings) (end func()) {
	if conf.Library.Changer == "" || len(conf.Library.Drives) == 0 {
		return func() {}
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lib, err := a.library(conf)
		if err == nil {
			err = lib.Recover(ctx)
		}
		if err != nil && ctx.Err() == nil {
			a.log.Warn("recover drives", "err", err)
		}
	}()
	return func() {
		stop()
		<-done
	}
}

// showPage serves the page of a mount, if it has one. Call end.
func (a *app) showPage(ctx context.Context, p *page) (end func()) {
	if p == nil {
		return func() {}
	}
	a.log.Info("the page is served", "at", p.url())
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.server.Serve(ctx, p.listener); err != nil {
			a.log.Warn("the page is shown no longer", "err", err)
		}
	}()
	return func() {
		stop()
		<-done
	}
}

// untilUnmounted waits for the end. After a signal it unmounts, again and again while files are open.
func (c *mountCmd) untilUnmounted(ctx context.Context, a *app, m *fs.Mount, waited <-chan error) error {
	select {
	case err := <-waited:
		return err
	case <-ctx.Done():
	}
	retry := time.NewTicker(500 * time.Millisecond)
	defer retry.Stop()
	for said := false; ; {
		err := m.Unmount()
		if err == nil {
			return <-waited
		}
		if !said {
			a.log.Warn("files are open in the mount; waiting for them", "err", err)
			said = true
		}
		select {
		case err := <-waited:
			return err
		case <-retry.C:
		}
	}
}

// background starts this command again, detached, and waits until its mount answers.
func (c *mountCmd) background(a *app, dir string) error {
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the tapefs program: %w", err)
	}
	if err := os.MkdirAll(conf.RunDir(), 0o700); err != nil {
		return fmt.Errorf("make run folder: %w", err)
	}
	logPath := filepath.Join(conf.RunDir(), "mount.log")
	logFile, err := os.OpenFile(logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer logFile.Close()
	started, err := logFile.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	ready, report, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	defer ready.Close()

	keys, err := handOverKeys(conf)
	if err != nil {
		return err
	}
	defer keys.Close()
	args := []string{"--config", conf.File(), "--state", conf.State, "--log-format", a.LogFormat}
	if a.Verbose {
		args = append(args, "-v")
	}
	args = append(args, "mount", "--ready-fd", "3", "--keys-fd", "4")
	if c.AllowNonEmpty {
		args = append(args, "--allow-non-empty")
	}
	if c.Listen != "" {
		args = append(args, "--listen", c.Listen)
	}
	if !c.At.IsZero() {
		args = append(args, "--at", c.At.Format(time.RFC3339Nano))
	}
	for _, option := range c.Options {
		// These are resolved: they stand above as flags.
		if name, _, _ := strings.Cut(option, "="); !slices.Contains([]string{"config", "state", "at"}, name) {
			args = append(args, "-o", option)
		}
	}
	if c.Sloppy {
		args = append(args, "--sloppy")
	}
	cmd := exec.Command(self, append(args, "--", dir)...)
	cmd.Args[0] = "tapefs" // not the name by which mount(8) ran this program
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{report, keys}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if abs, err := filepath.Abs(conf.File()); err == nil {
		cmd.Args[2] = abs
	}
	err = cmd.Start()
	report.Close()
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	if word, err := io.ReadAll(ready); err == nil && len(word) > 0 {
		return cmd.Process.Release()
	}
	// It ended without a word: what it logged says why.
	err = cmd.Wait()
	text, readErr := readFrom(logPath, started)
	if readErr != nil || len(text) == 0 {
		return withHint(fmt.Errorf("mount in the background ended (%w) and left nothing in its log", err), "is the disk of %s full? Without --daemon it says what is wrong", logPath)
	}
	a.stderr.Write(text)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exitStatus(exit.ExitCode())
	}
	return withHint(fmt.Errorf("mount in the background ended: %w", err), "see %s", logPath)
}

// handOverKeys opens sealed keys here, where there is a terminal, and returns the end of a pipe from which the
// process in the background reads them. Close it.
func handOverKeys(conf *settings) (*os.File, error) {
	ring, err := conf.keyring()
	if err != nil {
		return nil, err
	}
	var text []byte
	for _, id := range ring.Fingerprints() {
		if !ring.IsSealed(id) {
			continue
		}
		key, err := ring.Key(id)
		if err != nil {
			return nil, err
		}
		text = append(text, key.Text()+"\n"...)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("hand over keys: %w", err)
	}
	// A pipe takes 64 KiB, a thousand keys, before anybody reads.
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		r.Close()
		return nil, fmt.Errorf("hand over keys: %w", err)
	}
	return r, nil
}

// takeKeys opens all keys that reading may need: nobody can be asked later.
func (c *mountCmd) takeKeys(conf *settings) error {
	if c.KeysFD > 0 {
		ring, err := conf.keyring()
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(c.KeysFD), "keys")
		if f == nil {
			return fmt.Errorf("no file descriptor %d", c.KeysFD)
		}
		text, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("take over keys: %w", err)
		}
		for line := range bytes.Lines(text) {
			key, err := crypto.ParseKey(line)
			if err != nil {
				return fmt.Errorf("take over keys: %w", err)
			}
			ring.Give(key)
		}
	}
	return conf.openKeys()
}

func readFrom(path string, offset int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, offset, 64<<10))
}

func reportReady(fd int) error {
	f := os.NewFile(uintptr(fd), "ready")
	if f == nil {
		return fmt.Errorf("no file descriptor %d", fd)
	}
	_, err := f.WriteString("ready\n")
	return errors.Join(err, f.Close())
}

var userAllowOther = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^\s*user_allow_other\s*$`) })

// allowOtherPermitted: root may let others in, users when /etc/fuse.conf says so.
func allowOtherPermitted() bool {
	if os.Geteuid() == 0 {
		return true
	}
	conf, err := os.ReadFile("/etc/fuse.conf")
	return err == nil && userAllowOther().Match(conf)
}

// Who wants a tape, as the catalog keeps it.
const (
	wantedByMount    = "mount"
	wantedByPrefetch = "prefetch"
)

// newQueue opens the recall queue of a mount, or of another process that works for long; key check gives no
// reason and is not asked by others. Without a configured library it serves spool and cache.
func (a *app) newQueue(conf *settings, db *catalog.DB, reason string) (*recall.Queue, error) {
	keys, err := conf.keyring()
	if err != nil {
		return nil, err
	}
	options := recall.Options{
		CacheDir: conf.Cache.Dir, CacheMax: int64(conf.Cache.Max), SpoolDir: conf.Spool.Dir,
		IdleUnmount: time.Duration(conf.Library.IdleUnmount), Log: a.log,
		CacheReserve: int64(conf.Cache.Reserve), OfflineWait: time.Duration(conf.Mount.OfflineWait), UserSlice: time.Duration(conf.Recall.UserSlice), ReaderSlice: time.Duration(conf.Recall.ReaderSlice),
		Ahead: int64(*conf.Recall.Prefetch),
		Want: func(barcode string, wanted bool) {
			if err := recordWanted(conf, barcode, reason, wanted); err != nil {
				a.log.Warn("record wanted tape", "err", err)
			}
		},
		Surveyed: func(s catalog.Surveyed) {
			if err := recordInCatalog(conf, func(ctx context.Context, db *catalog.DB) error { return db.RecordSurvey(ctx, s) }); err != nil {
				a.log.Warn("record sums of an imported file", "err", err)
			}
		},
		Moved: func(moves []catalog.Move) {
			if err := recordInCatalog(conf, func(ctx context.Context, db *catalog.DB) error { return db.Moves().Record(ctx, moves) }); err != nil {
				a.log.Warn("record what motions of a tape took", "err", err)
			}
		},
		SpoolDamaged: func(id catalog.ID, why error) {
			if err := recordInCatalog(conf, func(ctx context.Context, db *catalog.DB) error { return db.NoteSpoolRot(ctx, id, why) }); err != nil {
				a.log.Warn("record damage in the spool", "err", err)
			}
		},
		Timed: a.keepsTimes(conf),
		Damaged: func(cp catalog.CopyPart, lost bool, why error) {
			err := recordInCatalog(conf, func(ctx context.Context, db *catalog.DB) error { return db.FoundDamaged(ctx, cp, lost, cp.Size, why) })
			if err != nil {
				a.log.Warn("record damage", "err", err)
			}
		},
	}
	if reason != "" {
		options.Socket = conf.SocketPath()
	}
	if conf.Library.Changer == "" || len(conf.Library.Drives) == 0 {
		return recall.New(db, keys, nil, options)
	}
	lib, err := a.library(conf)
	if err != nil {
		return nil, err
	}
	return recall.New(db, keys, lib, options)
}

// recordWanted notes in the catalog that a reader needs a tape, or that it is back.
func recordWanted(conf *settings, barcode, reason string, wanted bool) error {
	return recordInCatalog(conf, func(ctx context.Context, db *catalog.DB) error {
		if !wanted {
			return db.Unwant(ctx, barcode, reason)
		}
		_, err := db.Want(ctx, barcode, reason)
		return err
	})
}

// recordInCatalog opens the catalog for writing just for one note: the mount itself only reads, and notes are rare.
func recordInCatalog(conf *settings, note func(ctx context.Context, db *catalog.DB) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := catalog.Open(ctx, conf.CatalogPath())
	if err != nil {
		return err
	}
	return errors.Join(note(ctx, db), db.Close())
}

// forgetWanted takes back what earlier readers asked for: none waits when a mount or a prefetch begins.
func forgetWanted(ctx context.Context, conf *settings, db *catalog.DB, reason string) error {
	list, err := db.Wanted(ctx)
	if err != nil {
		return err
	}
	for _, w := range list {
		if w.Reason == reason {
			if err := recordWanted(conf, w.Barcode, reason, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// opener is the queue as package fs wants it.
type opener struct{ *recall.Queue }

func (o opener) Open(ctx context.Context, id catalog.ID, user uint32) (fs.Content, error) {
	f, err := o.Queue.OpenFor(ctx, id, user)
	if err != nil {
		return nil, err
	}
	return f, nil
}
