package job

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Activity is what a run does with a tape, for somebody who waits for its end.
type Activity struct {
	mu    sync.Mutex
	text  string
	since time.Time
}

func (d *Activity) Set(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text, d.since = text, time.Now()
}

// Flow is how much of all sources came, for the progress: files that were listed, bytes that are to be fetched and that were, and
// those of batches that are being fetched.
type Flow struct{ Listed, Planned, Fetched, Arriving atomic.Int64 }

// Doing says what a run does with a tape just now and for how long; it may be called from any goroutine.
func (env *Env) Doing() string {
	env.Activity.mu.Lock()
	defer env.Activity.mu.Unlock()
	if env.Activity.text == "" {
		return "no tape is in use"
	}
	return fmt.Sprintf("%s, for %s now", env.Activity.text, time.Since(env.Activity.since).Round(time.Second))
}
