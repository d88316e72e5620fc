package archiver

import (
	"errors"
	"fmt"
	"sync"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/source"
)

// silentSources are the sources that one run gave up because nothing came from them: of each that is said once. Safe for concurrent use.
type silentSources struct {
	noted *job.Problems
	mu    sync.Mutex // guards names
	names map[string]bool
}

func (s *silentSources) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

// add reports whether an error says that a source was silent, and gives the source up then.
func (s *silentSources) add(name string, err error) bool {
	var stalled *source.StallError
	if !errors.As(err, &stalled) {
		return false
	}
	s.mu.Lock()
	known := s.names[name]
	s.names[name] = true
	s.mu.Unlock()
	if !known {
		s.noted.Add(name, "", fmt.Errorf("source %s is given up for this run: %w", name, err))
	}
	return true
}
