package changer

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Waiting is what somebody waits for: because others have it, or because a drive needs its time.
type Waiting struct {
	For    string    // "a drive for tape VT0001L8", "the robot"
	Holder string    // who has it, as holderOf says
	Since  time.Time // since when it is waited for
	Why    string    // why it lasts, of a wait for no other holder
}

func (w Waiting) String() string {
	why := w.Why
	if why == "" {
		why = "it is used by " + w.Holder
	}
	if age := time.Since(w.Since); age > stillAfter {
		return fmt.Sprintf("still waiting for %s, since %s (%s); %s", w.For, w.Since.UTC().Format(time.RFC3339), age.Round(time.Second), why)
	}
	return fmt.Sprintf("waiting for %s; %s", w.For, why)
}

const (
	// noticeAfter is how long a wait lasts before anybody is told: a holder that gives way has to unmount first, and who needs a
	// moment for that is not worth a line in the mail of cron.
	noticeAfter = 2 * time.Second
	// stillAfter is when a wait is told again, and then each time that it has become twice as long, up to noticeLimit.
	stillAfter  = time.Minute
	noticeLimit = time.Hour
)

// Notices tells of one wait, again and again while it lasts. Not safe for concurrent use.
type Notices struct {
	told func(Waiting)
	w    Waiting
	next time.Duration // the age at which it is told next
}

// NewNotices begins to wait. told may be nil. With known somebody was told already that the wait has begun.
func NewNotices(what string, known bool, told func(Waiting)) *Notices {
	n := &Notices{told: told, w: Waiting{For: what, Since: time.Now()}, next: noticeAfter}
	if known {
		n.next = stillAfter
	}
	return n
}

// Look is called while the wait goes on, and tells of it when it is time to. holder says who has what is waited for.
func (n *Notices) Look(holder func() string) {
	age := time.Since(n.w.Since)
	if n.told == nil || age < n.next {
		return
	}
	n.next = max(stillAfter, min(2*age, age+noticeLimit))
	n.w.Holder = holder()
	n.told(n.w)
}

// holders says who has drives, each once.
func (w *waiting) holders(drives []DriveConfig) string {
	var all []string
	for _, d := range drives {
		if h := w.holder(d); !slices.Contains(all, h) {
			all = append(all, h)
		}
	}
	return strings.Join(all, " and ")
}

// waitsFor says what a request for a drive waits for.
func (r Request) waitsFor() string {
	switch {
	case r.Barcode != "":
		return "a drive for tape " + string(r.Barcode)
	case r.Drive != "":
		return "drive " + r.Drive
	}
	return "a drive"
}
