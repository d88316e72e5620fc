package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// A report is what somebody who looks for a fault needs to know of a machine, in one file that can be sent to strangers: no key, no
// passphrase, no name of a file, of a host or of a person. What is in the catalog is counted, never listed.

const (
	reportLines = 60               // of each log of ltfs
	reportRuns  = 20               // runs of which kind, state and time are told
	askLimit    = 30 * time.Second // for a program that looks at a device
)

// faultReport names a report that was written.
type faultReport struct {
	File string `json:"file"`
}

// reportFile makes the checks and writes the report into a new file.
func reportFile(ctx context.Context, u *checkup, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usagef("write a report: %s exists already", path)
	}
	if err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	u.all(ctx)
	if u.db != nil {
		defer u.db.Close()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	text := u.reportText(ctx)
	if err := u.noKeyIn(text); err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	if _, err := f.Write(text); err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	if u.JSON {
		return ui.WriteJSON(u.stdout, faultReport{path})
	}
	fmt.Fprintf(u.stdout, "wrote %s: versions, what doctor found, the configuration, what changer and drives say, logs of LTFS, and counts of the catalog\n"+
		"names of hosts, people, folders and files are left out; read it before you send it to anybody\n", path)
	return nil
}

// reportText has all sections, masked.
func (u *checkup) reportText(ctx context.Context) []byte {
	m := newMask(u.conf)
	var b bytes.Buffer
	section := func(title string, f func(io.Writer) error) {
		var text bytes.Buffer
		if err := f(&text); err != nil {
			fmt.Fprintf(&text, "(%v)\n", err)
		}
		fmt.Fprintf(&b, "== %s\n%s\n", title, m.hide(strings.TrimRight(text.String(), "\n")+"\n"))
	}
	section("versions", u.reportVersions)
	section("doctor", func(w io.Writer) error {
		for _, f := range u.findings {
			if u.conf == nil && f.Check == "configuration" {
				f.Detail = firstLine(f.Detail) // what follows shows lines of it
			}
			fmt.Fprintf(w, "%-8s %-20s %s\n", f.Mark, f.Check, ui.Printable(f.Detail))
		}
		return nil
	})
	section("configuration", func(w io.Writer) error { return u.reportConfig(w, m) })
	section("kernel", u.reportKernel)
	section("devices", func(w io.Writer) error { return u.reportDevices(ctx, w) })
	section("logs of ltfs", u.reportLogs)
	section("catalog", func(w io.Writer) error { return u.reportCatalog(ctx, w) })
	return b.Bytes()
}

func (u *checkup) reportVersions(w io.Writer) error {
	fmt.Fprintf(w, "tapefs %s, %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	var un unix.Utsname
	if err := unix.Uname(&un); err != nil {
		return err
	}
	fmt.Fprintf(w, "kernel %s %s\n", unix.ByteSliceToString(un.Release[:]), unix.ByteSliceToString(un.Machine[:]))
	text, err := os.ReadFile(filepath.Join(u.paths.etc, "os-release"))
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "PRETTY_NAME=") {
			fmt.Fprintln(w, line)
		}
	}
	fmt.Fprintf(w, "made %s\n", time.Now().UTC().Format(time.RFC3339))
	return err
}

func (u *checkup) reportConfig(w io.Writer, m *mask) error {
	if u.conf == nil {
		return errors.New("there is none that can be read")
	}
	text, err := os.ReadFile(u.conf.File())
	if err != nil {
		return err
	}
	out, err := m.config(text)
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

func (u *checkup) reportKernel(w io.Writer) error {
	text, err := os.ReadFile(filepath.Join(u.paths.proc, "modules"))
	wanted := []string{"sg", "st", "ch", "fuse", "mpt3sas", "mpt2sas", "qla2xxx", "lpfc", "usb_storage", "uas", "iscsi_tcp", "mhvtl"}
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) > 2 && slices.Contains(wanted, f[0]) {
			fmt.Fprintf(w, "module %s, used by %s\n", f[0], f[2])
		}
	}
	devices, derr := os.ReadFile(filepath.Join(u.paths.proc, "devices"))
	for _, line := range strings.Split(string(devices), "\n") {
		if f := strings.Fields(line); len(f) == 2 && slices.Contains([]string{"sg", "st", "sch", "ch"}, f[1]) {
			fmt.Fprintf(w, "devices of %s\n", f[1])
		}
	}
	return errors.Join(err, derr)
}

// reportDevices has what the programs say that only look.
func (u *checkup) reportDevices(ctx context.Context, w io.Writer) error {
	if u.conf == nil {
		return errors.New("no configuration")
	}
	l := u.conf.ChangerConfig()
	programs := u.conf.Library.Programs
	ask := func(program, usual string, args ...string) {
		if program == "" {
			program = usual
		}
		fmt.Fprintf(w, "$ %s\n", strings.Join(append([]string{usual}, args...), " "))
		path, err := changer.FindProgram(program)
		if err != nil {
			fmt.Fprintf(w, "(%v)\n", err)
			return
		}
		limited, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		var out changer.Clip
		cmd := exec.CommandContext(limited, path, args...)
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Second
		err = cmd.Run()
		fmt.Fprintln(w, strings.TrimRight(out.String(), "\n"))
		if err != nil {
			fmt.Fprintf(w, "(%v)\n", err)
		}
	}
	ask(programs.Lsscsi, "lsscsi", "-g")
	if l.Changer != "" && l.Changer != changer.None {
		ask(programs.Mtx, "mtx", "-f", l.Changer, "inquiry")
		ask(programs.Mtx, "mtx", "-f", l.Changer, "status")
	}
	if u.lib == nil {
		return nil
	}
	for _, d := range u.lib.Configured() {
		fmt.Fprintf(w, "drive %d: %s, device %s, tape %s\n", d.Element, d.Serial, d.Device, d.Tape)
		ask(programs.Mtx, "mtx", "-f", d.Device, "inquiry")
		ask(programs.Mt, "mt", "-f", d.Tape, "status")
	}
	return nil
}

// reportLogs has the last lines of the logs of ltfs that are messages of its own.
func (u *checkup) reportLogs(w io.Writer) error {
	if u.conf == nil {
		return errors.New("no configuration")
	}
	logs, err := filepath.Glob(filepath.Join(u.conf.RunDir(), "ltfs-*.log"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		fmt.Fprintf(w, "-- %s\n", filepath.Base(path))
		text, err := tailOf(path, 64<<10)
		if err != nil {
			fmt.Fprintf(w, "(%v)\n", err)
			continue
		}
		var lines []string
		for _, line := range strings.Split(text, "\n") {
			if ltfsLine().MatchString(line) {
				lines = append(lines, ui.Printable(line))
			}
		}
		fmt.Fprintln(w, strings.Join(lines[max(0, len(lines)-reportLines):], "\n"))
	}
	return nil
}

// tailOf is the end of a file, n bytes at most.
func tailOf(path string, n int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	at := max(0, info.Size()-n)
	text, err := io.ReadAll(io.NewSectionReader(f, at, n))
	return string(text), err
}

// reportCatalog counts.
func (u *checkup) reportCatalog(ctx context.Context, w io.Writer) error {
	if u.db == nil {
		return errors.New("it could not be opened")
	}
	list, err := u.db.Statistics(ctx)
	for _, s := range list {
		fmt.Fprintf(w, "%12d %s\n", s.N, s.What)
	}
	if err != nil {
		return err
	}
	runs, err := u.db.Runs(ctx, reportRuns)
	for _, r := range runs {
		took := "not ended"
		if !r.Ended.IsZero() {
			took = r.Ended.Sub(r.Started).Round(time.Second).String()
		}
		fmt.Fprintf(w, "run %d: %s, %s, %s, %s\n", r.ID, r.Kind, r.Started.UTC().Format(time.RFC3339), took, r.State)
	}
	return err
}

// noKeyIn refuses a report that holds a key: none of its sections should, and this is the last look at it.
func (u *checkup) noKeyIn(text []byte) error {
	if u.conf == nil {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(u.conf.Keys.Dir, "*.key"))
	if err != nil {
		return err
	}
	for _, path := range files {
		key, err := os.ReadFile(path)
		if err != nil {
			continue // what cannot be read is not in the report either
		}
		if key = bytes.TrimSpace(key); len(key) >= 16 && bytes.Contains(bytes.ToLower(text), bytes.ToLower(key)) {
			return errors.New("it would hold a key: nothing was written")
		}
	}
	return nil
}
