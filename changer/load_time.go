package changer

import "time"

// OnLoaded has f told how long it took to bring a tape into a drive and to mount it, whenever the robot had to move for it. f is called
// in the middle of a job, and must not fail it.
func (l *Library) OnLoaded(f func(took time.Duration)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onLoaded = f
}

// tellLoaded says how long it took from the begin of Load until now, unless the tape was in the drive before.
func (le *Lease) tellLoaded() {
	began := le.loading
	le.loading = time.Time{}
	le.l.mu.Lock()
	f := le.l.onLoaded
	le.l.mu.Unlock()
	if f != nil && !began.IsZero() {
		f(time.Since(began))
	}
}
