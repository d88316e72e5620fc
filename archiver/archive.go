package archiver

import (
	"sync"
	"time"

	"tapefs/archiver/job"
)

// Archiver makes copies of sources on tapes. Safe for concurrent use by runs of different sources.
type Archiver struct {
	env *job.Env

	moved     sync.Map      // by source and path: versions that a planned file may be, under another name
	again     sync.Map      // by source and path: files that are taken because the archive has lost their bytes
	silentFor time.Duration // after that a source gives its place to the next one
	fetching  fetching
	sharing   sync.Mutex // one batch at a time looks whether others have its content, and is recorded
	releasing sync.Mutex // one writer at a time lets go of batches
}

// New checks the configuration; it touches neither library nor sources.
func New(c Config) (*Archiver, error) {
	env, err := job.New(c)
	if err != nil {
		return nil, err
	}
	return &Archiver{env: env, silentFor: silentFor}, nil
}
