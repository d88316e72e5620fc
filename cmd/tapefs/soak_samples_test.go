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

// plotSoak draws memory, descriptors and threads over time as an SVG picture: one panel each, from zero to its own greatest value.
func plotSoak(samples []soakSample) []byte {
	const width, height, left, top, gap = 900, 140, 60, 30, 36
	curves := []struct {
		name, color string
		of          func(soakSample) int64
	}{
		{"resident memory, MiB", "#b33", func(x soakSample) int64 { return x.resident >> 10 }},
		{"descriptors", "#36b", func(x soakSample) int64 { return x.descriptors }},
		{"threads", "#292", func(x soakSample) int64 { return x.threads }},
	}
	bottom := top + len(curves)*(height+gap)
	span := max(samples[len(samples)-1].at.Sub(samples[0].at), 1)
	x := func(at time.Duration) float64 { return left + width*float64(at)/float64(span) }

	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", left+width+30, bottom+20)
	fmt.Fprintln(&b, `<rect width="100%" height="100%" fill="white"/>`)
	for i, curve := range curves {
		base := top + i*(height+gap) + height
		most := int64(1)
		for _, s := range samples {
			most = max(most, curve.of(s))
		}
		y := func(v int64) float64 { return float64(base) - height*float64(v)/float64(most) }
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s: median %d, at most %d</text>`+"\n", left, base-height-6, curve.color, curve.name, medianOf(samples, curve.of), most)
		for _, v := range []int64{0, most / 2, most} {
			fmt.Fprintf(&b, `<path d="M%d %.1fh%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%d</text>`+"\n", left, y(v), width, left-6, y(v)+4, v)
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" points="`, curve.color)
		for _, s := range samples {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(s.at.Sub(samples[0].at)), y(curve.of(s)))
		}
		fmt.Fprintln(&b, `"/>`)
	}
	for i := range 5 {
		at := span * time.Duration(i) / 4
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%v</text>`+"\n", x(at), bottom, at.Round(time.Second))
	}
	fmt.Fprintln(&b, "</svg>")
	return b.Bytes()
}
