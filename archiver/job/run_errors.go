package job

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

const (
	MaxNamed   = 1000    // errors of one source that a run names; the others are counted
	maxMessage = 1 << 10 // bytes of one
)

// told is what runs named so far. Safe for concurrent use.
type told struct {
	mu     sync.Mutex
	named  map[toldKey]int
	failed map[int64]bool // runs that named what keeps them from being whole
}

type toldKey struct {
	run    int64
	source string
}

// next reports whether one more may be named, and whether it is the first that may not.
func (t *told) next(run int64, source string) (named, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.named == nil {
		t.named = map[toldKey]int{}
	}
	key := toldKey{run, source}
	t.named[key]++
	return t.named[key] <= MaxNamed, t.named[key] == MaxNamed+1
}

func (t *told) fail(run int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = map[int64]bool{}
	}
	t.failed[run] = true
}

func (t *told) hasFailed(run int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed[run]
}

// RunFailed reports whether a run named what keeps it from being whole.
func (env *Env) RunFailed(run int64) bool { return env.told.hasFailed(run) }

// RunError names a file that a run could not archive, or something else that keeps it from being whole, on stderr and
// in the run's errors. The run ends with ErrPartial. A dry run has the number 0 and records nothing.
func (env *Env) RunError(ctx context.Context, run int64, source, path, message string) error {
	env.told.fail(run)
	return env.RunNote(ctx, run, source, path, message)
}

// RunNote is runError for what does not keep a run from being whole.
func (env *Env) RunNote(ctx context.Context, run int64, source, path, message string) error {
	named, last := env.told.next(run, source)
	if last {
		path, message = "", fmt.Sprintf("more than %d files or messages: further ones are only counted", MaxNamed)
	} else if !named {
		return nil
	}
	message = Shortened(message)
	env.Log.Warn(message, "source", source, "path", path)
	if run == 0 {
		return nil
	}
	return env.DB.AddRunError(ctx, run, source, path, message)
}

// Shortened bounds a message whose length somebody else chose.
func Shortened(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}
