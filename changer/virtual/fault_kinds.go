package virtual

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// faultKind is one kind of fault: its name, what its argument looks like ("" for none), and what it does.
type faultKind struct {
	name, form, help string
}

// faultKinds are all kinds that can be set, as the help lists them. OFFSET is a place on the data partition: block
// address * 512 KiB.
var faultKinds = []faultKind{
	{"clean-time", "DURATION", "a drive lets a cleaning cartridge go after so long; without this, never"},
	{"slow-load", "DURATION", "a loaded drive takes so long to become ready"},
	{"first-load", "DURATION", "a cartridge of LTO-9 that was never loaded before takes so long; up to two hours in reality"},
	{"slow-umount", "DURATION", "the index is written so long after umount; 300ms without this"},
	{"slow-robot", "DURATION", "each move takes so long"},
	{"slow-write", "BARCODE:DURATION", "each write to the tape, 1 MiB at most, takes so long"},
	{"blocking-open", "DURATION", "opening the tape node of a drive that is not ready takes so long; 2m6s in reality"},
	{"stuck-robot", "", "a move does not end until this is cleared"},
	{"stuck-mount", "BARCODE", "ltfs neither mounts the tape nor ends, whatever signal it gets, until this is cleared"},
	{"stuck-read", "BARCODE", "a read from the tape does not end until this is cleared"},

	{"enospc-after", "SIZE", "every tape takes so many bytes in all"},
	{"read-eio", "BARCODE:OFFSET", "reading there fails"},
	{"write-eio", "BARCODE:OFFSET", "writing there fails, each time"},
	{"sticky-eio", "BARCODE:OFFSET", "writing there fails, and every write after it until the volume is unmounted"},
	{"close-eio", "BARCODE:OFFSET", "writing there seems to work; only fsync or close fails, and the file ends there"},
	{"write-perm", "BARCODE:OFFSET", "writing there fails for good: the volume is read-only from then on, in later mounts too"},
	{"lost-write", "BARCODE:OFFSET", "what is written there never reaches the tape; the index lists it, and reading it fails"},
	{"wrong-write", "BARCODE:OFFSET", "what is written there comes back as other bytes; sizes are right"},
	{"index-write", "", "no index can be written, and ltfs says so"},
	{"sync-lies", "", "user.ltfs.sync succeeds and writes no index"},
	{"late-index", "DURATION", "user.ltfs.sync succeeds at once, and the index follows so much later"},
	{"umount-lies", "", "no index is written at unmount, and ltfs exits 0"},
	{"full-no-sync", "", "once the end of a tape was met, user.ltfs.sync fails until the volume is unmounted"},
	{"write-protect", "BARCODE", "the tape is write-protected"},
	{"needs-check", "BARCODE", "ltfs does not mount the tape until ltfsck was run"},
	{"check-fails", "BARCODE", "ltfsck cannot make the volume consistent"},
	{"stuck-check", "BARCODE", "ltfsck does not end, whatever signal it gets, until this is cleared"},
	{"kill-needs-check", "", "a volume whose ltfs is killed after a change is not mounted until ltfsck was run"},
	{"dies-at", "BARCODE:COUNT", "the ltfs of the tape is killed at its request of that number, counted from its mount, once"},
	{"eod-eio", "", "mt eod fails and says nothing of the tape"},

	{"wrong-barcode", "SLOT:TAG", "the changer reads TAG on the tape from this slot, or with an empty TAG no label"},
	{"no-suffix", "", "labels are read without the media suffix"},
	{"unknown-source", "DRIVE", "the changer does not know where the drive's tape came from"},
	{"offline", "", "the changer is offline"},
	{"door-open", "", "the mail slots are open"},
	{"unit-attention", "", "the next command to the changer fails once"},
	{"noise", "", "mtx prints sense data on stderr, and works all the same"},
	{"eject-first", "", "the robot gets a tape only after mt offline"},
	{"wants-cleaning", "DRIVE", "the drive asks for cleaning until a cleaning cartridge is loaded"},
	{"drive-off", "DRIVE", "the drive is switched off: its device nodes are gone"},
	{"drive-silent", "DRIVE", "the drive is switched off: its device nodes are there, and opening them fails"},
	{"tape-alert", "BARCODE:FLAG", "the drive that holds the tape raises this TapeAlert flag, 1 to 64"},
	{"drive-alert", "DRIVE:FLAG", "the drive raises this TapeAlert flag"},
	{"worn", "BARCODE:COUNT", "the drives corrected so many errors when they wrote the tape, and half as many when they read it"},
	{"memory", "BARCODE:TEXT", "the memory of the tape's cartridge names TEXT as its barcode; none for a drive that does not tell"},
	{"exchanged-nodes", "DRIVE:DRIVE", "the device nodes of two drives change places, as sg numbers do between boots"},
	{"exchanged-elements", "DRIVE:DRIVE", "the changer numbers two drives the other way round"},
}

func kindOf(name string) (faultKind, bool) {
	i := slices.IndexFunc(faultKinds, func(k faultKind) bool { return k.name == name })
	if i < 0 {
		return faultKind{}, false
	}
	return faultKinds[i], true
}

// faultHelp lists what can be set.
func faultHelp(w io.Writer) error {
	fmt.Fprint(w, "Usage: tapefs virtual fault DIR KIND[=ARG]...\n\n"+
		"Sets faults of the virtual library in DIR. They last until they are cleared.\n\n")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, k := range faultKinds {
		name := k.name
		if k.form != "" {
			name += "=" + k.form
		}
		fmt.Fprintf(tw, "  %s\t%s\n", name, k.help)
	}
	fmt.Fprint(tw, "  kill-ltfs\tkill the ltfs processes of the library, now\n")
	fmt.Fprint(tw, "  clear[=KIND]\tend all faults, or those of one kind\n")
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, "\nOFFSET is a place on the data partition: the block address, which user.ltfs.startblock of a file gives, times 512 KiB.\n")
	return err
}
