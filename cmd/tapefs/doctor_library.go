package main

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// changer opens the library and reads its inventory.
func (u *checkup) changer(ctx context.Context) {
	if u.conf.Library.Changer == "" || len(u.conf.Library.Drives) == 0 {
		return // said by devices
	}
	quiet := *u.app // what it would log of drives that are missing is a finding
	quiet.log = slog.New(slog.DiscardHandler)
	lib, err := quiet.library(u.conf)
	if err != nil {
		u.failWith("changer", err, "")
		return
	}
	u.lib = lib
	if lib.Changer() == changer.None {
		u.ok("changer", "none: the operator puts tapes into the drive")
		return
	}
	inv, err := lib.Inventory(ctx)
	if err != nil {
		u.failWith("changer", err, "what does this say: mtx -f "+lib.Changer()+" status")
		return
	}
	u.inv = inv
	tapes, cleaning, unlabelled, mail := 0, 0, 0, 0
	labels := map[changer.Barcode]int{}
	see := func(full bool, b changer.Barcode) {
		switch {
		case !full:
			return
		case b == "":
			unlabelled++
		case b.Cleaning():
			cleaning++
		default:
			tapes++
		}
		labels[b]++
	}
	for _, d := range inv.Drives {
		see(d.Full, d.Barcode)
	}
	for _, s := range inv.Slots {
		see(s.Full, s.Barcode)
		if s.ImportExport {
			mail++
		}
	}
	product := ""
	if q, err := lib.Inquire(ctx, lib.Changer()); err == nil {
		if q.Type != "Medium Changer" {
			u.warn("changer", "library.changer has to be the node that lsscsi -g calls mediumx", "%s says it is a %s", lib.Changer(), q.Type)
		}
		product = strings.TrimSpace(q.Vendor+" "+q.Product) + ": "
	}
	u.ok("changer", "%s%s, %s (%d mail), %s, %s", product, ui.Count(int64(len(inv.Drives)), "drive", "drives"), ui.Count(int64(len(inv.Slots)), "slot", "slots"),
		mail, ui.Count(int64(tapes), "tape", "tapes"), ui.Count(int64(cleaning), "cleaning cartridge", "cleaning cartridges"))
	for b, n := range labels {
		if b != "" && n > 1 {
			u.warn("changer", "take one of them out, or label it anew", "%d cartridges carry the barcode %s", n, b)
		}
	}
	for b, all := range inv.Unclear {
		u.warn("changer", "have the library read labels with all eight characters, or take one of the tapes out",
			"the label %s may be that of %s: nothing is done with it by its label", b, barcodesText(all))
	}
	if n := len(inv.ReadAs); n > 0 {
		u.ok("changer", "%s under a label with or without the media suffix that the catalog has it under", ui.Count(int64(n), "known tape", "known tapes"))
	}
	if unlabelled > 0 {
		u.warn("changer", "put labels on them: a tape without one can only be moved by its slot", "%s without a barcode that can be read", ui.Count(int64(unlabelled), "cartridge", "cartridges"))
	}
}

func barcodesText(all []changer.Barcode) string {
	text := make([]string, len(all))
	for i, b := range all {
		text[i] = string(b)
	}
	return strings.Join(text, " or ")
}

// drives asks each drive for its state and compares it with what the changer says of its element.
func (u *checkup) drives(ctx context.Context) {
	if u.lib == nil {
		return
	}
	states, err := u.lib.Drives(ctx)
	if err != nil && len(states) == 0 {
		u.failWith("drives", err, "")
		return
	}
	for _, s := range states {
		u.drive(ctx, s)
	}
	u.suspects(ctx)
	if u.inv == nil {
		return
	}
	for _, e := range u.inv.Drives {
		if e.Serial == "" {
			u.warn("drive "+fmt.Sprint(e.Number), "add it to library.drives: tapefs doctor --fix-config", "the changer has it, the configuration does not")
		}
	}
}

// suspects names the tapes that are suspect, and the drives that nothing is written with because tapes failed in them.
func (u *checkup) suspects(ctx context.Context) {
	if u.db == nil {
		return
	}
	known, err := u.db.Drives(ctx)
	if err != nil {
		u.failWith("drives", err, "")
		return
	}
	tapes, err := u.db.Tapes(ctx)
	if err != nil {
		u.failWith("tapes", err, "")
		return
	}
	for _, t := range tapes {
		if t.Suspect() {
			u.warn("tape "+t.Barcode, remedy(t), "it is suspect: nothing is written to it, and its copies do not count: %s", ui.OrDash(t.Note))
		}
	}
	left := len(u.lib.Configured())
	for _, d := range u.lib.Configured() {
		for _, k := range known {
			if k.Serial != d.Serial || k.State != catalog.DriveSuspect {
				continue
			}
			left--
			f := finding{Check: fmt.Sprintf("drive %d", d.Element), Mark: markWarning,
				Detail: fmt.Sprintf("%s is set aside for writing: %s", d.Serial, ui.OrDash(k.Note)),
				Hint:   fmt.Sprintf("tapefs drive clean %d, have it looked at, then: tapefs drive trust %d", d.Element, d.Element)}
			if left == 0 {
				f.Mark, f.code = markFailed, exitOperator
			}
			u.findings = append(u.findings, f)
		}
	}
}

func (u *checkup) drive(ctx context.Context, s changer.DriveState) {
	check := fmt.Sprintf("drive %d", s.Element)
	if s.Away {
		u.failWith(check, u.lib.Away()[s.Serial], "")
		return
	}
	if s.Problem != "" {
		u.fail(check, "is it switched on? see: lsscsi -g", "%s", s.Problem)
		return
	}
	kind := ""
	if !s.Mounted {
		q, err := u.lib.Inquire(ctx, s.Device)
		switch {
		case err != nil && s.Holder == "":
			u.failWith(check, err, "is device: its sg node? lsscsi -g shows it in the last column")
			return
		case err == nil && q.Type != "Tape Drive":
			u.fail(check, "device: has to be the sg node of the drive, in the last column of lsscsi -g", "%s says it is a %s", s.Device, q.Type)
			return
		case err == nil:
			kind = strings.TrimSpace(q.Vendor+" "+q.Product+" "+q.Revision) + ", "
		}
	}
	serial, err := u.namesAgree(ctx, s.DriveConfig)
	if err != nil {
		u.failWith(check, err, "")
		return
	}
	element, mark := u.elementAgrees(s)
	state := driveStateOf(s)
	text := fmt.Sprintf("%s %s%s, %s, %s", s.Serial, kind, state.State, serial, element)
	hint := ""
	if u.inv != nil {
		text += ", " + provedText(s.Proof)
	}
	if u.inv != nil && s.Proof.At.IsZero() {
		hint = "its next load proves it, and nothing is formatted or erased in it before; or at once, with a tape that is not written to: tapefs doctor --fix-config --prove"
	}
	const mixed = "the element numbers may be mixed up, or the tape is ejected: load a tape and look again; tapefs doctor --fix-config"
	switch {
	case mark == markFailed:
		u.fail(check, mixed, "%s", text)
	case mark == markWarning:
		u.warn(check, mixed, "%s", text)
	case s.Status.Cleaning:
		u.warn(check, fmt.Sprintf("tapefs drive clean %d", s.Element), "%s, it asks to be cleaned", text)
	default:
		u.findings = append(u.findings, finding{Check: check, Mark: markOK, Detail: text, Hint: hint})
	}
}

// provedText says whether and since when a drive is known to be the one that the changer fills.
func provedText(p changer.Proof) string {
	if p.At.IsZero() {
		return "not proved"
	}
	return "proved " + p.At.Local().Format(time.DateOnly)
}

// namesAgree compares a drive's names with what the kernel tells of them.
func (u *checkup) namesAgree(ctx context.Context, d changer.DriveConfig) (text string, err error) {
	proved, err := u.lib.NamesAgree(ctx, d)
	if err != nil {
		return "", err
	}
	if proved {
		return "serial proved", nil
	}
	// Its node has a serial, and it is not this one.
	if node, err := filepath.EvalSymlinks(d.Tape); err == nil {
		dir, name := filepath.Split(node)
		if other := linkSerial(dir, name, "-nst"); other != "" && !wwn().MatchString(other) {
			return "", withHint(fmt.Errorf("no drive has the serial %s: %s is that of drive %s", d.Serial, d.Tape, other),
				"set serial: to the one of the drive; tapefs doctor --fix-config shows them")
		}
	}
	return "serial not proved (no link in /dev/tape/by-id tells it)", nil
}

// elementAgrees compares what the changer and the drive say of whether there is a tape.
func (u *checkup) elementAgrees(s changer.DriveState) (text, mark string) {
	if u.inv == nil {
		return "no changer", markOK
	}
	e, ok := u.inv.Element(s.Element)
	switch {
	case !ok:
		return fmt.Sprintf("the changer has no element %d", s.Element), markFailed
	case !e.Full && (s.Status.Online || s.Mounted):
		return fmt.Sprintf("it has a tape, and the changer calls element %d empty", s.Element), markFailed
	case e.Full && s.Status.DoorOpen:
		return fmt.Sprintf("it has no tape, and the changer calls element %d full", s.Element), markWarning
	case e.Full:
		return fmt.Sprintf("element %d agrees: %s", s.Element, labelText(string(e.Barcode))), markOK
	}
	return fmt.Sprintf("element %d agrees: empty", s.Element), markOK
}

// pools looks whether each pool that a source uses has a tape in the library that can be written.
func (u *checkup) pools(ctx context.Context) {
	if u.inv == nil || u.db == nil {
		return
	}
	tapes, err := u.db.Tapes(ctx)
	if err != nil {
		u.failWith("pools", err, "")
		return
	}
	used := map[string]bool{}
	for _, s := range u.conf.ArchiverSources() {
		for _, p := range s.Copies {
			used[p] = true
		}
	}
	for _, p := range u.conf.ArchiverPools() {
		if !used[p.Name] {
			continue
		}
		open, blank, unknown := poolTapes(p, u.inv.Barcodes(), tapes)
		check := "pool " + p.Name
		switch {
		case open > 0 || blank > 0:
			u.ok(check, "%s to write to, %d more that may be formatted", ui.Count(int64(open), "tape", "tapes"), blank)
		case unknown != "":
			u.findings = append(u.findings, finding{Check: check, Mark: markFailed, Detail: "no tape in the library can be written", code: exitOperator,
				Hint: fmt.Sprintf("make a tape of the pool: tapefs tape format %s --pool %s", unknown, p.Name)})
		default:
			u.findings = append(u.findings, finding{Check: check, Mark: markFailed, Detail: "no tape in the library can be written", code: exitOperator,
				Hint: "put tapes into the mail slots: tapefs tape import; their barcodes have to match " + strings.Join(p.Include, " ")})
		}
	}
}

// poolTapes counts a pool's open tapes in the library and those that archive may format, and names one
// that tape format could make a tape of the pool.
func poolTapes(p archiver.Pool, present []changer.Barcode, tapes []catalog.Tape) (open, blank int, unknown changer.Barcode) {
	known := map[string]catalog.Tape{}
	for _, t := range tapes {
		known[t.Barcode] = t
	}
	any := func(patterns []string, b changer.Barcode) bool {
		for _, pattern := range patterns {
			if ok, err := path.Match(pattern, string(b)); err == nil && ok {
				return true
			}
		}
		return false
	}
	for _, b := range present {
		t, ok := known[string(b)]
		switch {
		case ok && t.PoolName == p.Name && t.State == catalog.TapeOpen && t.UUID != "" && t.Place == "":
			open++
		case ok && (t.UUID != "" || t.State != catalog.TapeOpen) || !any(p.Include, b) || any(p.Exclude, b):
		case p.FormatBlank:
			blank++
		case unknown == "":
			unknown = b
		}
	}
	return open, blank, unknown
}
