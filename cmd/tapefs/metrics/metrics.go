// Package metrics describes the state of an archive in Prometheus' text format. A [Snapshot] is what was counted at one moment.
// [WriteFile] puts it where node_exporter's textfile collector finds it: a run that cron starts is gone before anybody could
// scrape it.
//
// docs/metrics.md lists the metrics and has alert rules. A name that was published once keeps its meaning.
//
// The package imports nothing of ours.
package metrics

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Snapshot is an archive at one moment.
type Snapshot struct {
	At      time.Time
	Version string

	Files, Bytes int64 // what the archive shows
	Lost         int64 // versions that no copy has any more
	Wanted       int   // tapes that somebody waits for and that are elsewhere
	Spool, Cache int64 // bytes on disk

	Runs    []Run
	Owed    []Copies
	Damaged []Copies
	Tapes   []Tapes
	Drives  []Drive
	Sources []Source

	Queue *Queue // nil: no mount could be asked
}

// Queue is what readers wait for.
type Queue struct {
	Readers int
	Extents int
	Oldest  time.Time // since when the first of them waits; zero: nobody does
}

// Run is the last one of a kind that ended.
type Run struct {
	Kind           string
	Started, Ended time.Time
	Done           bool // all of it was done
	Written        int64
	Errors         int
	LastDone       time.Time // when the last one ended that did all; zero: none is known
}

// Copies are some of a pool's.
type Copies struct {
	Pool   string
	Copies int
	Bytes  int64
}

// Tapes are those of a pool in one state.
type Tapes struct {
	Pool, State string
	Count       int
	Free        int64 // bytes that can still be written
}

// Drive is one of the library's that the catalog knows.
type Drive struct {
	Serial    string
	Suspect   bool
	Cleanings int
}

// Source is a place that files come from.
type Source struct {
	Name   string
	Listed time.Time // zero: never
}

// gauges collects values under a name each.
type gauges struct{ registry *prometheus.Registry }

// vector registers a metric and returns a function that sets its value for some values of its labels.
func (g gauges) vector(name, help string, labels ...string) func(value float64, words ...string) {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tapefs", Name: name, Help: help}, labels)
	g.registry.MustRegister(v)
	return func(value float64, words ...string) { v.WithLabelValues(words...).Set(value) }
}

// seconds is a time as Prometheus counts it, 0 for never.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Registry holds the snapshot's metrics.
func (s Snapshot) Registry() *prometheus.Registry {
	g := gauges{prometheus.NewRegistry()}
	g.vector("build_info", "The version that wrote these metrics; always 1.", "version")(1, s.Version)
	g.vector("snapshot_timestamp_seconds", "When these metrics were counted.")(seconds(s.At))
	g.vector("archived_files", "Files that the archive shows.")(float64(s.Files))
	g.vector("archived_bytes", "Their size.")(float64(s.Bytes))
	g.vector("lost_versions", "Versions that no copy has any more.")(float64(s.Lost))
	g.vector("wanted_tapes", "Tapes that somebody waits for and that are outside the library.")(float64(s.Wanted))
	g.vector("spool_bytes", "Bytes of files that wait in the spool until they are safe.")(float64(s.Spool))
	g.vector("cache_bytes", "Bytes in the cache of what was read from tape.")(float64(s.Cache))

	started := g.vector("last_run_start_timestamp_seconds", "When the last run of a kind began.", "kind")
	ended := g.vector("last_run_end_timestamp_seconds", "When the last run of a kind ended.", "kind")
	done := g.vector("last_run_success", "Whether the last run of a kind did all it was to do.", "kind")
	written := g.vector("last_run_written_bytes", "What the last run of a kind wrote to tape.", "kind")
	failed := g.vector("last_run_errors", "Errors of the last run of a kind.", "kind")
	lastDone := g.vector("last_success_timestamp_seconds", "When the last run of a kind ended that did all it was to do; 0: none is known.", "kind")
	for _, r := range s.Runs {
		started(seconds(r.Started), r.Kind)
		ended(seconds(r.Ended), r.Kind)
		done(flag(r.Done), r.Kind)
		written(float64(r.Written), r.Kind)
		failed(float64(r.Errors), r.Kind)
		lastDone(seconds(r.LastDone), r.Kind)
	}
	copies := func(what, help string, list []Copies) {
		n := g.vector(what+"_copies", help, "pool")
		size := g.vector(what+"_bytes", "Bytes of these copies.", "pool")
		for _, c := range list {
			n(float64(c.Copies), c.Pool)
			size(float64(c.Bytes), c.Pool)
		}
	}
	copies("owed", "Copies that a pool is owed: asked for, and not made yet.", s.Owed)
	copies("damaged", "Copies of a pool that are known to be damaged and not healed.", s.Damaged)

	tapes := g.vector("tapes", "Tapes of a pool by state.", "pool", "state")
	free := g.vector("tapes_free_bytes", "What can still be written to tapes of a pool by state.", "pool", "state")
	for _, t := range s.Tapes {
		tapes(float64(t.Count), t.Pool, t.State)
		free(float64(t.Free), t.Pool, t.State)
	}
	suspect := g.vector("drive_suspect", "Whether a drive was set aside because tapes failed in it.", "serial")
	cleanings := g.vector("drive_cleanings", "How often a drive was cleaned.", "serial")
	for _, d := range s.Drives {
		suspect(flag(d.Suspect), d.Serial)
		cleanings(float64(d.Cleanings), d.Serial)
	}
	listed := g.vector("source_listed_timestamp_seconds", "When a source was listed whole for the last time; 0: never.", "source")
	for _, src := range s.Sources {
		listed(seconds(src.Listed), src.Name)
	}
	if s.Queue != nil {
		g.vector("queue_readers", "Reads that wait for a tape.")(float64(s.Queue.Readers))
		g.vector("queue_extents", "Extents of 4 MiB that are to be read from tape.")(float64(s.Queue.Extents))
		waited := 0.0
		if !s.Queue.Oldest.IsZero() {
			waited = max(s.At.Sub(s.Queue.Oldest).Seconds(), 0)
		}
		g.vector("queue_oldest_wait_seconds", "How long the oldest request has waited for its tape; 0: none does.")(waited)
	}
	return g.registry
}

// Handler answers each request with what count counts then.
func Handler(count func(ctx context.Context) (Snapshot, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := count(r.Context())
		if err != nil {
			http.Error(w, "count: "+err.Error(), http.StatusInternalServerError)
			return
		}
		promhttp.HandlerFor(s.Registry(), promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
}

// WriteFile writes the snapshot into a file that anybody may read, atomically: a reader sees the old file or the new one.
func WriteFile(path string, s Snapshot) error {
	if err := prometheus.WriteToTextfile(path, s.Registry()); err != nil {
		return fmt.Errorf("write metrics to %s: %w", path, err)
	}
	return nil
}
