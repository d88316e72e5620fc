package job

import (
	"context"
	"errors"
	"sync"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// Problems gathers what went wrong in a run without ending it. Safe for concurrent use.
type Problems struct {
	env *Env
	run catalog.Run

	mu       sync.Mutex
	count    int
	files    bool            // whether any was of a source or a file
	operator error           // the first that needs an operator
	sources  map[string]bool // those of which something is wrong that is no single file's
}

// NewProblems gathers those of one run.
func NewProblems(env *Env, run catalog.Run) *Problems { return &Problems{env: env, run: run} }

// Add records one; source and path may be empty.
func (p *Problems) Add(source, path string, err error) {
	if err == nil {
		return
	}
	attrs := []any{"source", source, "path", path}
	var advice *changer.Error
	if errors.As(err, &advice) && advice.Hint != "" {
		attrs = append(attrs, "hint", advice.Hint)
	}
	p.env.Log.Warn(err.Error(), attrs...)
	if dbErr := p.env.DB.AddRunError(context.Background(), p.run.ID, source, path, err.Error()); dbErr != nil {
		p.env.Log.Error("an error of the run could not be recorded", "err", dbErr)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	p.files = p.files || source != "" || path != ""
	if source != "" && path == "" {
		if p.sources == nil {
			p.sources = map[string]bool{}
		}
		p.sources[source] = true
	}
	if p.operator == nil && errors.Is(err, ErrNeedsOperator) {
		p.operator = err
	}
}

// Of reports whether something was wrong with a source that is no single file's.
func (p *Problems) Of(source string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sources[source]
}

// Partial says that some files failed and are recorded already.
func (p *Problems) Partial() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	p.files = true
}

// Result is what the run ends with.
func (p *Problems) Result() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.operator != nil {
		return p.operator
	}
	switch {
	case p.files:
		return ErrPartial
	case p.count > 0:
		return tapeTrouble{}
	}
	return nil
}

// tapeTrouble is the ErrPartial of a run in which tapes or drives failed and no source or file did.
type tapeTrouble struct{}

func (tapeTrouble) Error() string { return "there was trouble with tapes or drives" }
func (tapeTrouble) Unwrap() error { return ErrPartial }
