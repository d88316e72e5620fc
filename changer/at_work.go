package changer

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// program is one that changes the state of a tape or of the library, and runs: nobody interrupts it.
type program struct {
	args  []string
	pid   int
	since time.Time
}

// String says what runs and since when. Only the name of the program counts, not where it lies.
func (p *program) String() string {
	words := slices.Clone(p.args)
	words[0] = words[0][strings.LastIndexByte(words[0], '/')+1:]
	return fmt.Sprintf("%s (pid %d) runs since %s (%s) and must not be interrupted",
		strings.Join(words, " "), p.pid, p.since.UTC().Format(time.RFC3339), time.Since(p.since).Round(time.Second))
}

// AtWork lists the programs that this Library has started and that change the state of a tape or of the changer: moves, mkltfs,
// ltfsck, and an ltfs that writes its index after unmount. Whoever is told to end has to wait for them.
func (l *Library) AtWork() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]string, len(l.atWork))
	for i, p := range l.atWork {
		out[i] = p.String()
	}
	return out
}

// works notes a program until gone is closed.
func (l *Library) works(args []string, pid int, gone <-chan struct{}) {
	p := &program{args, pid, time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.atWork = append(l.atWork, p)
	go func() {
		<-gone
		l.mu.Lock()
		defer l.mu.Unlock()
		l.atWork = slices.DeleteFunc(l.atWork, func(o *program) bool { return o == p })
	}()
}
