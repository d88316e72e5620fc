package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// soakSample is what the process of a mount holds at a moment.
type soakSample struct {
	at          time.Time
	descriptors int64
	resident    int64 // KiB
	threads     int64
}

// sample looks at the mount's process by /proc.
func (s *soak) sample(context.Context) error {
	proc := fmt.Sprintf("/proc/%d", s.mountCmd.Process.Pid)
	fds, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return err
	}
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		return err
	}
	x := soakSample{at: time.Now(), descriptors: int64(len(fds))}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "VmRSS":
			fmt.Sscan(value, &x.resident)
		case "Threads":
			fmt.Sscan(value, &x.threads)
		}
	}
	s.samples = append(s.samples, x)
	return nil
}

func medianOf(samples []soakSample, of func(soakSample) int64) int64 {
	values := make([]int64, len(samples))
	for i, x := range samples {
		values[i] = of(x)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// plotSoak draws memory and descriptors over time as an SVG picture, each curve scaled to its own greatest value.
func plotSoak(samples []soakSample) []byte {
	const width, height, margin = 900, 300, 40
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width+2*margin, height+2*margin)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#888"/>`+"\n", margin, margin, width, height)
	span := samples[len(samples)-1].at.Sub(samples[0].at)
	for i, curve := range []struct {
		name, color string
		of          func(soakSample) int64
	}{
		{"resident memory, MiB", "#b33", func(x soakSample) int64 { return x.resident >> 10 }},
		{"descriptors", "#36b", func(x soakSample) int64 { return x.descriptors }},
		{"threads", "#292", func(x soakSample) int64 { return x.threads }},
	} {
		top := int64(1)
		for _, x := range samples {
			top = max(top, curve.of(x))
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" points="`, curve.color)
		for _, x := range samples {
			fmt.Fprintf(&b, "%.1f,%.1f ", margin+width*float64(x.at.Sub(samples[0].at))/float64(max(span, 1)), margin+height*(1-float64(curve.of(x))/float64(top)))
		}
		fmt.Fprintf(&b, `"/><text x="%d" y="%d" fill="%s">%s: at most %d</text>`+"\n", margin+10+i*250, margin-10, curve.color, curve.name, top)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">%v</text></svg>`+"\n", margin, height+2*margin-10, span.Round(time.Second))
	return b.Bytes()
}
