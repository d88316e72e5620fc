package main

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"golang.org/x/term"
)

// watchEvery is how often library status --watch looks again.
const watchEvery = 2 * time.Second

// clearScreen moves the cursor home and clears the screen (ECMA-48).
const clearScreen = "\x1b[H\x1b[2J"

// watch prints again and again what show writes, until ctx ends: on a terminal in place of what was
// there, elsewhere one text below the other. An error of show ends it.
func (a *app) watch(ctx context.Context, show func(context.Context, io.Writer) error) error {
	raw := ui.RawOutput(a.stdout)
	f, ok := raw.(interface{ Fd() uintptr })
	terminal := ok && term.IsTerminal(int(f.Fd()))
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		var text bytes.Buffer
		switch {
		case terminal && !a.JSON:
			if _, err := io.WriteString(raw, clearScreen); err != nil {
				return err
			}
		case !first && !a.JSON:
			text.WriteString("\n")
		}
		if !a.JSON {
			text.WriteString(time.Now().Format("2006-01-02 15:04:05") + "  (Ctrl-C ends)\n\n")
		}
		if err := show(ctx, &text); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if _, err := a.stdout.Write(text.Bytes()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
