package changer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// roots are where the kernel shows devices and processes; tests give trees of their own.
type roots struct{ dev, sys, proc string }

// discover finds the nodes of a drive by its serial: udev names the tape node by it, and the kernel
// knows which sg node is the same device.
func (r roots) discover(d *DriveConfig) error {
	if d.Tape == "" {
		link := filepath.Join(r.dev, "tape", "by-id", "scsi-"+d.Serial+"-nst")
		if _, err := os.Stat(link); err != nil {
			return r.noSuchDrive(d.Serial, err)
		}
		d.Tape = link
	}
	if d.Device != "" {
		return nil
	}
	node, err := filepath.EvalSymlinks(d.Tape)
	if err != nil {
		return fmt.Errorf("find sg device of drive %s: %w", d.Serial, err)
	}
	name := strings.TrimPrefix(filepath.Base(node), "n") // nst0 and st0 are one device
	generic := filepath.Join(r.sys, "class", "scsi_tape", name, "device", "scsi_generic")
	entries, err := os.ReadDir(generic)
	if err != nil {
		return fmt.Errorf("find sg device of drive %s: %w", d.Serial, err)
	}
	if len(entries) != 1 {
		return fmt.Errorf("find sg device of drive %s: %d entries in %s", d.Serial, len(entries), generic)
	}
	d.Device = filepath.Join(r.dev, entries[0].Name())
	return nil
}

// noSuchDrive is the error of a serial number that no connected drive has, with those that they have.
func (r roots) noSuchDrive(serial string, err error) error {
	links, gerr := filepath.Glob(filepath.Join(r.dev, "tape", "by-id", "scsi-*-nst"))
	if gerr != nil || len(links) == 0 || !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("find tape device of drive %s: %w", serial, err)
	}
	var have []string
	for _, l := range links {
		have = append(have, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(l), "scsi-"), "-nst"))
	}
	return fail("find tape device", fmt.Errorf("no drive has the serial %s; those that are there have %s", serial, strings.Join(have, ", ")),
		"is it switched on? else set serial: to that of the drive; tapefs doctor --fix-config shows them")
}

// canonical is a device's path without symlinks, the path itself when it does not exist.
func canonical(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	return filepath.Clean(path)
}

// isDevice tells whether a name that somebody gave to ltfs means this drive: its sg or tape node,
// a symlink to one, or its serial.
func isDevice(d DriveConfig, name string) bool {
	if name == "" {
		return false
	}
	if name == d.Serial || name == d.Device || name == d.Tape {
		return true
	}
	c := canonical(name)
	return c == canonical(d.Device) || c == canonical(d.Tape)
}
