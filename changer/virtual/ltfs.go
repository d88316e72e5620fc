package virtual

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ltfsFlags are the options that mean something here; the others are accepted.
type ltfsFlags struct {
	foreground, quiet, ro, eject, nonempty bool
	list, release, version                 bool
	device, mountPoint                     string
	sync                                   time.Duration // 0: at unmount only
	bad                                    string
}

func parseLtfs(args []string) ltfsFlags {
	f := ltfsFlags{sync: 5 * time.Minute}
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-f":
			f.foreground = true
		case a == "-o" && i+1 < len(args):
			i++
			f.options(args[i])
		case strings.HasPrefix(a, "-o"):
			f.options(a[2:])
		case a == "-V", a == "--version":
			f.version = true
		case a == "-d", a == "-s":
		case strings.HasPrefix(a, "-"):
			f.bad = a
		default:
			f.mountPoint = a
		}
	}
	return f
}

func (f *ltfsFlags) options(list string) {
	for o := range strings.SplitSeq(list, ",") {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "devname":
			f.device = value
		case "ro":
			f.ro = true
		case "eject":
			f.eject = true
		case "quiet":
			f.quiet = true
		case "nonempty":
			f.nonempty = true
		case "device_list":
			f.list = true
		case "release_device":
			f.release = true
		case "sync_type":
			kind, minutes, _ := strings.Cut(value, "@")
			n, err := strconv.Atoi(minutes)
			switch {
			case kind == "unmount" || kind == "close":
				f.sync = 0
			case err == nil && n > 0:
				f.sync = time.Duration(n) * time.Minute
			}
		}
	}
}

// daemonVariable marks the process that ltfs starts for itself when it goes to the background.
const daemonVariable = "VIRTUAL_LTFS_DAEMON"

func runLtfs(l *Library, args []string, stdout, stderr io.Writer) int {
	f := parseLtfs(args)
	if f.version {
		return l.speech.tellVersion(stderr, "LTFS")
	}
	if f.mountPoint != "" && !f.foreground && os.Getenv(daemonVariable) == "" {
		return l.background(args, stderr)
	}
	m := &messages{w: stderr, speech: l.speech, prefix: fmt.Sprintf("%x ", os.Getpid()), quiet: f.quiet}
	code, err := l.ltfs(m, f, args)
	if err != nil {
		fmt.Fprintf(stderr, "ltfs: %v\n", err)
		return 1
	}
	return code
}

// background starts ltfs again as a daemon and waits until it is mounted or gone.
func (l *Library) background(args []string, stderr io.Writer) int {
	fail := func(err error) int {
		fmt.Fprintf(stderr, "ltfs: start in the background: %v\n", err)
		return 1
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	argv := append(append([]string{}, l.program...), "ltfs", "--library", l.Dir)
	cmd := exec.Command(argv[0], append(argv[1:], args...)...)
	cmd.Env = append(os.Environ(), daemonVariable+"=1")
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = stderr
	if stderr, ok := stderr.(*os.File); ok {
		cmd.Stderr = stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		w.Close()
		return fail(err)
	}
	w.Close()
	if n, _ := r.Read(make([]byte, 1)); n == 1 {
		return 0
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1)
	} else if err != nil {
		return fail(err)
	}
	return 0
}

// detach lets the process that waits in background go, and everything it shares with us.
func (l *Library) detach(drive int) error {
	path := filepath.Join(l.Dir, "drives", fmt.Sprintf("%d.log", drive))
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	for to, from := range map[int]*os.File{0: null, 1: log, 2: log} {
		if err := unix.Dup2(int(from.Fd()), to); err != nil {
			return err
		}
	}
	ready := os.NewFile(3, "ready")
	defer ready.Close()
	_, err = ready.Write([]byte{1})
	return err
}

func (m *messages) startLtfs(f ltfsFlags, args []string) {
	m.say("LTFS14000I LTFS starting, %s, log level 2.", m.speech.starts)
	m.say("LTFS14058I LTFS Format Specification version 2.4.0.")
	m.say(`LTFS14104I Launched by "%s".`, launched("ltfs", args))
	m.say("LTFS14105I This binary is built for Linux (x86_64).")
	m.say("LTFS14106I GCC version is 12.2.0.")
	m.system()
	if f.list && !m.speech.hpe {
		m.plugin()
		return
	}
	switch {
	case f.sync > 0:
		m.say(`LTFS14063I Sync type is "time", Sync time is %d sec.`, int(f.sync.Seconds()))
	case m.speech.hpe:
		m.say(`LTFS14064I Sync type is "unmount"`)
	default:
		m.say(`LTFS14063I Sync type is "unmount", Sync time is 0 sec.`)
	}
	if f.mountPoint == "" && !f.list && !f.release {
		m.say("LTFS14200E Missing mountpoint parameter")
		m.plugin()
		return
	}
	m.plugin()
	m.say("LTFS17085I Plugin: Loading %s.", m.speech.scheduler)
	m.say("LTFS14095I Set the tape device write-anywhere mode to avoid cartridge ejection.")
}

func (l *Library) ltfs(m *messages, f ltfsFlags, args []string) (int, error) {
	if m.speech.hpe && f.device == "" {
		f.device = "/dev/nst0" // its default
	}
	if f.bad != "" || f.device == "" && !f.list || f.mountPoint == "" && !f.list && !f.release {
		if m.speech.hpe && f.bad == "" {
			m.startLtfs(f, args)
		}
		m.raw("usage: ltfs [-f] -o devname=DEVICE [-o OPTION[,OPTION]...] MOUNTPOINT")
		return 1, nil
	}
	m.startLtfs(f, args)
	if f.list && !m.speech.hpe { // HPE's lists nothing: it opens its default device
		m.raw("Tape Device list:.")
		for i := len(l.Drives) - 1; i >= 0; i-- {
			m.raw("Device Name = %s (2.0.%d.0), Vendor ID = %-8s, Product ID = %-16s, Serial Number = %s, Product Name =[%s].",
				l.Drives[i].Device, i+1, l.Drives[i].kind.Vendor, l.Drives[i].kind.Product, l.Drives[i].Serial, l.Drives[i].kind.Product)
		}
		return 1, nil // recorded so
	}
	d, err := l.openDrive(m, f.device)
	if err != nil {
		return 0, err
	}
	if d == nil {
		m.say("LTFS10004E Cannot open device '%s'.", f.device)
		return 1, nil
	}
	defer d.close()
	if f.release {
		return 0, nil
	}
	if ok, err := d.load(m, "LTFS14075E Cannot set up tape drive."); err != nil || !ok {
		return 1, err
	}
	m.say("LTFS11005I Mounting the volume.")
	if d.f.names("stuck-mount", d.m.Barcode) {
		return 1, l.stuckMount(m, d)
	}
	m.settingUp()
	if !d.m.Formatted || d.kind == devTape {
		m.unreadable(d)
		return 1, nil
	}
	if d.f.names("needs-check", d.m.Barcode) || d.m.Unclean {
		m.needsCheck(f.ro)
		return 1, nil
	}
	return l.ltfsVolume(m, f, d)
}

// stuckMount looks for an index that it never finds.
func (l *Library) stuckMount(m *messages, d *openedDrive) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	for m.say("LTFS30216W Length mismatch is detected."); d.f.names("stuck-mount", d.m.Barcode); time.Sleep(readyPoll) {
		var err error
		if d.f, err = l.loadFaults(); err != nil {
			return err
		}
	}
	m.say("LTFS14013E Cannot mount the volume.")
	return nil
}

// unreadable is said when there is no volume to be found: none on the tape, or a node that cannot be read through.
func (m *messages) unreadable(d *openedDrive) {
	if d.m.Formatted {
		m.say("LTFS30200I Failed to execute SG_IO ioctl, opcode = 08 (22).")
		m.say("LTFS30263I READ returns ioctl error (-21700) %s.", d.device)
		m.say("LTFS12049E Cannot read: backend call failed (-21700).")
		m.say("LTFS17039E XML parser: failed to read a block from the medium (-21700).")
		m.say("LTFS17037E XML parser: failed to read from XML stream.")
		m.say("LTFS17273E XML parser: Detected an I/O error on reading an index from the tape (-21700).")
		m.say("LTFS17016E Cannot parse index direct from medium (-21700).")
		m.say("LTFS11194W Cannot read index: failed to read and parse XML data (-21700).")
		m.say("LTFS11024E Cannot mount volume: read index failed on the index partition.")
	} else {
		m.say("LTFS17168E Cannot read volume: medium is not partitioned.")
	}
	m.say("LTFS14013E Cannot mount the volume.")
	m.closing()
}

// ltfsVolume mounts the volume of a loaded tape and serves it until it is unmounted.
func (l *Library) ltfsVolume(m *messages, f ltfsFlags, d *openedDrive) (int, error) {
	v, err := openVolume(d, m)
	if err != nil {
		return 0, err
	}
	protected := l.writeProtected(d.n, d.m, d.f)
	noSpace := v.full || v.pos.used >= d.m.Capacity
	v.async = m.speech.hpe && f.sync > 0
	v.ro = f.ro || protected || noSpace || d.m.WritePerm
	if err := v.recover(); err != nil {
		return 0, err
	}
	m.mounted(d.m, v.x, d.serial)
	if err := l.record(Event{Drive: d.n, Kind: "mount", Barcode: d.m.Barcode, Seconds: MountSeconds}); err != nil {
		return 0, err
	}
	if _, err := os.Stat(f.mountPoint); err != nil {
		m.raw("fuse: bad mount point `%s': No such file or directory", f.mountPoint)
		m.say("LTFS14094E Cannot get mount point (-1).")
		m.closing()
		return 1, nil
	}
	switch {
	case protected:
		m.say("LTFS14019I Medium is write protected. Mounting read-only.")
	case d.m.WritePerm:
		m.say("LTFS11333I A cartridge with write-perm error is detected on DP.")
	case noSpace:
		m.say("LTFS14074I Data partition has no space to write index. Mounting as read-only.")
		m.hpe("LTFS20022I Mounting read-only: the tape has little space left")
	}
	m.say("LTFS14111I Initial setup completed successfully.")
	m.say("LTFS14112I Invoke 'mount' command to check the result of final setup.")
	m.say("LTFS14113I Specified mount point is listed if succeeded.")
	if entries, err := os.ReadDir(f.mountPoint); !f.nonempty && (err != nil || len(entries) > 0) {
		m.raw("fuse: mountpoint is not empty")
		m.raw("fuse: if you are sure this is safe, use the 'nonempty' mount option")
		m.say("LTFS14123W The main function of FUSE returned error (1).")
		m.closing()
		return 0, nil
	}
	v.clean()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	mnt, err := mountVolume(v, f.device, f.mountPoint)
	if err != nil {
		m.raw("fuse: %v", err)
		m.say("LTFS14123W The main function of FUSE returned error (1).")
		m.closing()
		return 0, nil
	}
	if !f.foreground {
		if err := l.detach(d.n); err != nil {
			return 0, errors.Join(err, mnt.unmount())
		}
	}
	m.say("LTFS14029I Ready to receive file system requests.")
	mnt.serve(v, f.sync, signals)
	// umount has returned by now; what is only in memory is not on tape yet.
	time.Sleep(v.faults().duration("slow-umount", v.windDown()))
	code := 0
	if err := v.finish(); err != nil {
		m.raw("ltfs: %v", err)
		code = 1
	}
	m.closing()
	if f.eject {
		if err := l.ejectAfter(v); err != nil {
			return 0, err
		}
	}
	return code, nil
}

// windDown is how long after umount the index is written: at once when there is nothing to write, as recorded.
func (v *volume) windDown() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dirty || v.x.Self.Partition == "b" && !v.ro {
		return 300 * time.Millisecond
	}
	return 0
}

// ejectAfter unthreads the tape, as the option eject asks.
func (l *Library) ejectAfter(v *volume) error {
	return l.change(func(st *state) error {
		if d := &st.Drives[v.d.n]; d.Tape == v.d.id && d.Loads == v.d.loads {
			d.Ejected, d.File, d.Block = true, -1, -1
		}
		return nil
	})
}
