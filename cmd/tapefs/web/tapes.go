package web

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// tapesPage lists the tapes, with the age of their proofs, and what will be needed.
type tapesPage struct {
	Tapes    []tapeRow
	Forecast []poolForecast
}

// tapeRow is a tape and how well it is proved.
type tapeRow struct {
	tapeCard
	Used     int64
	Seen     time.Time
	Note     string
	Oldest   time.Time // when that was read back, or written, whose turn is the longest ago; zero: nothing is on it
	Unread   int       // percent of its bytes that were never read back
	Age      string    // class of the style: how old Oldest is
	Capacity int64
}

const (
	proofAges = 180 * 24 * time.Hour // an older proof is shown as due
	proofOld  = 2 * proofAges
)

func (s *Server) tapes(r *http.Request, _ visitor) (any, error) {
	ctx := r.Context()
	tapes, err := s.o.Catalog.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	proofs, err := s.o.Catalog.TapeProofs(ctx)
	if err != nil {
		return nil, err
	}
	page := tapesPage{}
	for _, t := range tapes {
		row := tapeRow{Used: t.Used, Seen: t.Seen, Note: t.Note, Capacity: t.Capacity}
		row.tapeCard = tapeCard{Barcode: t.Barcode, Pool: t.PoolName, State: t.State, Class: s.poolClass(t.PoolName), Full: percentFull(t), Free: freeOf(t), Place: t.Place}
		if p, ok := proofs[t.ID]; ok && p.Bytes > 0 {
			row.Oldest, row.Unread = p.Oldest, int(math.Ceil(100*float64(p.Unread)/float64(p.Bytes)))
			row.Age = ageClass(time.Since(p.Oldest))
		}
		page.Tapes = append(page.Tapes, row)
	}
	page.Forecast, err = s.forecast(ctx, tapes, time.Now())
	return page, err
}

func ageClass(age time.Duration) string {
	switch {
	case age > proofOld:
		return "old"
	case age > proofAges:
		return "due"
	}
	return "fresh"
}

// poolForecast says how many more tapes a pool will need.
type poolForecast struct {
	Pool, Class string
	PerDay      int64         // bytes, from the runs of the last forecastFrom
	From        time.Duration // how long the runs go back on which that rests
	Free        int64         // on open tapes
	Size        int64         // of a tape of the pool
	In3, In12   int           // more tapes, in 3 and in 12 months
	Until       time.Time     // when what is free will be full; zero: not within ten years
}

const (
	// forecastFrom is how far back runs count: what went to tape long ago says little of what will.
	forecastFrom = 90 * 24 * time.Hour
	// forecastRuns bounds how many of them are read.
	forecastRuns = 400
	month        = 365 * 24 * time.Hour / 12
	forever      = 10 * 365 * 24 * time.Hour
)

// forecast goes on as the last runs went.
func (s *Server) forecast(ctx context.Context, tapes []catalog.Tape, now time.Time) ([]poolForecast, error) {
	rows, err := s.runRows(ctx, forecastRuns)
	if err != nil {
		return nil, err
	}
	poolOf := map[string]string{}
	size, free := map[string]int64{}, map[string]int64{}
	for _, t := range tapes {
		poolOf[t.Barcode] = t.PoolName
		size[t.PoolName] = max(size[t.PoolName], t.Capacity)
		if t.State == catalog.TapeOpen {
			free[t.PoolName] += freeOf(t)
		}
	}
	written := map[string]int64{}
	first := now
	for _, r := range rows {
		if now.Sub(r.Started) > forecastFrom {
			break
		}
		for _, t := range r.Tapes {
			written[poolOf[t.Barcode]] += t.Bytes
		}
		if r.Written > 0 {
			first = r.Started
		}
	}
	var out []poolForecast
	for _, pool := range s.o.Pools {
		if size[pool] == 0 {
			continue // it has no tape yet: nobody knows how much one holds
		}
		out = append(out, forecastOf(poolForecast{Pool: pool, Class: s.poolClass(pool), Free: free[pool], Size: size[pool]}, written[pool], now.Sub(first), now))
	}
	return out, nil
}

// forecastOf fills in what follows from how much was written within a time. Less than a day counts as one: a first night says nothing
// of a year.
func forecastOf(f poolForecast, written int64, within time.Duration, now time.Time) poolForecast {
	f.From = max(within, 24*time.Hour)
	rate := float64(written) / f.From.Seconds() // bytes a second
	f.PerDay = int64(rate * 24 * 3600)
	more := func(in time.Duration) int {
		missing := rate*in.Seconds() - float64(f.Free)
		return int(math.Ceil(max(missing, 0) / float64(f.Size)))
	}
	f.In3, f.In12 = more(3*month), more(12*month)
	if rate > 0 && float64(f.Free)/rate < forever.Seconds() {
		f.Until = now.Add(time.Duration(float64(f.Free) / rate * float64(time.Second)))
	}
	return f
}
