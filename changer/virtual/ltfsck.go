package virtual

import (
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Further exit codes of ltfsck, as recorded.
const (
	exitConsistent  = 1 // also when nothing had to be repaired
	exitUncorrected = 4
	exitNoMedium    = 15
)

type ltfsckFlags struct {
	device                string
	full, list, all, help bool
}

func runLtfsck(l *Library, args []string, stdout, stderr io.Writer) int {
	if slices.Contains(args, "--version") || slices.Contains(args, "-V") {
		return l.speech.tellVersion(stderr, "ltfsck")
	}
	m := &messages{w: stderr, speech: l.speech}
	var f ltfsckFlags
	for i := 0; i < len(args); i++ {
		switch a := args[i]; a {
		case "-f", "--full-recovery":
			f.full = true
		case "-l", "--list-rollback-points":
			f.list = true
		case "-m", "--full-index-info":
			f.all = true
		case "-z", "--deep-recovery":
			f.full = true
		case "-q", "--quiet":
			m.quiet = true
		default:
			if strings.HasPrefix(a, "-") {
				f.help = true
			} else {
				f.device = a
			}
		}
	}
	if f.help || f.device == "" {
		m.raw("Usage: ltfsck [-f] [-l [-m]] DEVICE")
		return exitUsage
	}
	m.say("LTFS16000I Starting ltfsck, %s, log level 2.", m.speech.starts)
	m.say(`LTFS16088I Launched by "%s".`, launched("ltfsck", args))
	m.say("LTFS16089I This binary is built for Linux (x86_64).")
	m.say("LTFS16090I GCC version is 12.2.0.")
	m.system()
	if f.list {
		m.say("LTFS16084I List indexes in backward direction strategy.")
	}
	m.plugin()
	code, err := l.ltfsck(m, f, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "ltfsck: %v\n", err)
		return exitOperational
	}
	return code
}

func (l *Library) ltfsck(m *messages, f ltfsckFlags, stdout io.Writer) (int, error) {
	d, err := l.openDrive(m, f.device)
	if err != nil {
		return 0, err
	}
	if d == nil {
		m.say("LTFS16011E Cannot open device '%s'.", f.device)
		return exitOperational, nil
	}
	defer d.close()
	ok, err := d.load(m, fmt.Sprintf("LTFS16092E Cannot set up tape drive (%s).", f.device))
	if err != nil {
		return 0, err
	}
	if !ok {
		return m.speech.noMedium, nil
	}
	if f.list {
		m.say("LTFS16018I Listing LTFS file system rollback points on '%s'.", f.device)
	} else {
		m.say("LTFS16014I Checking LTFS file system on '%s'.", f.device)
	}
	m.settingUp()
	if !d.m.Formatted {
		m.say("LTFS17168E Cannot read volume: medium is not partitioned.")
		m.say("LTFS16080E Cannot check volume (8).")
		m.closing()
		return exitUncorrected, nil
	}
	m.say("LTFS16023I LTFS volume information:.")
	m.say("LTFS16024I Volser (bar code) : %s.", d.m.Serial)
	m.say("LTFS16025I Volume UUID     : %s.", d.m.UUID)
	m.say("LTFS16026I Format time     : %s.", d.m.FormatTime.Format("2006-01-02 15:04:05.000000000 UTC"))
	m.say("LTFS16027I Block size      : %d.", blockSize)
	m.say("LTFS16028I Compression     : Enabled.")
	m.say("LTFS16029I Index partition : ID = a, SCSI Partition = 0.")
	m.say("LTFS16030I Data partition  : ID = b, SCSI Partition = 1.")
	m.raw("")
	m.say("LTFS11005I Mounting the volume.")
	m.settingUp()
	v, err := openVolume(d, m)
	if err != nil {
		return 0, err
	}
	defer v.posFile.Close()
	if f.list {
		m.mounted(d.m, v.x, d.serial)
		listVersions(stdout, v.x, f.all)
		m.closing()
		return 0, nil
	}
	m.say("LTFS11026I Performing a full medium consistency check.")
	if err := l.stuckCheck(d); err != nil {
		return 0, err
	}
	if d.f.names("check-fails", d.m.Barcode) {
		m.say("LTFS11024E Cannot mount volume: read index failed on the index partition.")
		m.say("LTFS16021E Volume is inconsistent and was not corrected.")
		m.closing()
		return exitUncorrected, nil
	}
	if d.f.names("needs-check", d.m.Barcode) {
		if err := l.endFault("needs-check", d.m.Barcode); err != nil {
			return 0, err
		}
	}
	repaired, err := v.check()
	if err := errors.Join(err, v.markClean()); err != nil {
		return 0, err
	}
	m.mounted(d.m, v.x, d.serial)
	m.say("LTFS17265I Skip writing the index because of the volume is not dirty and current self pointer points IP.")
	m.say("LTFS30235I Cannot parse the log page 0x37 in get cart health.")
	m.say("LTFS11034I Volume unmounted successfully.")
	m.say("LTFS16022I Volume is consistent.")
	if repaired {
		m.hpe("LTFS16437I Volume corrected, Setting the LTFS Volume to be unlocked")
	}
	m.closing()
	return m.speech.consistent, nil
}

// stuckCheck is a check that does not come to an end while that fault is set.
func (l *Library) stuckCheck(d *openedDrive) error {
	if !d.f.names("stuck-check", d.m.Barcode) {
		return nil
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	for d.f.names("stuck-check", d.m.Barcode) {
		time.Sleep(readyPoll)
		var err error
		if d.f, err = l.loadFaults(); err != nil {
			return err
		}
	}
	return nil
}

// check repairs a volume whose data partition goes on after the last index: OpenLTFS writes a new index behind what is there, HPE's
// takes off what no index tells of. It reports whether there was anything to repair.
func (v *volume) check() (repaired bool, err error) {
	left := v.pos.block > v.x.LastOnB+2 || v.x.Self.Partition != "a"
	if v.msgs.speech.hpe {
		left = v.d.m.Unclean // it says nothing of data that an ltfs left which was only killed, as recorded
	}
	if v.d.l.writeProtected(v.d.n, v.d.m, v.d.f) || v.d.m.WritePerm || !left {
		v.msgs.say("LTFS11233I Updating MAM coherency data.")
		return false, nil
	}
	v.msgs.noIndex()
	if v.msgs.speech.hpe {
		v.msgs.say("LTFS11227I Erasing bad blocks from the data partition")
		v.pos = tapePosition{block: v.x.LastOnB + 2, used: v.x.Used}
		if err := writePosition(v.posFile, v.pos); err != nil {
			return false, err
		}
	} else {
		v.msgs.say("LTFS11227I Preserve existing unreferred data blocks in the data partition, put the latest index at %d.", v.pos.block)
	}
	v.touch()
	v.msgs.say("LTFS11230I Writing index(es) to restore consistency.")
	v.msgs.say("LTFS17259I Recover an index on DP from (a, %d).", indexPartitionStart)
	v.mu.Lock()
	defer v.mu.Unlock()
	return true, v.writeIndex("Recovery", true)
}

// listVersions prints the generations of the index, newest first.
func listVersions(w io.Writer, x *index, all bool) {
	blank := func(width int) string { return strings.Repeat(" ", width) }
	fmt.Fprintf(w, "Generation: Date       Time               Zone     SelfPtr->BackPtr (Part, Pos)\n")
	fmt.Fprintf(w, "           (UTC Date   UTC Time           UTC)%s\n", blank(33))
	if all {
		fmt.Fprintf(w, "%sLTFS Format Version, Creator\n%sVolume name\n%sPlacement Policy: [Overwrite] size_threshold pattern\n",
			blank(12), blank(12), blank(12))
	}
	fmt.Fprintf(w, "%sCommit Message%s\n%s\n", blank(12), blank(53), strings.Repeat("-", 79))
	place := func(p position) string {
		return fmt.Sprintf("(%d, %d)", int(p.Partition[0]-'a'), p.Block)
	}
	versions := append(append([]indexVersion(nil), x.History...), version(x))
	for i := len(versions) - 1; i >= 0; i-- {
		v := versions[i]
		at := place(v.Self) + "->" + place(v.Back)
		if v.Generation == 1 {
			at = place(v.Back) + " <<Initial Index>>"
		}
		fmt.Fprintf(w, "%10d: %s UTC      %s\n", v.Generation, v.Time.Format("2006-01-02 15:04:05.000000000"), at)
		if all {
			fmt.Fprintf(w, "%s2.4.0, %q\n%s%s\n%sNo criteria\n", blank(12), v.Creator, blank(12), v.VolumeName, blank(12))
		}
		if v.Message == "" {
			fmt.Fprintf(w, "%sNo commit message\n", blank(12))
		} else {
			fmt.Fprintf(w, "%s%s\n", blank(11), v.Message)
		}
	}
}
