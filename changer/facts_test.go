package changer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A fact is a statement about real programs that this package relies on: what was recorded of them, and what is concluded from it here. Where the
// conclusion is a behaviour, and not what a text is taken for, the tests are named that show it.
type fact struct {
	says     string
	flavor   Flavor // of the LTFS programs; "" for mtx and mt
	exits    int    // with what the programs end, as recorded
	recorded string // names of recordings, of HPE's below hpe; "": only tests show it
	means    meaning
	tests    string // names of tests, here or of the virtual library
}

// meaning compares what is made of a recording with what it means. The text says what is made of it instead.
type meaning func(d *dialect, r transcript) string

const anyExit = -1 // recordings of several programs, or of a foreign one

// facts are those about mtx 1.3.12 and mt-st 1.7, about OpenLTFS 2.4.8.4 with two IBM LTO-8 drives, and about HPE StoreOpen 3.5.0 with HP LTO-5 and LTO-6 ones.
var facts = []fact{
	// mtx
	{says: "a drive's label has blanks around its equals sign, a slot's has none, and both are padded with blanks", recorded: "mtx-status-loaded mtx-status-after-first",
		means: holds(inDrive(0, "ABC001L8"), inSlot(2, "ABC002L8"))},
	{says: "a full slot without a label has nothing behind the word Full", recorded: "mtx-status-initial mtx-eepos mtx-status-sch", means: holds(inSlot(16, ""))},
	{says: "import/export elements are slots with the words behind their number", recorded: "mtx-status-ie", means: holds(inSlot(17, "ABC008L8"))},
	{says: "after mt offline the drive is still shown as full", recorded: "mtx-status-after-offline", means: holds(inDrive(0, "ABC001L8")), tests: "TestEjectedTapeIsLoadedAgain"},
	{says: "mtx ends with 1 and one line when the target is full, the source empty, a number wrong or the device not there", exits: 1,
		recorded: "mtx-load-full-drive mtx-unload-to-full-slot mtx-status-nodev nonroot-mtx mtx-unload-empty-drive", means: oneLine},
	{says: "mtx eject, which libraries refuse, ends with 0", exits: 0, recorded: "mtx-eject-unsupported", means: senses("Illegal Request", 0x21, 0x01, nil)},
	{says: "mtx without arguments ends with 0 and says nothing", exits: 0, recorded: "mtx-noargs", means: noStatus},
	{says: "a tape that the drive cannot take is a hardware error 04/03", exits: 1, recorded: "mtx-load-lto6-into-lto8", means: senses("Hardware Error", 0x04, 0x03, ErrIncompatible),
		tests: "TestIncompatibleCartridge"},
	{says: "a library that is offline is not ready, 04/12", exits: 1, recorded: "mtx-load-offline mtx-status-offline", means: senses("Not Ready", 0x04, 0x12, ErrLibraryOffline),
		tests: "TestLibraryOfflineAndDoorOpen"},
	{says: "an open mail door is not ready, 3A/02, and the status is told all the same", exits: 0, recorded: "mtx-status-map-open", means: senses("Not Ready", 0x3A, 0x02, ErrDoorOpen),
		tests: "TestLibraryOfflineAndDoorOpen"},
	{says: "what the library or a drive does not know is an illegal request, and no fault of a tape", exits: 1, recorded: "mtx-exchange mtx-status-drive-dev",
		means: senses("Illegal Request", 0x20, 0x00, nil)},
	{says: "so is alternative addressing", exits: 1, recorded: "mtx-altres", means: senses("Illegal Request", 0x24, 0x00, nil)},
	{says: "nothing keeps mtx from taking a tape out of a drive whose volume is mounted", exits: 0, recorded: "mtx-unload-while-ltfs-mounted yanked/mtx-unload-while-ltfs-mounted",
		means: doesNotFail, tests: "TestUnloadWhileMountedWritesNothing TestYankedCartridgeFailsAtOnce TestYankedAsRecorded"},
	{says: "and then umount ends with 0, though nothing was written", exits: 0, recorded: "yanked/umount", means: doesNotFail, tests: "TestUnloadWhileMountedWritesNothing"},

	// mt
	{says: "mt status ends with 0 whatever the drive holds: its bits tell", exits: 0, recorded: "mt-status-notape mt-status-after-offline mt-status-incompatible-L6-in-LTO8 hp-mt-status-notape mt-f-env",
		means: tells(MTStatus{DoorOpen: true, File: -1, Block: -1})},
	{says: "a cleaning cartridge and a drive that becomes ready look alike: neither door open nor online", exits: 0,
		recorded: "mt-status-cleaning mt-status-cleaning2 slow-mt-status-immediately", means: tells(MTStatus{File: -1, Block: -1}), tests: "TestNotThreadedIsAskedFor"},
	{says: "a tape at its beginning is BOT ONLINE, also while LTFS has it mounted", exits: 0, recorded: "mt-status-blank-after-rewind mt-status-while-ltfs-mounted mt-status-wp-after-rewind",
		means: tells(MTStatus{Online: true, BOT: true, Density: "LTO-8"})},
	{says: "write protection is WR_PROT", exits: 0, recorded: "mt-status-writeprotected mt-status-writeprotected-ltfs",
		means: tells(MTStatus{Online: true, BOT: true, WriteProtected: true, Density: "LTO-8"})},
	{says: "mt status of what is no tape node fails", exits: anyExit, recorded: "mt-status-nodev mt-status-sg-device", means: noMTStatus},
	{says: "mt rewind and offline of an empty drive end with 1", exits: 1, recorded: "mt-rewind-notape mt-offline-notape", means: oneLine},

	// mkltfs
	{says: "mkltfs names the UUID of the volume, with a dot behind it", flavor: OpenLTFS, exits: 0, recorded: "mkltfs-ok", means: both(because(nil, ""), makes("b23946cc-8056-4461-ae06-cae84e0b0304"))},
	{says: "HPE's names it without the dot", flavor: HPE, exits: 0, recorded: "hpe/mkltfs-ok hpe/mkltfs-force hpe/mkltfs-lto6 hpe/v342-mkltfs", means: both(because(nil, ""), makesOne)},
	{says: "with -q it names none", flavor: OpenLTFS, exits: 0, recorded: "mkltfs-quiet", means: makes("")},
	{says: "with -q HPE's names none", flavor: HPE, exits: 0, recorded: "hpe/mkltfs-quiet", means: makes("")},
	{says: "a formatted tape is 15047E and 16", flavor: OpenLTFS, exits: 16, recorded: "mkltfs-already-formatted", means: because(ErrNotBlank, "--erase A00001L8")},
	{says: "for HPE's, too", flavor: HPE, exits: 16, recorded: "hpe/mkltfs-already-formatted", means: because(ErrNotBlank, "--erase A00001L8")},
	{says: "a write-protected tape is 11095E and 16, forced or not", flavor: OpenLTFS, exits: 16, recorded: "mkltfs-writeprotected mkltfs-force-writeprotected", means: because(ErrWriteProtected, "")},
	{says: "HPE's ends with 155 then, a negative number cut to a byte", flavor: HPE, exits: 155, recorded: "hpe/mkltfs-writeprotected hpe/mkltfs-force-writeprotected", means: because(ErrWriteProtected, "")},
	{says: "no tape, and a cleaning cartridge, are 11331E or 12017E and 8", flavor: OpenLTFS, exits: 8, recorded: "mkltfs-no-medium mkltfs-cleaning-tape", means: because(ErrNoMedium, "tapefs drive status")},
	{says: "to HPE's both are 15044E, and mt has to be asked which", flavor: HPE, exits: 8, recorded: "hpe/mkltfs-no-medium hpe/mkltfs-cleaning-tape", means: because(errNotThreaded, ""), tests: "TestNotThreadedIsAskedFor"},
	{says: "a drive in use cannot be opened, EBUSY, and 8", flavor: OpenLTFS, exits: 8, recorded: "mkltfs-while-mounted", means: because(ErrBusy, "fuser"), tests: "TestBusyDrive"},
	{says: "HPE's says 20035E before that", flavor: HPE, exits: 8, recorded: "hpe/drive-busy-mkltfs", means: because(ErrBusy, "fuser")},
	{says: "a device that is not there is no busy one", flavor: OpenLTFS, exits: 8, recorded: "mkltfs-nodev", means: because(nil, "switched on")},
	{says: "HPE's has the errno of that in parentheses, 20087E", flavor: HPE, exits: 8, recorded: "hpe/mkltfs-nodev", means: because(nil, "switched on")},
	{says: "HPE's finds no sg node for a tape node on a kernel without /proc/scsi, 20032E", flavor: HPE, exits: 8, recorded: "hpe/mkltfs-nst", means: because(nil, "sg node"), tests: "TestDeviceOfHPE"},
	{says: "a serial number of other than 6 characters is wrong usage, 16", flavor: OpenLTFS, exits: 16, recorded: "mkltfs-bad-serial", means: because(nil, "")},
	{says: "for HPE's, too", flavor: HPE, exits: 16, recorded: "hpe/mkltfs-bad-serial", means: because(nil, "")},
	{says: "wiping ends with 1 when it succeeds", flavor: OpenLTFS, exits: 1, recorded: "mkltfs-wipe", means: because(nil, "")},
	{says: "for HPE's, too", flavor: HPE, exits: 1, recorded: "hpe/mkltfs-wipe", means: because(nil, "")},

	// ltfs
	{says: "a good mount ends with 0", flavor: OpenLTFS, exits: 0, recorded: "ltfs-mount-ok ltfs-mount-writeprotected kill9-mount kill9-nosync-mount", means: because(nil, "")},
	{says: "the log of HPE's has error codes though all is well", flavor: HPE, exits: 0, recorded: "hpe/ltfs-mount-ok hpe/ltfs-mount-writeprotected hpe/kill9-mount hpe/kill9-nosync-mount hpe/v342-ltfs",
		means: both(because(nil, ""), logsAnError)},
	{says: "ltfs ends with 0 and mounts nothing where the mount point is not empty: mountinfo tells", flavor: OpenLTFS, exits: 0, recorded: "ltfs-mountpoint-nonempty", means: because(nil, ""),
		tests: "TestMountPointNotEmpty TestStillLooksAtTheMount"},
	{says: "HPE's, too, and for an option that it does not know", flavor: HPE, exits: 0, recorded: "hpe/ltfs-mountpoint-nonempty hpe/ltfs-badopt", means: because(nil, "")},
	{says: "an unformatted tape is 17168E and 1", flavor: OpenLTFS, exits: 1, recorded: "ltfs-unformatted ltfs-after-wipe ltfs-writeprotected-unformatted", means: because(ErrNotFormatted, "tape format A00001L8"),
		tests: "TestUnformatted"},
	{says: "for HPE's, too", flavor: HPE, exits: 1, recorded: "hpe/ltfs-unformatted hpe/ltfs-writeprotected-unformatted", means: because(ErrNotFormatted, "tape format A00001L8")},
	{says: "no tape is 11331E and 1, also where the mount point is taken", flavor: OpenLTFS, exits: 1, recorded: "ltfs-no-medium ltfs-mount-on-mounted-dir", means: because(ErrNoMedium, "")},
	{says: "to HPE's no tape and a cleaning cartridge are 14075E", flavor: HPE, exits: 1, recorded: "hpe/ltfs-no-medium hpe/ltfs-cleaning-tape", means: because(errNotThreaded, "")},
	{says: "a drive in use is EBUSY, or a reservation that could not be read", flavor: OpenLTFS, exits: 1, recorded: "ltfs-mount-drive-busy ltfs-devname-serial", means: because(ErrBusy, "fuser")},
	{says: "to HPE's it is 20035E, also over its own mount", flavor: HPE, exits: 1, recorded: "hpe/drive-busy-ltfs hpe/on-mounted-dir", means: because(ErrBusy, "fuser")},
	{says: "a device that this user may not open is EACCES", flavor: OpenLTFS, exits: 1, recorded: "nonroot-ltfs", means: because(nil, "join the group tape")},
	{says: "one that is not there is not busy", flavor: OpenLTFS, exits: 1, recorded: "ltfs-nodev", means: because(nil, "switched on")},
	{says: "to HPE's it is 20087E", flavor: HPE, exits: 1, recorded: "hpe/ltfs-nodev", means: because(nil, "switched on")},
	{says: "a tape node is taken for an sg node, with a message that misleads", flavor: OpenLTFS, exits: 1, recorded: "ltfs-devname_dev_nst0 ltfs-devname_dev_st0", means: because(ErrNeedsCheck, "")},
	{says: "HPE's opens neither a tape node nor a link nor a serial number", flavor: HPE, exits: 1, recorded: "hpe/ltfs-no-medium-st hpe/ltfs-devname-symlink hpe/ltfs-devname-serial hpe/ltfs-devname-byid-nst",
		means: because(nil, "sg node"), tests: "TestDeviceOfHPE"},
	{says: "ltfs -o device_list ends with 1 when it succeeds", flavor: OpenLTFS, exits: 1, recorded: "ltfs-device_list", means: because(nil, "")},
	{says: "a full tape of HPE's may not mount again before ltfsck, 14484E", flavor: HPE, exits: 1, recorded: "hpe/enospc-remount", means: because(ErrNeedsCheck, "tape check A00001L8"), tests: "TestFullTapeOfHPE"},
	{says: "the end of the tape is 20048W in its log, for EROFS and EIO", flavor: HPE, exits: 0, recorded: "hpe/enospc-ltfs-log", means: logsFull, tests: "TestFullTapeOfHPE TestEndOfTapeOfHPE"},
	{says: "the end of the tape comes late: fsync and close tell of it", flavor: OpenLTFS, tests: "TestEndOfTapeComesLate"},

	// ltfsck
	{says: "ltfsck ends with 1 for a consistent volume, every time", flavor: OpenLTFS, exits: 1,
		recorded: "ltfsck-fresh ltfsck-after-umount ltfsck-second-run-1 ltfsck-second-run-2 ltfsck-writeprotected kill9-ltfsck kill9-nosync-ltfsck race-ltfsck",
		means:    both(because(nil, ""), consistent(true))},
	{says: "ltfsck may end with 0, too", flavor: OpenLTFS, exits: 0, recorded: "enospc-ltfsck", means: consistent(true)},
	{says: "an unformatted tape is 4", flavor: OpenLTFS, exits: 4, recorded: "ltfsck-unformatted", means: both(because(ErrNotFormatted, ""), consistent(false))},
	{says: "a drive in use is 8", flavor: OpenLTFS, exits: 8, recorded: "ltfsck-while-mounted", means: both(because(ErrBusy, ""), consistent(false))},
	{says: "HPE's ends with 0 for a volume that is good, or that it made good: 16022I says so", flavor: HPE, exits: 0,
		recorded: "hpe/ltfsck-after-umount hpe/ltfsck-writeprotected hpe/enospc-ltfsck hpe/kill9-nosync-ltfsck hpe/kill9-ltfsck hpe/kill9-nosync-ltfsck-full hpe/v342-ltfsck",
		means:    both(because(nil, ""), consistent(true))},
	{says: "HPE's ends with 0 when there is no tape: without 16022I that proves nothing", flavor: HPE, exits: 0, recorded: "hpe/ltfsck-no-medium",
		means: both(because(errNotThreaded, ""), consistent(false)), tests: "TestNotThreadedIsAskedFor"},
	{says: "an unformatted tape is 4 to HPE's", flavor: HPE, exits: 4, recorded: "hpe/ltfsck-unformatted", means: both(because(ErrNotFormatted, ""), consistent(false))},
	{says: "a drive in use is 8 to HPE's", flavor: HPE, exits: 8, recorded: "hpe/ltfsck-while-mounted", means: both(because(ErrBusy, ""), consistent(false))},

	// unmounting and syncing
	{says: "umount returns before the index is written: the process has to be awaited", flavor: OpenLTFS, tests: "TestUnmountReturnsBeforeTheIndexIsWritten TestDriveIsNotTouchedBeforeLtfsEnds"},
	{says: "fsync is not the index: what no index tells is lost when ltfs is killed", flavor: OpenLTFS, tests: "TestKillLosesWhatNoIndexTells"},
	{says: "SIGTERM to ltfs unmounts in order", flavor: OpenLTFS, tests: "TestSignalUnmountsInOrder"},
	{says: "setting user.ltfs.sync writes an index, and its generation rises", flavor: OpenLTFS, exits: 0, recorded: "setfattr-sync", means: doesNotFail, tests: "TestSyncWantsTheGenerationToRise"},
	{says: "a sync that changes nothing leaves HPE's generation as it is, and ends with 0", flavor: HPE, exits: 0, recorded: "hpe/setfattr-sync", means: doesNotFail, tests: "TestSyncOfHPE"},
	{says: "with the default sync_type HPE's sync does not wait, so that sync_type=unmount is given", flavor: HPE, tests: "TestSyncOfHPE TestMountOptions TestSyncWaitsForALateIndex"},
	{says: "while it is mounted HPE's lets others ask the drive", flavor: HPE, tests: "TestDriveOfHPEAnswersWhileMounted"},
	{says: "HPE's tells its version with -V", flavor: HPE, exits: 0, recorded: "hpe/ltfs-version", means: isFlavor(HPE), tests: "TestFlavorOfVersion"},
}

func TestFacts(t *testing.T) {
	tests := testNames(t)
	for i, f := range facts {
		t.Run(fmt.Sprintf("%02d", i), func(t *testing.T) {
			names := strings.Fields(f.recorded)
			if len(names) == 0 && f.tests == "" || len(names) > 0 && f.means == nil {
				t.Errorf("nothing shows that %s", f.says)
			}
			for _, name := range names {
				r := recorded(t, name)
				if code := r.exits(); code != f.exits && f.exits != anyExit {
					t.Errorf("%s: %s ends with %d, not %d", f.says, name, code, f.exits)
				}
				if instead := f.means(dialects[f.flavor], r); instead != "" {
					t.Errorf("%s: %s: %s", f.says, name, instead)
				}
			}
			for _, name := range strings.Fields(f.tests) {
				if !tests[name] {
					t.Errorf("%s: there is no %s", f.says, name)
				}
			}
		})
	}
}

// testNames are the tests of this package and of the virtual library.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, pattern := range []string{"*_test.go", "virtual/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests are %s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range declared.FindAllSubmatch(text, -1) {
				names[string(found[1])] = true
			}
		}
	}
	return names
}

// exits is the exit code that a command echoed first, or else that of the whole line.
func (r transcript) exits() int {
	if found := regexp.MustCompile(`(?m)^rc=(\d+)$`).FindStringSubmatch(r.stdout); found != nil {
		if n, err := strconv.Atoi(found[1]); err == nil {
			return n
		}
	}
	return r.code
}

func both(a, b meaning) meaning {
	return func(d *dialect, r transcript) string { return strings.TrimSpace(a(d, r) + " " + b(d, r)) }
}

// because is the cause that is found in the messages, and what is in its hint. The hint of a cause spells the tape out.
func because(want error, hint string) meaning {
	return func(d *dialect, r transcript) string {
		got, err := d.cause(r.stdout+r.stderr, "A00001L8")
		switch {
		case err != want:
			return fmt.Sprintf("its cause is taken to be %v, not %v", err, want)
		case !strings.Contains(got, hint), err != nil && err != errNotThreaded && got == "", strings.Contains(got, "BARCODE"), strings.Contains(got, "%"):
			return fmt.Sprintf("the hint is %q", got)
		}
		return ""
	}
}

func consistent(want bool) meaning {
	return func(d *dialect, r transcript) string {
		if got := d.consistent(r.code, ltfsCodes(r.stderr)); got != want {
			return fmt.Sprintf("the volume counts as consistent: %v", got)
		}
		return ""
	}
}

func makes(uuid string) meaning {
	return func(_ *dialect, r transcript) string {
		if got := formattedUUID(r.stderr); got != uuid {
			return fmt.Sprintf("the volume is %q", got)
		}
		return ""
	}
}

func makesOne(_ *dialect, r transcript) string {
	if got := formattedUUID(r.stderr); len(got) != 36 {
		return fmt.Sprintf("the volume is %q", got)
	}
	return ""
}

func logsAnError(_ *dialect, r transcript) string {
	for _, code := range ltfsCodes(r.stdout + "\n" + r.stderr) {
		if strings.HasSuffix(code, "E") {
			return ""
		}
	}
	return "there is no error code in it"
}

// logsFull is the end of the tape in a log that went to the journal of the system.
func logsFull(d *dialect, r transcript) string {
	for _, code := range ltfsCodes(regexp.MustCompile(`(?m)^.*? ltfs\[\d+\]: `).ReplaceAllString(r.stdout+"\n"+r.stderr, "")) {
		if slices.Contains(d.fullCodes, code) {
			return ""
		}
	}
	return "nothing says that the tape is full"
}

func isFlavor(want Flavor) meaning {
	return func(_ *dialect, r transcript) string {
		if got := FlavorOf(r.stdout + r.stderr); got != want {
			return fmt.Sprintf("it is taken for %s", got)
		}
		return ""
	}
}

func senses(key string, code, qualifier int, cause error) meaning {
	return func(_ *dialect, r transcript) string {
		want := sense{key, code, qualifier}
		all := parseSense(r.stderr)
		if len(all) == 0 || all[len(all)-1] != want {
			return fmt.Sprintf("the sense is %+v, not %+v", all, want)
		}
		if hint, err := mtxCause(r.stderr); !errors.Is(err, cause) || err != nil && hint == "" {
			return fmt.Sprintf("its cause is taken to be %v (%s), not %v", err, hint, cause)
		}
		return ""
	}
}

// oneLine is a failure without a sense, whose error is the line that the program printed.
func oneLine(_ *dialect, r transcript) string {
	if all := parseSense(r.stderr); len(all) != 0 {
		return fmt.Sprintf("there is a sense, %+v", all)
	}
	pe := &ProgramError{Args: []string{"mtx"}, Code: r.code, Stderr: lastLines(r.stderr, stderrLines)}
	if want := "mtx: exit code 1: " + strings.TrimSpace(r.stderr); pe.Error() != want {
		return fmt.Sprintf("the error is %q, not %q", pe.Error(), want)
	}
	return ""
}

func doesNotFail(_ *dialect, r transcript) string {
	if all := parseSense(r.stderr); len(all) != 0 {
		return fmt.Sprintf("there is a sense, %+v", all)
	}
	return ""
}

func noStatus(_ *dialect, r transcript) string {
	if inv, err := parseStatus(r.stdout); err == nil {
		return fmt.Sprintf("it counts as a status, %+v", inv)
	}
	return ""
}

// holds is what a status must show.
func holds(wants ...func(*Inventory) string) meaning {
	return func(_ *dialect, r transcript) string {
		inv, err := parseStatus(r.stdout)
		if err != nil {
			return err.Error()
		}
		for _, want := range wants {
			if instead := want(inv); instead != "" {
				return instead
			}
		}
		return ""
	}
}

func inDrive(number int, b Barcode) func(*Inventory) string {
	return func(inv *Inventory) string {
		for _, e := range inv.Drives {
			if e.Number == number && e.Full && e.Barcode == b {
				return ""
			}
		}
		return fmt.Sprintf("%s is not in drive %d: %+v", b, number, inv.Drives)
	}
}

// inSlot is a full slot; those above 16 are mail slots.
func inSlot(number int, b Barcode) func(*Inventory) string {
	return func(inv *Inventory) string {
		for _, s := range inv.Slots {
			if s.Number == number && s.Full && s.Barcode == b && s.ImportExport == (number > 16) {
				return ""
			}
		}
		return fmt.Sprintf("%q is not in slot %d: %+v", b, number, inv.Slots)
	}
}

func tells(want MTStatus) meaning {
	return func(_ *dialect, r transcript) string {
		got, err := parseMT(r.stdout)
		if err != nil {
			return err.Error()
		}
		return cmp.Diff(want, got)
	}
}

func noMTStatus(_ *dialect, r transcript) string {
	if st, err := parseMT(r.stdout); err == nil {
		return fmt.Sprintf("it counts as a status, %+v", st)
	}
	return ""
}
