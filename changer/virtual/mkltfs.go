package virtual

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Exit codes of mkltfs and ltfsck, as recorded.
const (
	exitOperational = 8
	exitUsage       = 16
)

type mkltfsFlags struct {
	device, serial, name string
	force, wipe, quiet   bool
}

// parseMkltfs understands the options that are used; rules and the like are accepted and do nothing.
func parseMkltfs(args []string) (f mkltfsFlags, bad string) {
	for i := 0; i < len(args); i++ {
		a, value, hasValue := args[i], "", false
		if strings.HasPrefix(a, "--") {
			a, value, hasValue = strings.Cut(a, "=")
			_ = hasValue
		} else if len(a) > 2 && strings.HasPrefix(a, "-") && strings.Contains("dsnrbc", a[1:2]) {
			a, value, hasValue = a[:2], a[2:], true
		}
		next := func() string {
			if hasValue {
				return value
			}
			if i+1 < len(args) {
				i++
				return args[i]
			}
			return ""
		}
		switch a {
		case "-d", "--device":
			f.device = next()
		case "-s", "--tape-serial":
			f.serial = next()
		case "-n", "--volume-name":
			f.name = next()
		case "-r", "--rules", "-b", "--blocksize":
			next()
		case "-f", "--force":
			f.force = true
		case "-w", "--wipe":
			f.wipe = true
		case "-q", "--quiet":
			f.quiet = true
		case "--no-override", "-c", "--no-compression", "-t", "--trace", "--syslogtrace":
		default:
			return f, args[i]
		}
	}
	return f, ""
}

func runMkltfs(l *Library, args []string, _, stderr io.Writer) int {
	m := &messages{w: stderr, speech: l.speech}
	if slices.Contains(args, "--version") || slices.Contains(args, "-V") {
		return l.speech.tellVersion(stderr, "mkltfs")
	}
	f, bad := parseMkltfs(args)
	usage := func() int {
		m.plugin()
		m.raw("\nUsage: mkltfs <options>\n\n  -d DEVICE [-f] [-s SERIAL] [-n NAME] [-r RULES] [-w] [-q]")
		return exitUsage
	}
	if bad != "" {
		for range 2 {
			m.raw("mkltfs: unrecognized option '%s'", bad)
		}
		return usage()
	}
	m.quiet = f.quiet
	m.say("LTFS15000I Starting mkltfs, %s, log level 2.", m.speech.starts)
	m.say(`LTFS15041I Launched by "%s".`, launched("mkltfs", args))
	m.say("LTFS15042I This binary is built for Linux (x86_64).")
	m.say("LTFS15043I GCC version is 12.2.0.")
	m.system()
	switch {
	case f.device == "":
		m.say("LTFS15026E Device name must use the '-d' option.")
		m.say("LTFS15002E Option validation failed.")
		return usage()
	case f.serial != "" && len(f.serial) != 6:
		m.say("LTFS15029E Tape serial must be 6 characters.")
		return usage()
	}
	m.say("LTFS15003I Formatting device '%s'.", f.device)
	m.say("LTFS15004I LTFS volume blocksize: %d.", blockSize)
	m.say("LTFS15005I Index partition placement policy: None.")
	m.raw("")
	fresh := &meta{Serial: f.serial}
	if !f.wipe {
		m.dirty(fresh, 1)
	}
	m.plugin()
	code, err := l.mkltfs(m, f, fresh)
	if err != nil {
		fmt.Fprintf(stderr, "mkltfs: %v\n", err)
		return exitOperational
	}
	return code
}

func (l *Library) mkltfs(m *messages, f mkltfsFlags, fresh *meta) (int, error) {
	d, err := l.openDrive(m, f.device)
	if err != nil {
		return 0, err
	}
	if d == nil {
		m.say("LTFS15009E Cannot open device '%s' (-21711).", f.device)
		m.say("LTFS15023I Formatting failed.")
		return exitOperational, nil
	}
	defer d.close()
	if f.wipe {
		return l.unformat(m, d)
	}
	ok, err := d.load(m, "LTFS15044E Cannot set up tape device.")
	if err != nil {
		return 0, err
	}
	if !ok {
		m.say("LTFS15023I Formatting failed.")
		return exitOperational, nil
	}
	failed := func(code int) (int, error) {
		m.closing()
		m.say("LTFS15023I Formatting failed.")
		return code, nil
	}
	protected := l.writeProtected(d.n, d.m, d.f)
	m.earlyWarning()
	if protected && m.speech.hpe { // it looks before it does anything else
		m.say("LTFS11095E Cannot format: the medium is write protected.")
		return failed(m.speech.writeProtected)
	}
	how := "mount"
	if f.force {
		how = "load"
	}
	m.say("LTFS15049I Checking the medium (%s).", how)
	m.settingUp()
	if d.m.Formatted && !f.force {
		m.say("LTFS15047E Medium is already formatted (0).")
		m.say("LTFS15048I Need to specify -f or --force option to format this medium.")
		return failed(exitUsage)
	}
	m.say("LTFS15010I Creating data partition b on SCSI partition 1.")
	m.say("LTFS15011I Creating index partition a on SCSI partition 0.")
	if protected {
		m.say("LTFS11095E Cannot format: the medium is write protected.")
		m.say("LTFS15012E Failed to format the medium.")
		return failed(m.speech.writeProtected)
	}
	if err := l.format(d.id, d.m, f.serial, f.name); err != nil {
		return 0, err
	}
	if err := l.record(Event{Drive: d.n, Kind: "format", Barcode: d.m.Barcode, Seconds: formatSeconds}); err != nil {
		return 0, err
	}
	m.say("LTFS17165I Resetting the medium's capacity proportion.")
	m.say("LTFS11097I Partitioning the medium.")
	if d.m.Memory != f.serial {
		m.hpe("LTFS20106I Retaining existing MAM barcode %-32s", d.m.Memory)
	}
	for _, p := range []string{"b", "a"} {
		m.say("LTFS11100I Writing label to partition %s.", p)
		m.say("LTFS11278I Writing index to partition %s.", p)
		m.wrote(fresh, position{p, indexPartitionStart}, "Format", 0, 1, d.serial)
		if p == "b" {
			m.dirty(fresh, 0)
		}
	}
	m.say("LTFS15013I Volume UUID is: %s.", d.m.UUID)
	m.raw("")
	m.say("LTFS15019I Volume capacity is %d GB.", (d.m.Capacity+5e8)/1e9)
	m.closing()
	m.say("LTFS15024I Medium formatted successfully.")
	return 0, nil
}

// unformat is mkltfs -w; it exits 1 on success, as recorded.
func (l *Library) unformat(m *messages, d *openedDrive) (int, error) {
	t, err := l.loaded(d.n)
	if err != nil {
		return 0, err
	}
	if t.m == nil || t.m.Cleaning {
		m.noMedium(d.device, "LTFS15044E Cannot set up tape device.")
		m.say("LTFS15023I Formatting failed.")
		return exitOperational, nil
	}
	m.say("LTFS17160I Maximum device block size is %d.", m.speech.maxBlock)
	m.say("LTFS17157I Changing the drive setting to write-anywhere mode.")
	m.settingUp()
	if l.writeProtected(d.n, t.m, t.f) {
		m.say("LTFS11095E Cannot format: the medium is write protected.")
		m.say("LTFS15023I Formatting failed.")
		return m.speech.writeProtected, nil
	}
	m.say("LTFS17071I Unpartitioning the medium.")
	m.protection()
	if err := l.wipe(t.d.Tape, t.m); err != nil {
		return 0, errors.Join(errors.New("wipe tape"), err)
	}
	if err := l.record(Event{Drive: d.n, Kind: "erase", Barcode: t.m.Barcode, Seconds: formatSeconds}); err != nil {
		return 0, err
	}
	m.say("LTFS15040I Medium unformatted successfully.")
	return 1, nil
}
