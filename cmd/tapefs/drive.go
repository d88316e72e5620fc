package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type driveCmd struct {
	Status  driveStatusCmd  `cmd:"" help:"State of the drives, as they say themselves."`
	Inquiry driveInquiryCmd `cmd:"" help:"Maker, product and firmware of changer and drives."`
	Trust   driveTrustCmd   `cmd:"" help:"Write again with a drive that was set aside because tapes failed in it."`
	Eject   driveEjectCmd   `cmd:"" help:"Unthread a drive's tape, as its button does."`
	Clean   driveCleanCmd   `cmd:"" help:"Clean a drive with a cleaning cartridge of the library, and count its use."`
}

type driveStatusCmd struct {
	Drive string `arg:"" optional:"" help:"Number or serial of a drive; else all."`
}

// driveStateJSON is one drive as drive status prints it.
type driveStateJSON struct {
	Element        int    `json:"element"`
	Serial         string `json:"serial"`
	Device         string `json:"device"`
	Tape           string `json:"tape"`
	Barcode        string `json:"barcode,omitempty"`
	State          string `json:"state"` // empty, loaded, mounted, ejected, not ready, unknown
	WriteProtected bool   `json:"write_protected"`
	WantsCleaning  bool   `json:"wants_cleaning"`
	Density        string `json:"density,omitempty"`
	File           int64  `json:"file"`  // position, -1 unknown
	Block          int64  `json:"block"` // position, -1 unknown
	Holder         string `json:"holder,omitempty"`
	Problem        string `json:"problem,omitempty"`

	Proved *time.Time `json:"proved,omitempty"` // when the drive was last seen to be the one that the changer fills
	Wear   *wearJSON  `json:"wear,omitempty"`
}

func driveStateOf(s changer.DriveState) driveStateJSON {
	d := driveStateJSON{Element: s.Element, Serial: s.Serial, Device: s.Device, Tape: s.Tape, Barcode: string(s.Barcode),
		WriteProtected: s.Status.WriteProtected, WantsCleaning: s.Status.Cleaning, Density: s.Status.Density,
		File: s.Status.File, Block: s.Status.Block, Holder: s.Holder, Problem: s.Problem, Proved: ui.TimeOrNil(s.Proof.At)}
	switch {
	case s.Mounted:
		d.State = "mounted"
	case s.Away:
		d.State, d.File, d.Block = "not there", -1, -1
	case s.Problem != "":
		d.State = "unknown"
	case s.Status.Online:
		d.State = "loaded"
	case s.Status.DoorOpen && s.Barcode != "":
		d.State = "ejected"
	case s.Status.DoorOpen:
		d.State = "empty"
	case s.Barcode.Cleaning():
		d.State = "cleaning"
	default: // a bare IM_REP_EN
		d.State = "not ready"
	}
	return d
}

func (c *driveStatusCmd) Run(ctx context.Context, a *app) error {
	h, err := a.atLibrary()
	if err != nil {
		return err
	}
	only := ""
	if c.Drive != "" {
		d, err := h.driveNamed(c.Drive)
		if err != nil {
			return err
		}
		only = d.Serial
	}
	states, err := h.lib.Drives(ctx) // with the error come the states as far as they are known
	rows := []driveStateJSON{}
	for _, s := range states {
		if only == "" || s.Serial == only {
			rows = append(rows, driveStateOf(s))
		}
	}
	addDriveWear(ctx, h, rows)
	if a.JSON {
		if perr := ui.WriteJSON(a.stdout, rows); perr != nil {
			return perr
		}
		return err
	}
	t := ui.NewTable(a.stdout, "DRIVE", "SERIAL", "STATE", "TAPE", "MEDIUM", "AT", "USED BY", "DEVICES")
	for _, r := range rows {
		state := r.State
		if r.WriteProtected {
			state += ", write-protected"
		}
		if r.WantsCleaning {
			state += ", wants cleaning"
		}
		at := "-"
		if r.Block >= 0 {
			at = fmt.Sprintf("file %d block %d", r.File, r.Block)
		}
		t.Row(fmt.Sprint(r.Element), r.Serial, state, ui.OrDash(r.Barcode), ui.OrDash(r.Density), at, ui.OrDash(r.Holder), r.Device+" "+r.Tape)
	}
	if ferr := t.Flush(); ferr != nil {
		return ferr
	}
	for _, r := range rows {
		if r.Proved == nil && r.State != "not there" && h.lib.Changer() != changer.None {
			fmt.Fprintf(a.stdout, "drive %d is not proved: nothing is formatted or erased in it before its next load has proved it, or: tapefs doctor --fix-config --prove\n", r.Element)
		}
		if r.Problem != "" {
			fmt.Fprintf(a.stdout, "drive %d: %s\n", r.Element, r.Problem)
		}
		if r.WantsCleaning {
			fmt.Fprintf(a.stdout, "drive %d asks to be cleaned: tapefs drive clean %d\n", r.Element, r.Element)
		}
		if text := driveWearText(r.Wear); text != "" {
			fmt.Fprintf(a.stdout, "drive %d counts: %s\n", r.Element, text)
		}
		if r.Wear != nil {
			for _, advice := range r.Wear.Advice {
				fmt.Fprintf(a.stdout, "drive %d GETS WORSE: %s\n", r.Element, advice)
			}
		}
	}
	return err
}

// addDriveWear adds what the catalog knows of the drives' wear, as far as there is a catalog: the state of a drive is shown without.
func addDriveWear(ctx context.Context, h *hand, rows []driveStateJSON) {
	db, err := catalog.OpenReadOnly(ctx, h.conf.CatalogPath())
	if err != nil {
		h.log.Debug("look for the wear of drives", "err", err)
		return
	}
	defer db.Close()
	for i := range rows {
		if rows[i].Wear, err = driveWear(ctx, db, rows[i].Element, rows[i].Serial); err != nil {
			h.log.Debug("look for the wear of drives", "err", err)
			return
		}
	}
}

type driveInquiryCmd struct {
	Drive string `arg:"" optional:"" help:"Number or serial of a drive; else all, and the changer."`
}

// inquiryJSON is what a device says it is.
type inquiryJSON struct {
	Name       string `json:"name"` // changer, or drive N
	Serial     string `json:"serial,omitempty"`
	Device     string `json:"device"`
	Type       string `json:"type,omitempty"`
	Vendor     string `json:"vendor,omitempty"`
	Product    string `json:"product,omitempty"`
	Revision   string `json:"revision,omitempty"`
	Generation int    `json:"generation,omitempty"` // LTO
	Problem    string `json:"problem,omitempty"`
}

func (h *hand) inquire(ctx context.Context, name, serial, device string) inquiryJSON {
	row := inquiryJSON{Name: name, Serial: serial, Device: device}
	q, err := h.lib.Inquire(ctx, device)
	if err != nil {
		row.Problem = err.Error()
		return row
	}
	row.Type, row.Vendor, row.Product, row.Revision, row.Generation = q.Type, q.Vendor, q.Product, q.Revision, q.Generation()
	return row
}

func (c *driveInquiryCmd) Run(ctx context.Context, a *app) error {
	h, err := a.atLibrary()
	if err != nil {
		return err
	}
	drives := h.lib.Configured()
	rows := []inquiryJSON{}
	if c.Drive != "" {
		d, err := h.driveNamed(c.Drive)
		if err != nil {
			return err
		}
		drives = []changer.DriveConfig{d}
	} else if h.lib.Changer() != changer.None {
		rows = append(rows, h.inquire(ctx, "changer", "", h.lib.Changer()))
	}
	for _, d := range drives {
		rows = append(rows, h.inquire(ctx, fmt.Sprintf("drive %d", d.Element), d.Serial, d.Device))
	}
	var silent []string
	for _, r := range rows {
		if r.Problem != "" {
			silent = append(silent, r.Problem)
		}
	}
	if a.JSON {
		err = ui.WriteJSON(a.stdout, rows)
	} else {
		t := ui.NewTable(a.stdout, "", "SERIAL", "TYPE", "VENDOR", "PRODUCT", "REVISION", "DEVICE")
		for _, r := range rows {
			t.Row(r.Name, ui.OrDash(r.Serial), ui.OrDash(r.Type), ui.OrDash(r.Vendor), ui.OrDash(r.Product), ui.OrDash(r.Revision), r.Device)
		}
		err = t.Flush()
	}
	if err == nil && len(silent) > 0 {
		err = withHint(fmt.Errorf("ask devices: %s", strings.Join(silent, "; ")),
			"a drive that LTFS has mounted cannot be asked; else see lsscsi -g")
	}
	return err
}

type driveEjectCmd struct {
	Drive string `arg:"" optional:"" help:"Number or serial of the drive; needed where there are several."`
}

func (c *driveEjectCmd) Run(ctx context.Context, a *app) (err error) {
	h, err := a.atLibrary()
	if err != nil {
		return err
	}
	d, err := h.driveNamed(c.Drive)
	if err != nil {
		return err
	}
	lease, err := h.lease(ctx, changer.Request{Drive: d.Serial, Purpose: "eject"})
	if err != nil {
		return err
	}
	defer release(ctx, lease, &err)
	if err := lease.Eject(ctx); err != nil {
		return err
	}
	b, _, err := lease.Loaded(ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, movedJSON{Barcode: string(b), Drive: &d.Element, Serial: d.Serial, Moved: true})
	}
	if h.lib.Changer() == changer.None {
		fmt.Fprintf(a.stdout, "drive %s has let its tape go\n", d.Serial)
		return nil
	}
	fmt.Fprintf(a.stdout, "drive %d has let %s go; the robot can still take it: tapefs tape unload %d\n", d.Element, labelText(string(b)), d.Element)
	return nil
}
