package main

import (
	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// newProgress shows a bar for each stage on a terminal, and elsewhere writes a line a minute. With -v the log says it all, and a log in
// JSON is not mixed with lines.
func newProgress(a *app) archiver.Progress {
	s, ok := a.stderr.(*ui.Terminal)
	switch {
	case !ok || a.Verbose:
		return nil
	case s.Watched():
		b := s.StartBars()
		a.stdout = s.Results(a.stdout)
		return b
	case a.LogFormat == "json":
		return nil
	}
	l := ui.StartLines(s)
	a.ends = append(a.ends, l.End)
	return l
}
