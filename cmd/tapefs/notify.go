package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// Events that the command of notify: is run for.
const (
	eventWanted   = "wanted-tape"
	eventPoolLow  = "pool-low"
	eventCleaning = "drive-needs-cleaning"
	eventTape     = "tape-suspect"
	eventDrive    = "drive-suspect"
	eventDamage   = "damage"
	eventRun      = "run-failed"
	eventTest     = "test"
)

// condition is something that somebody should be told of, once as long as it lasts. It is what the command gets as JSON.
type condition struct {
	Event   string    `json:"event"`
	Message string    `json:"message"`
	Hint    string    `json:"hint,omitempty"`
	Tape    string    `json:"tape,omitempty"`
	Place   string    `json:"place,omitempty"`
	Pool    string    `json:"pool,omitempty"`
	Drive   string    `json:"drive,omitempty"` // serial
	Run     string    `json:"run,omitempty"`   // archive, verify, …
	Exit    int       `json:"exit_code,omitempty"`
	Copies  int       `json:"copies,omitempty"` // damaged ones
	Host    string    `json:"host"`
	Catalog string    `json:"catalog"`
	Time    time.Time `json:"time"`

	key   string // what stays the same while it lasts
	level int64  // a higher one is told again
}

// told is what notified.json keeps of a condition.
type told struct {
	Level int64     `json:"level"`
	Since time.Time `json:"since"`
	Retry time.Time `json:"retry,omitzero"` // the command failed: when it is run again
}

const (
	// notifyTimeout bounds one run of the command.
	notifyTimeout = 30 * time.Second
	// notifyRetry is how long a command that failed is left alone.
	notifyRetry = 15 * time.Minute
)

// notifier runs the command of notify: for what is new. nil does nothing.
type notifier struct {
	argv    []string
	dir     string // the run folder
	catalog string
	timeout time.Duration // of one run of the command
	log     *slog.Logger
}

func (a *app) notifier(c *settings) *notifier {
	if len(c.Notify) == 0 {
		return nil
	}
	return &notifier{argv: c.Notify, dir: c.RunDir(), catalog: c.CatalogPath(), timeout: notifyTimeout, log: a.log}
}

// retryLater reports whether a command that failed is to be left alone still. A time that lies further ahead was noted by a clock that was wrong.
func retryLater(retry, now time.Time) bool {
	return now.Before(retry) && retry.Sub(now) <= notifyRetry
}

// tell compares what is the matter with what was told before, runs the command for what is new, and forgets what is over.
// about tells which keys were looked at: others stay as they were. Failures are logged and are nobody's error.
func (n *notifier) tell(ctx context.Context, now []condition, about func(key string) bool) {
	if n == nil || ctx.Err() != nil {
		return
	}
	if err := n.update(ctx, now, about); err != nil {
		n.log.Warn("notify", "err", err)
	}
}

func (n *notifier) update(ctx context.Context, now []condition, about func(string) bool) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(n.dir, "notify.lock"))
	limited, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	if ok, err := lock.TryLockContext(limited, 100*time.Millisecond); !ok {
		return fmt.Errorf("wait for another process that notifies: %w", err)
	}
	defer lock.Close()
	path := filepath.Join(n.dir, "notified.json")
	before := map[string]told{}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &before)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Warn("what was told before is forgotten", "err", err)
		before = map[string]told{}
	}
	after, changed := map[string]told{}, false
	for key, t := range before {
		if !about(key) {
			after[key] = t
		}
	}
	for _, c := range now {
		was, known := before[c.key]
		t := told{Level: c.level, Since: was.Since}
		if !known {
			t.Since = time.Now().UTC()
		}
		switch {
		case known && c.level <= was.Level && was.Retry.IsZero():
		case known && !was.Retry.IsZero() && retryLater(was.Retry, time.Now()):
			t.Retry = was.Retry
		case ctx.Err() != nil: // no time left: the next look tells it
			if known {
				after[c.key] = was
			}
			continue
		default:
			if err := n.run(ctx, c); err != nil {
				n.log.Warn("notify command failed", "event", c.Event, "err", err)
				t.Retry = time.Now().Add(notifyRetry).UTC()
			}
		}
		after[c.key] = t
		changed = changed || !known || t != was
	}
	if !changed && len(after) == len(before) {
		return nil
	}
	out, err := json.MarshalIndent(after, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(out, '\n'), 0o600)
}

// run runs the command once, with the condition as JSON on standard input. In an argument {event} and {message} are replaced.
// At its time limit it is killed with all that it started.
func (n *notifier) run(ctx context.Context, c condition) error {
	c.Time, c.Catalog = time.Now().UTC().Truncate(time.Second), n.catalog
	c.Host, _ = os.Hostname() // "" says as much
	c.Message = ui.Printable(c.Message)
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	args := make([]string, len(n.argv))
	replace := strings.NewReplacer("{event}", c.Event, "{message}", c.Message)
	for i, arg := range n.argv {
		args[i] = replace.Replace(arg)
	}
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out changer.Clip
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(text, '\n')), &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // what it left behind may hold the pipe
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("run %s: no end after %s", args[0], n.timeout)
	case err != nil:
		last := strings.TrimSpace(out.String())
		if i := strings.LastIndexByte(last, '\n'); i >= 0 {
			last = last[i+1:]
		}
		return fmt.Errorf("run %s: %w: %.1000s", args[0], err, ui.Printable(last))
	}
	return nil
}

// notifyCheck is doctor's look at notify:.
func (u *checkup) notify(ctx context.Context, test bool) {
	n := u.notifier(u.conf)
	const hint = "notify: is a list: the program, then its arguments; it gets JSON on standard input"
	if n == nil {
		if test {
			u.fail("notify", "set notify: in "+u.conf.File(), "no command is configured")
		}
		return
	}
	if _, err := exec.LookPath(n.argv[0]); err != nil {
		u.fail("notify", hint, "%v", err)
		return
	}
	if !test {
		u.ok("notify", "%s; tapefs doctor --notify-test runs it", n.argv[0])
		return
	}
	if err := n.run(ctx, condition{Event: eventTest, Message: "a test of the notify command of tapefs"}); err != nil {
		u.fail("notify", hint, "%v", err)
		return
	}
	u.ok("notify", "%s was run with a test message", n.argv[0])
}

// cleaningOf lists the drives that ask to be cleaned.
func cleaningOf(states []changer.DriveState) []condition {
	var out []condition
	for _, s := range states {
		if s.Status.Cleaning {
			out = append(out, condition{Event: eventCleaning, Drive: s.Serial, key: "clean/" + s.Serial,
				Message: fmt.Sprintf("drive %d (%s) asks to be cleaned", s.Element, s.Serial),
				Hint:    fmt.Sprintf("tapefs drive clean %d", s.Element)})
		}
	}
	return out
}
