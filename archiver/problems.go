package archiver

import (
	"context"
	"errors"
	"sync"

	"tapefs/catalog"
)

// problems gathers what went wrong in a run without ending it. Safe for concurrent use.
type problems struct {
	a   *Archiver
	run catalog.Run

	mu       sync.Mutex
	count    int
	operator error // the first that needs an operator
}

// add records one; source and path may be empty.
func (p *problems) add(source, path string, err error) {
	if err == nil {
		return
	}
	p.a.log.Warn(err.Error(), "source", source, "path", path)
	if dbErr := p.a.db.AddRunError(context.Background(), p.run.ID, source, path, err.Error()); dbErr != nil {
		p.a.log.Error("an error of the run could not be recorded", "error", dbErr)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	if p.operator == nil && errors.Is(err, ErrNeedsOperator) {
		p.operator = err
	}
}

// partial says that some files failed and are recorded already.
func (p *problems) partial() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
}

// result is what the run ends with.
func (p *problems) result() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.operator != nil {
		return p.operator
	}
	if p.count > 0 {
		return ErrPartial
	}
	return nil
}
