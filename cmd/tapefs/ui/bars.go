package ui

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// Terminal is where messages for people go. While bars are shown they go above those.
type Terminal struct {
	mu   sync.Mutex
	out  io.Writer
	bars *Bars
}

func (s *Terminal) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.out
	if s.bars != nil {
		w = s.bars.show
	}
	if _, err := w.Write(EscapeControls(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Watched reports whether it is a terminal indeed, at which somebody may look.
func (s *Terminal) Watched() bool {
	f, ok := s.out.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// End leaves the bars as they are, and what comes goes below them.
func (s *Terminal) End() {
	s.mu.Lock()
	b := s.bars
	s.mu.Unlock()
	if b != nil {
		b.finish() // may be written to until it is done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bars = nil
}

// Results is standard output: what comes there is printed when the bars have ended.
type results struct {
	io.Writer
	s *Terminal
}

func (r results) Write(b []byte) (int, error) {
	r.s.End()
	return r.Writer.Write(b)
}

// NewTerminal shows on out what is written to it.
func NewTerminal(out io.Writer) *Terminal { return &Terminal{out: out} }

// StartBars begins to draw bars, one for each stage that is reported to them, until something is written to the results, or end.
func (s *Terminal) StartBars() *Bars {
	b := &Bars{show: mpb.New(mpb.WithOutput(s.out), mpb.WithWidth(20), mpb.WithAutoRefresh(), mpb.WithRefreshRate(200*time.Millisecond)), stages: map[string]*stageBar{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bars = b
	return b
}

// Results returns a writer to w that ends the bars first.
func (s *Terminal) Results(w io.Writer) io.Writer { return results{w, s} }

// Bars draw how far each stage is, and in the last line what robot and drives do.
type Bars struct {
	show *mpb.Progress
	note atomic.Value // string; read while bars are drawn, which must not wait for mu

	mu     sync.Mutex // guards the fields below
	stages map[string]*stageBar
	robot  *mpb.Bar
	ended  bool
}

type stageBar struct {
	bar  *mpb.Bar
	text atomic.Value // string
	pace pace
}

func textOf(v *atomic.Value) string {
	s, _ := v.Load().(string)
	return s
}

// Stage shows how far a stage is: done of total, bytes or files; a total of 0 is not known.
func (b *Bars) Stage(stage string, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	s := b.stages[stage]
	if s == nil {
		s = &stageBar{}
		s.bar = b.show.MustAdd(0, filler(), mpb.BarPriority(len(b.stages)),
			mpb.PrependDecorators(decor.Name(stage, decor.WC{W: 15, C: decor.DindentRight})),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + textOf(&s.text) })))
		b.stages[stage] = s
	}
	s.pace.add(time.Now(), done)
	s.text.Store(stageText(stage, done, total, s.pace.rate()))
	s.bar.SetTotal(max(total, 0), false)
	s.bar.SetCurrent(done)
}

// Note shows what robot and drives do, in a line below the bars.
func (b *Bars) Note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	b.note.Store(Printable(text))
	if b.robot == nil {
		b.robot = b.show.MustAdd(0, nil, mpb.BarPriority(1<<20), mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return textOf(&b.note) })))
	}
}

func (b *Bars) finish() {
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return
	}
	b.ended = true
	b.mu.Unlock()
	for _, s := range b.stages {
		s.bar.Abort(false)
	}
	if b.robot != nil {
		b.robot.Abort(true)
	}
	b.show.Wait()
}

// filler draws a bar where the whole is known.
func filler() mpb.BarFiller {
	whole := mpb.BarStyle().Build()
	return mpb.BarFillerFunc(func(w io.Writer, st decor.Statistics) error {
		if st.Total <= 0 {
			return nil
		}
		return whole.Fill(w, st)
	})
}

// stageText is how far a stage is, how fast it goes, in units a second, and when it will be done.
func stageText(stage string, done, total int64, rate float64) string {
	bytes := strings.HasPrefix(stage, "fetch") || strings.HasPrefix(stage, "write") || strings.HasPrefix(stage, "verify") || strings.HasPrefix(stage, "restore") ||
		strings.HasPrefix(stage, "prefetch")
	amount, speed := humanize.Comma, func(r float64) string { return humanize.Comma(int64(r)) + "/s" }
	if bytes {
		amount, speed = Bytes, func(r float64) string { return Bytes(int64(r)) + "/s" }
	}
	text := amount(done)
	if total > 0 {
		text += " of " + amount(total)
	}
	if stage == "list" {
		text += " files"
	}
	if rate > 0 && (total <= 0 || done < total) {
		text += ", " + speed(rate)
		if total > done {
			left := time.Duration(float64(total-done) / rate * float64(time.Second))
			text += fmt.Sprintf(", ETA %s", left.Round(time.Second))
		}
	}
	return text
}

// paceOver is over how long a rate is taken.
const paceOver = 30 * time.Second

// pace tells how fast a number grows.
type pace struct{ samples []sample }

type sample struct {
	at   time.Time
	done int64
}

// add notes a number; one that is smaller than the last begins anew. One sample a second is kept.
func (p *pace) add(at time.Time, done int64) {
	n := len(p.samples)
	if n > 0 && done < p.samples[n-1].done {
		p.samples, n = nil, 0
	}
	if n > 1 && at.Sub(p.samples[n-2].at) < time.Second {
		p.samples[n-1] = sample{at, done}
		return
	}
	for n > 2 && at.Sub(p.samples[0].at) > paceOver {
		p.samples = p.samples[1:]
		n--
	}
	p.samples = append(p.samples, sample{at, done})
}

// rate is in units a second; 0: not known yet.
func (p *pace) rate() float64 {
	if len(p.samples) < 2 {
		return 0
	}
	first, last := p.samples[0], p.samples[len(p.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(last.done-first.done) / seconds
}
