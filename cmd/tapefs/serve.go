package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/web"
	"github.com/tapefs/tapefs/fs/recall"
)

// defaultListen is where the page is unless something else is asked for: this machine alone can reach it.
const defaultListen = "127.0.0.1:9180"

type serveCmd struct {
	Listen string `help:"Where browsers find it: host:port, or unix:/path. Default: web.listen of the configuration, else ${listen}." placeholder:"ADDRESS"`
}

func (c *serveCmd) Run(ctx context.Context, a *app) error {
	a.mounted = true // nobody sits at a terminal and waits
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := a.openPage(conf, db, cmp.Or(c.Listen, conf.Web.Listen, defaultListen))
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "tapefs: the page is at %s\n", p.url())
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		a.log.Warn("notify systemd", "err", err)
	}
	return p.server.Serve(ctx, p.listener)
}

// page is one that listens, and is not served yet.
type page struct {
	server   *web.Server
	listener net.Listener
}

// url is what a person types into a browser.
func (p *page) url() string {
	if p.listener.Addr().Network() == "unix" {
		return "unix:" + p.listener.Addr().String()
	}
	return "http://" + p.listener.Addr().String() + "/"
}

// openPage opens the address. Beyond this machine the page is shown only to those who have the token.
func (a *app) openPage(conf *settings, db *catalog.DB, address string) (*page, error) {
	token, err := pageToken(conf.Web)
	if err != nil {
		return nil, err
	}
	l, local, err := web.Listen(address)
	if err != nil {
		return nil, withHint(err, "is another tapefs serve running, or is the address another machine's?")
	}
	if !local && token == "" {
		l.Close()
		return nil, withHint(usagef("listen on %s: other machines could read the page, and no token is set", address),
			"web.token_file in %s names a file with one, or listen on %s", conf.File(), defaultListen)
	}
	server, err := web.New(web.Options{
		Catalog: db, Library: a.pageLibrary(conf, db), Queue: pageQueue{conf}, Contents: pageContents{conf}, Worker: pageWorker{a, conf, db}, RestoreTo: conf.Web.RestoreTo, Metrics: a.metricsHandler(conf, db),
		Pools: slices.Sorted(maps.Keys(conf.Pools)), Alive: job.Alive,
		Moment: func(text string) (time.Time, error) {
			var m moment
			err := m.UnmarshalText([]byte(text))
			return m.Time, err
		},
		Token: token, Hosts: conf.Web.Hosts, UserHeader: conf.Web.UserHeader, Proxies: conf.Web.Proxies,
		Closed: !local || conf.Web.UserHeader != "", Version: version, Log: a.log,
	})
	if err != nil {
		l.Close()
		return nil, err
	}
	return &page{server, l}, nil
}

// shortestToken is how long a token must be: guessing one of 16 letters and digits takes for ever.
const shortestToken = 16

// pageToken reads the token of the page; "" where no file is configured.
func pageToken(c config.Web) (string, error) {
	if c.TokenFile == "" {
		return "", nil
	}
	info, err := os.Stat(c.TokenFile)
	if err != nil {
		return "", withHint(usagef("read web.token_file: %w", err), "openssl rand -hex 32 > %s, and chmod 600", c.TokenFile)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", withHint(usagef("web.token_file %s: others may read it", c.TokenFile), "chmod 600 %s", c.TokenFile)
	}
	text, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", usagef("read web.token_file: %w", err)
	}
	if text = bytes.TrimSpace(text); len(text) < shortestToken {
		return "", withHint(usagef("web.token_file %s: the token is shorter than %d characters", c.TokenFile, shortestToken), "openssl rand -hex 32 > %s", c.TokenFile)
	}
	return string(text), nil
}

// pageLibrary is the library as the page wants it, nil when none is configured or it cannot be opened.
func (a *app) pageLibrary(conf *settings, db *catalog.DB) web.Library {
	lib, err := a.library(conf)
	if err != nil {
		a.log.Info("the page shows no library", "err", err)
		return nil
	}
	return &pageLibrary{conf, db, lib}
}

type pageLibrary struct {
	conf *settings
	db   *catalog.DB
	lib  *changer.Library
}

// Look reads the library.
func (p *pageLibrary) Look(ctx context.Context) (web.Shelf, error) {
	status, err := readLibrary(ctx, p.conf, p.db, p.lib)
	if err != nil {
		return web.Shelf{}, err
	}
	var shelf web.Shelf
	for _, d := range status.Drives {
		shelf.Drives = append(shelf.Drives, web.Drive{Element: d.Element, Serial: d.Serial, Full: d.Full, Barcode: d.Barcode,
			State: d.state(), Holder: d.Holder, Suspect: d.Suspect})
	}
	for _, s := range status.Slots {
		slot := web.Slot{Number: s.Slot, Mail: s.ImportExport, Full: s.Full, Barcode: s.Barcode}
		if s.Pool == "" {
			slot.Kind = s.State
		}
		shelf.Slots = append(shelf.Slots, slot)
	}
	return shelf, nil
}

// pageQueue asks the process that owns the cache, be it this one or another.
type pageQueue struct{ conf *settings }

// Waiting lists what readers wait for.
func (q pageQueue) Waiting(ctx context.Context) ([]web.Waiting, error) {
	owner, err := recall.AskOwner(q.conf.SocketPath())
	if errors.Is(err, recall.ErrNoOwner) {
		return nil, web.ErrNoMount
	}
	if err != nil {
		return nil, err
	}
	defer owner.Close()
	live, err := owner.Live(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]web.Waiting, 0, len(live.Waiting))
	for _, w := range live.Waiting {
		waiting := web.Waiting{Object: w.Object, Tapes: w.Tapes, Extents: w.Extents, Readers: w.Readers, Since: w.Since}
		for _, f := range w.Files {
			waiting.Files = append(waiting.Files, web.WaitingFile{ID: f.ID, User: f.User, Program: f.Program})
		}
		list = append(list, waiting)
	}
	return list, nil
}
