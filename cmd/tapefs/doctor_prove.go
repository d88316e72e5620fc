package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// proofTries is how many cartridges are tried in one drive: it may not take one of another generation.
const proofTries = 3

// proveDrives has the robot bring a cartridge to each drive that is not proved yet, and writes what was seen into the configuration. Where
// drives turn out to be mixed up, it finds out which is which and corrects the configuration. Nothing is mounted, and nothing is written
// to a tape.
func proveDrives(ctx context.Context, a *app) error {
	h, err := a.atLibrary()
	if err != nil {
		return err
	}
	if h.lib.Changer() == changer.None {
		fmt.Fprintln(a.stdout, "nothing to prove: without a changer nothing brings a tape to another drive")
		return nil
	}
	ctx = a.patient(ctx)
	failed := 0
	proofs := map[string]changer.Proof{}
	for _, d := range h.conf.ChangerConfig().Drives {
		var err error // of this drive alone
		p, ok := h.lib.Proof(d)
		if !ok {
			p, err = h.proveDrive(ctx, d)
		}
		if ctx.Err() != nil {
			return err
		}
		if errors.Is(err, changer.ErrMixedDrives) {
			fmt.Fprintf(a.stdout, "drive %d (%s) is not the one that the configuration describes: %v\n", d.Element, d.Serial, err)
			return h.pairDrives(ctx, a)
		}
		if err != nil {
			failed++
			fmt.Fprintf(a.stdout, "drive %d (%s) is not proved: %v\n", d.Element, d.Serial, err)
			if hint := hintFor(err); hint != "" {
				fmt.Fprintf(a.stdout, "  hint: %s\n", hint)
			}
			continue
		}
		proofs[d.Serial] = p
		fmt.Fprintf(a.stdout, "drive %d (%s) is proved: the robot fills it, and %s is its tape node\n", d.Element, d.Serial, p.Node)
	}
	if err := recordDrives(h.conf.File(), proofs, nil); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("prove the drives: %s", ui.Count(int64(failed), "is not proved", "are not proved"))
	}
	return nil
}

// proveDrive empties a drive, has a cartridge brought to it, and puts it back. The load records the proof.
func (h *hand) proveDrive(ctx context.Context, d changer.DriveConfig) (p changer.Proof, err error) {
	lease, err := h.lease(ctx, changer.Request{Drive: d.Serial, Purpose: "prove"})
	if err != nil {
		return p, err
	}
	defer release(ctx, lease, &err)
	if _, full, err := lease.Loaded(ctx); err != nil {
		return p, err
	} else if full {
		if err := lease.Unload(ctx); err != nil {
			return p, err
		}
	}
	inv, err := h.lib.Inventory(ctx)
	if err != nil {
		return p, err
	}
	tries := 0
	err = withHint(errors.New("there is no cartridge that could be brought to it"), "put any cartridge that fits into a slot; nothing is written to it")
	for _, s := range inv.Slots {
		if !s.Full || s.Barcode == "" || s.Barcode.Cleaning() || tries == proofTries {
			continue
		}
		tries++
		if err = lease.Load(ctx, s.Barcode); errors.Is(err, changer.ErrMixedDrives) || ctx.Err() != nil {
			return p, err
		}
		if uerr := lease.Unload(ctx); uerr != nil {
			return p, errors.Join(err, uerr)
		}
		if p, ok := h.lib.Proof(d); ok {
			return p, nil
		}
		if err == nil {
			err = errors.New("other drives were filled meanwhile, or it said nothing of its tape in time")
		}
	}
	return p, err
}

// pairDrives finds out which drive is at which element, and corrects element:, device: and tape: of the configuration.
func (h *hand) pairDrives(ctx context.Context, a *app) error {
	fmt.Fprintln(a.stdout, "all drives are emptied, and the robot brings a cartridge to each in turn, to see which is which")
	pairs, err := h.lib.Pair(ctx)
	if err != nil {
		return err
	}
	proofs := map[string]changer.Proof{}
	for _, p := range pairs {
		now := p.Drive
		now.Element, now.Device, now.Tape = p.Element, p.Device, p.Tape
		proof, ok := h.lib.Proof(now)
		if !ok {
			return withHint(fmt.Errorf("prove the drives: what was seen of drive %s was not recorded", p.Drive.Serial), "nothing was changed in the configuration; try again")
		}
		proofs[p.Drive.Serial] = proof
		fmt.Fprintf(a.stdout, "drive %d (%s) is proved: the robot fills it, and %s is its tape node%s\n", p.Element, p.Drive.Serial, proof.Node, correction(p))
	}
	return recordDrives(h.conf.File(), proofs, pairs)
}

// corrected are the keys of a drive's entry that the pairing changed, with what they said and what they are to say.
func corrected(p changer.Pairing) (keys []correctedKey) {
	for _, k := range []correctedKey{
		{"element", strconv.Itoa(p.Drive.Element), strconv.Itoa(p.Element)},
		{"device", strconv.Quote(p.Drive.Device), strconv.Quote(p.Device)},
		{"tape", strconv.Quote(p.Drive.Tape), strconv.Quote(p.Tape)},
	} {
		if k.was != k.is {
			keys = append(keys, k)
		}
	}
	return keys
}

type correctedKey struct{ name, was, is string }

// correction says what the configuration said wrongly, "" for nothing.
func correction(p changer.Pairing) string {
	var was []string
	for _, k := range corrected(p) {
		was = append(was, k.name+": "+k.was)
	}
	if len(was) == 0 {
		return ""
	}
	return "; the configuration said " + strings.Join(was, ", ")
}

// recordDrives writes proved: into the entries of drives in a configuration, and corrects the keys that the pairing found wrong. All else in
// the file, comments too, stays as it is.
func recordDrives(path string, proofs map[string]changer.Proof, pairs []changer.Pairing) error {
	if len(proofs) == 0 {
		return nil
	}
	op := "write what was proved into " + path
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	edited := string(text)
	for _, p := range pairs {
		for _, k := range corrected(p) {
			if edited, err = setDriveKey(edited, p.Drive.Serial, k.name, k.is); err != nil {
				return withHint(fmt.Errorf("%s: %w", op, err), "nothing was changed; set %s: %s of drive %s by hand", k.name, k.is, p.Drive.Serial)
			}
		}
	}
	for serial, p := range proofs {
		if edited, err = insertProof(edited, serial, p); err != nil {
			return withHint(fmt.Errorf("%s: %w", op, err), "the proofs are kept in the state folder, too: nothing is lost without this")
		}
	}
	if edited == string(text) {
		return nil
	}
	if _, err := config.Parse([]byte(edited)); err != nil {
		return withHint(fmt.Errorf("%s: it could not be read any more after that: %w", op, err), "nothing was changed; the proofs are kept in the state folder, too")
	}
	if err := renameio.WriteFile(path, []byte(edited), 0o600, renameio.WithExistingPermissions()); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// driveEntry finds the line with the serial number of a drive, and the indentation of the keys of its entry.
func driveEntry(lines []string, serial string) (at int, indent string, err error) {
	head := regexp.MustCompile(`^( *(?:- +)?)serial: *["']?` + regexp.QuoteMeta(serial) + `["']? *(#.*)?$`)
	for i, line := range lines {
		m := head.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m != nil && (i == 0 || !strings.HasPrefix(strings.TrimSpace(lines[i-1]), "proved:")) {
			return i, strings.Repeat(" ", len(m[1])), nil
		}
	}
	return 0, "", fmt.Errorf("no line says serial: %q", serial)
}

// setDriveKey sets a key in the entry of a drive: in place of the line that sets it, else behind the serial number.
func setDriveKey(text, serial, key, value string) (string, error) {
	lines := strings.SplitAfter(text, "\n")
	at, indent, err := driveEntry(lines, serial)
	if err != nil {
		return "", err
	}
	sets := func(line string) bool { // the first key of an entry stands behind a dash
		return len(line) > len(indent) && strings.Trim(line[:len(indent)], " -") == "" && strings.HasPrefix(line[len(indent):], key+":")
	}
	inside := func(line string) bool { return strings.HasPrefix(line, indent) || strings.TrimSpace(line) == "" }
	first, last := at, at
	for first > 0 && !strings.HasPrefix(strings.TrimLeft(lines[first], " "), "-") { // up to the dash
		first--
	}
	for last+1 < len(lines) && inside(lines[last+1]) {
		last++
	}
	for i := first; i <= last; i++ {
		if sets(lines[i]) {
			lines[i] = lines[i][:len(indent)] + key + ": " + value + "\n"
			return strings.Join(lines, ""), nil
		}
	}
	lines[at] = strings.TrimRight(lines[at], "\r\n") + "\n" + indent + key + ": " + value + "\n"
	return strings.Join(lines, ""), nil
}

// insertProof puts proved: behind the serial of a drive's entry, in place of what stood there.
func insertProof(text, serial string, p changer.Proof) (string, error) {
	lines := strings.SplitAfter(text, "\n")
	at, indent, err := driveEntry(lines, serial)
	if err != nil {
		return "", err
	}
	block := []string{strings.TrimRight(lines[at], "\r\n") + "\n", indent + "proved:\n", indent + "  serial: " + strconv.Quote(p.Serial) + "\n",
		indent + "  element: " + strconv.Itoa(p.Element) + "\n", indent + "  node: " + strconv.Quote(p.Node) + "\n",
		indent + "  date: " + strconv.Quote(p.At.UTC().Format(time.RFC3339)) + "\n"}
	return strings.Join(append(append(append([]string{}, lines[:at]...), block...), withoutProof(lines[at+1:], indent)...), ""), nil
}

// withoutProof takes an older proved: out of what is left of an entry, whose keys begin after indent.
func withoutProof(lines []string, indent string) []string {
	for i, line := range lines {
		rest, inside := strings.CutPrefix(line, indent)
		if !inside && strings.TrimSpace(line) != "" {
			return lines // the entry ends
		}
		if !strings.HasPrefix(rest, "proved:") {
			continue
		}
		end := i + 1
		for end < len(lines) && strings.HasPrefix(lines[end], indent+" ") {
			end++
		}
		return append(append([]string{}, lines[:i]...), lines[end:]...)
	}
	return lines
}
