// Package lto is what is known of LTO tapes: one table of the recording formats, and one of what each generation of drives reads and
// writes. Labels, density codes, capacities and speeds are looked up here and nowhere else; docs/hardware.md shows the same table.
// It imports nothing of tapefs.
package lto

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Format is one recording format, and with it the kind of cartridge that is sold for it.
type Format struct {
	Name       string // "LTO-8"
	Generation int    // of the first drives that write it
	Suffix     string // the media identifier at the end of a label: "L8"
	WORM       string // the same of write-once cartridges, "" where there are none
	Density    uint64 // density code in the mode parameter header, as mt status shows it
	Source     string // where the density code is published
	Capacity   int64  // bytes, uncompressed
	Slowest    int    // MB/s at which the drive still streams, 0 unknown; a slower writer makes it stop and go back
	Fastest    int    // MB/s uncompressed, of full-height drives
	Wraps      int    // how often the tape is written along its whole length, 0 unknown

	// FirstLoad is how long the drive may take for a cartridge that was never loaded before; 0: no longer than for others.
	FirstLoad time.Duration
}

// Bands is how many data bands a tape has, beside one another. The wraps of one are all written before those of the next.
const Bands = 4

// Where density codes are published.
const (
	ssc     = "T10 SSC density codes"
	freeBSD = "FreeBSD mt(1), from IBM's specification and drives"
)

// formats are in the order of their age. The suffixes are those of IBM's label specification and of FreeBSD's mt(1) (LA, PA); the
// slowest speeds those of IBM's, Quantum's and other manuals; LTO-9's first load is IBM's media optimization, 20 minutes to 2 hours.
var formats = []Format{
	{Name: "LTO-1", Generation: 1, Suffix: "L1", Density: 0x40, Source: ssc, Capacity: 100e9, Fastest: 20, Wraps: 48},
	{Name: "LTO-2", Generation: 2, Suffix: "L2", Density: 0x42, Source: ssc, Capacity: 200e9, Slowest: 18, Fastest: 40, Wraps: 64},
	{Name: "LTO-3", Generation: 3, Suffix: "L3", WORM: "LT", Density: 0x44, Source: ssc, Capacity: 400e9, Slowest: 40, Fastest: 80, Wraps: 44},
	{Name: "LTO-4", Generation: 4, Suffix: "L4", WORM: "LU", Density: 0x46, Source: ssc, Capacity: 800e9, Slowest: 40, Fastest: 120, Wraps: 56},
	{Name: "LTO-5", Generation: 5, Suffix: "L5", WORM: "LV", Density: 0x58, Source: ssc, Capacity: 1500e9, Slowest: 40, Fastest: 140, Wraps: 80},
	{Name: "LTO-6", Generation: 6, Suffix: "L6", WORM: "LW", Density: 0x5a, Source: ssc, Capacity: 2500e9, Slowest: 40, Fastest: 160, Wraps: 136},
	{Name: "LTO-7", Generation: 7, Suffix: "L7", WORM: "LX", Density: 0x5c, Source: ssc, Capacity: 6000e9, Fastest: 300, Wraps: 112},
	{Name: "LTO-7 Type M", Generation: 8, Suffix: "M8", Density: 0x5d, Source: freeBSD, Capacity: 9000e9, Fastest: 300, Wraps: 168},
	{Name: "LTO-8", Generation: 8, Suffix: "L8", WORM: "LY", Density: 0x5e, Source: freeBSD, Capacity: 12000e9, Slowest: 112, Fastest: 360, Wraps: 208},
	{Name: "LTO-9", Generation: 9, Suffix: "L9", WORM: "LZ", Density: 0x60, Source: freeBSD, Capacity: 18000e9, Slowest: 177, Fastest: 400, Wraps: 280, FirstLoad: 2 * time.Hour},
	{Name: "LTO-10", Generation: 10, Suffix: "LA", Density: 0x62, Source: freeBSD, Capacity: 30000e9, Fastest: 400},
	{Name: "LTO-10 Type P", Generation: 10, Suffix: "PA", Density: 0x63, Source: freeBSD, Capacity: 40000e9, Fastest: 400},
}

// drive is what a generation of drives does with formats, named by their suffixes.
type drive struct{ writes, onlyReads []string }

// drives: up to LTO-7 one generation back is written and two are read; from LTO-8 on one is both; LTO-10 knows its own alone.
var drives = map[int]drive{
	1:  {[]string{"L1"}, nil},
	2:  {[]string{"L1", "L2"}, nil},
	3:  {[]string{"L2", "L3"}, []string{"L1"}},
	4:  {[]string{"L3", "L4"}, []string{"L2"}},
	5:  {[]string{"L4", "L5"}, []string{"L3"}},
	6:  {[]string{"L5", "L6"}, []string{"L4"}},
	7:  {[]string{"L6", "L7"}, []string{"L5"}},
	8:  {[]string{"L7", "M8", "L8"}, nil},
	9:  {[]string{"L8", "L9"}, nil},
	10: {[]string{"LA", "PA"}, nil},
}

// LTFS needs two partitions, which came with FirstLTFS. Latest is the newest generation of the table.
const (
	FirstLTFS = 5
	Latest    = 10
)

// Formats lists all formats, the oldest first.
func Formats() []Format { return slices.Clone(formats) }

// Suffixes lists the media identifiers of all data cartridges, write-once ones included.
func Suffixes() []string {
	var all []string
	for _, f := range formats {
		all = append(all, f.Suffix)
		if f.WORM != "" {
			all = append(all, f.WORM)
		}
	}
	return all
}

// BySuffix finds a format by the media identifier, and reports whether that is the one of write-once cartridges.
func BySuffix(suffix string) (f Format, worm, ok bool) {
	for _, f := range formats {
		if suffix != "" && (suffix == f.Suffix || suffix == f.WORM) {
			return f, suffix == f.WORM, true
		}
	}
	return Format{}, false, false
}

// ByDensity finds a format by its density code.
func ByDensity(code uint64) (Format, bool) {
	return first(func(f Format) bool { return f.Density == code })
}

// ByGeneration is the ordinary format of a generation: not Type M nor Type P.
func ByGeneration(generation int) (Format, bool) {
	return first(func(f Format) bool { return f.Name == fmt.Sprintf("LTO-%d", generation) })
}

func first(is func(Format) bool) (Format, bool) {
	if i := slices.IndexFunc(formats, is); i >= 0 {
		return formats[i], true
	}
	return Format{}, false
}

// Writes reports whether drives of a generation write the format. Drives that the table does not know are left to say so themselves.
func (f Format) Writes(generation int) bool {
	d, ok := drives[generation]
	return !ok || slices.Contains(d.writes, f.Suffix)
}

// Reads reports whether drives of a generation read the format; see Writes.
func (f Format) Reads(generation int) bool {
	d, ok := drives[generation]
	return !ok || slices.Contains(d.writes, f.Suffix) || slices.Contains(d.onlyReads, f.Suffix)
}

// Readers names the drives that read the format, and with write those that write it: "LTO-8 or LTO-9".
func (f Format) Readers(write bool) string {
	var names []string
	for g := 1; g <= Latest; g++ {
		if write && f.Writes(g) || !write && f.Reads(g) {
			names = append(names, fmt.Sprintf("LTO-%d", g))
		}
	}
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
	return strings.Join(names, "")
}

// DataPartition is about how many bytes and wraps LTFS has for data: two wraps are the index partition, and two lie between the
// partitions. Zero where the wraps are unknown.
func (f Format) DataPartition() (bytes int64, wraps int) {
	const lost = 4
	if f.Wraps <= lost {
		return 0, 0
	}
	return f.Capacity / int64(f.Wraps) * int64(f.Wraps-lost), f.Wraps - lost
}
