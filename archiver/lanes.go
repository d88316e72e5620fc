package archiver

import (
	"cmp"
	"context"
	"time"

	"github.com/tapefs/tapefs/archiver/source"
)

const (
	maxLanes   = 4                // sources that are listed and fetched at the same time
	maxPerHost = 2                // of these, on one machine
	maxOpen    = 16               // sources in all, with those that are silent
	lanesLook  = time.Second      // how often silence is looked for
	silentFor  = 10 * time.Second // after that a source gives its place to the next one
)

// lanes does something for several sources at the same time. A source from which nothing comes for a while keeps no
// other one waiting: the next one takes its place, and it goes on when something comes again.
type lanes struct {
	a     *Archiver
	do    func(context.Context, Source) error // an error ends all
	lost  func(Source, error)                 // hears of a source that hangs in the kernel: nobody waits for its do any more
	quiet func(bool)                          // may be nil; hears whether all that is still to come is from sources that are silent
}

// lane is a source that is being done.
type lane struct {
	src    Source
	host   string
	cancel context.CancelFunc
	told   bool // that it is silent
}

// run does all sources, begun in their order.
func (l *lanes) run(ctx context.Context, sources []Source) error {
	parent := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		*lane
		err error
	}
	ended := make(chan end, len(sources))
	open := map[*lane]bool{}
	waiting := append([]Source(nil), sources...)
	look := time.NewTicker(lanesLook)
	defer look.Stop()
	var failed error
	for {
		for i := l.next(open, waiting); i >= 0 && failed == nil && ctx.Err() == nil; i = l.next(open, waiting) {
			n := &lane{src: waiting[i], host: hostOf(waiting[i])}
			waiting = append(waiting[:i:i], waiting[i+1:]...)
			own, stop := context.WithCancel(ctx)
			n.cancel = stop
			open[n] = true
			go func() { ended <- end{n, l.do(own, n.src)} }()
		}
		if l.quiet != nil {
			l.quiet(l.allSilent(open))
		}
		if len(open) == 0 {
			return cmp.Or(parent.Err(), failed)
		}
		select {
		case e := <-ended:
			e.cancel()
			if open[e.lane] && e.err != nil && failed == nil {
				failed = e.err
				cancel()
			}
			delete(open, e.lane)
		case <-look.C:
			l.leaveHanging(ctx, open)
		}
	}
}

// next is the first waiting source for which there is a place; -1: none.
func (l *lanes) next(open map[*lane]bool, waiting []Source) int {
	busy, hosts := 0, map[string]int{}
	for n := range open {
		if !l.silent(n) {
			busy++
			hosts[n.host]++
		}
	}
	if busy >= maxLanes || len(open) >= maxOpen {
		return -1
	}
	for i, src := range waiting {
		if hosts[hostOf(src)] < maxPerHost {
			return i
		}
	}
	return -1
}

func (l *lanes) silent(n *lane) bool {
	is := l.a.env.Heard.Of(n.src.Name).Silent() >= l.a.silentFor
	if is && !n.told {
		n.told = true
		l.a.env.Log.Info("nothing comes from a source; the others go on meanwhile", "source", n.src.Name, "for", l.a.silentFor, "stall_timeout", source.StallOf(n.src))
	}
	return is
}

func (l *lanes) allSilent(open map[*lane]bool) bool {
	for n := range open {
		if !l.silent(n) {
			return false
		}
	}
	return len(open) > 0
}

// leaveHanging gives up sources that hang in a call of the kernel for longer than they may.
func (l *lanes) leaveHanging(ctx context.Context, open map[*lane]bool) {
	for n := range open {
		limit := source.StallOf(n.src)
		if ctx.Err() != nil {
			limit = min(limit, 2*source.RsyncEnds)
		}
		if l.a.env.Heard.Of(n.src.Name).Hangs() > limit {
			n.cancel()
			delete(open, n)
			l.lost(n.src, &source.StallError{Limit: limit})
		}
	}
}

// hostOf names the machine that a source is on; "" is this one, and what no address can be read of.
func hostOf(src Source) string {
	at, err := source.ParseAddress(src.URL)
	if err != nil {
		return ""
	}
	return at.Host
}

// lanesFor is how many of some sources are done at the same time at most, silent ones aside: so many share the memory.
func lanesFor(sources []Source) int { return max(1, min(maxLanes, len(sources))) }
