package changer

import (
	"context"
	"time"
)

// SetReadySoon sets what a drive may take to become ready without a word about it.
func (l *Library) SetReadySoon(d time.Duration) { l.readySoon = d }

// ReadyTimeout is how long the lease waits for its drive to become ready.
func (le *Lease) ReadyTimeout(ctx context.Context) time.Duration { return le.readyTimeout(ctx) }
