package archiver

import (
	"sync"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/spool"
)

// Archiver makes copies of sources on tapes. Safe for concurrent use by runs of different sources.
type Archiver struct {
	env *job.Env

	spool     *spool.Spool
	silentFor time.Duration // after that a source gives its place to the next one
	releasing sync.Mutex    // one writer at a time lets go of batches
}

// New checks the configuration; it touches neither library nor sources.
func New(c Config) (*Archiver, error) {
	env, err := job.New(c)
	if err != nil {
		return nil, err
	}
	return &Archiver{env: env, spool: spool.New(env), silentFor: silentFor}, nil
}
