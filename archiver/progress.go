package archiver

import "github.com/tapefs/tapefs/archiver/job"

// progress is what people are told of a writer: bytes, of the stage that it is. Only the writer's goroutine uses it.
type progress struct {
	env      *job.Env
	stage    string
	written  int64 // of whole parts
	shown    int64 // those of the part in hand included
	expected int64 // that will be written, as far as is known
}

// expect says how many bytes more will be written, besides what was.
func (p *progress) expect(more int64) { p.expected = p.written + more }

// begin says that a part is begun: what was shown of one that was not finished counts no more.
func (p *progress) begin() { p.shown = p.written }

// more says that so many bytes of the part in hand went to the tape.
func (p *progress) more(n int) {
	p.shown += int64(n)
	p.env.Stage(p.stage, p.shown, max(p.expected, p.shown))
}

// whole says that a part of so many bytes is on tape.
func (p *progress) whole(size int64) {
	p.written += size
	p.begin()
	p.more(0)
}
