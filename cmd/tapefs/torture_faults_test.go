package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/tapefs/tapefs/changer/virtual"
)

// faultTroubles are the ways of robots, drives and labels that no other trouble has.
func (w *tortured) faultTroubles() []trouble {
	// easy has a fault that a run has to get along with.
	easy := func(faults ...string) func() bool {
		return func() bool {
			w.emptyDrives()
			w.faulty(faults...)
			return true
		}
	}
	return []trouble{
		{"slow robot", easy("slow-robot=40ms")},
		{"slow writes", func() bool {
			var faults []string
			for _, t := range w.openTapes() {
				faults = append(faults, "slow-write="+t.barcode+":15ms")
			}
			w.faulty(faults...)
			return true
		}},
		{"late index", easy("late-index=400ms")},
		{"slow open", easy("blocking-open=300ms", "slow-load=600ms", "first-load=600ms")}, // the last strikes where drives are LTO-9
		{"labels without suffix", easy("no-suffix")},
		{"unknown source", easy("unknown-source=0", "unknown-source=1")},
		{"sense data", easy("noise")},
		{"unit attention", easy("unit-attention")},
		{"eject first", easy("eject-first")},
		{"device nodes exchanged", easy("exchanged-nodes=0:1")},
		{"drive numbers exchanged", easy("exchanged-elements=0:1")},
		{"drive switched off", easy("drive-off=1")},
		{"drive does not answer", easy("drive-silent=0")},
		{"no cartridge memory", func() bool {
			var faults []string
			for _, t := range w.openTapes() {
				faults = append(faults, "memory="+t.barcode+":none")
			}
			return easy(faults...)()
		}},
		{"memory of another cartridge", func() bool {
			var faults []string
			for _, t := range w.openTapes() {
				faults = append(faults, "memory="+t.barcode+":ZZ9999L8")
			}
			return easy(faults...)()
		}},
		{"alerts and wear", func() bool {
			faults := []string{fmt.Sprintf("drive-alert=%d:%d", w.r.IntN(2), 1+w.r.IntN(64))}
			for _, t := range w.openTapes() {
				faults = append(faults, fmt.Sprintf("tape-alert=%s:%d", t.barcode, 1+w.r.IntN(64)), "worn="+t.barcode+":100000")
			}
			return easy(faults...)()
		}},
		{"changer offline", func() bool { w.emptyDrives(); return w.faulty("offline") }},
		{"door open", easy("door-open")},
		{"drive wants cleaning", w.cleaning},
		{"mount stuck", func() bool { return w.stuck("stuck-mount", " ltfs ") }},
		{"read stuck", w.stuckRead},
		{"volume needs ltfsck", w.checkWanted("needs-check")},
		{"volume cannot be checked", w.checkWanted("needs-check", "check-fails")},
		{"ltfsck stuck", func() bool {
			w.fault(w.ofOpenTapes("needs-check")...)
			return w.stuck("stuck-check", " ltfsck ")
		}},
		{"ltfs dies at a request", func() bool {
			var faults []string
			for _, t := range w.openTapes() {
				faults = append(faults, fmt.Sprint("dies-at=", t.barcode, ":", 1+w.r.IntN(80)))
			}
			w.fault(faults...)
			s := w.start()
			w.ends(s)
			return strings.Contains(s.out.String(), "was killed")
		}},
		{"all ltfs killed", func() bool {
			return w.strike(func(s *started) bool {
				met := len(w.processes(" ltfs ")) > 0
				w.must(w.lib.Fault("kill-ltfs"))
				return met
			})
		}},
	}
}

// ofOpenTapes is a fault of each tape that the next run may write to.
func (w *tortured) ofOpenTapes(kind string) (faults []string) {
	w.t.Helper()
	for _, t := range w.openTapes() {
		faults = append(faults, kind+"="+t.barcode)
	}
	return faults
}

// fault sets faults of the library, if there are any to be set.
func (w *tortured) fault(faults ...string) {
	w.t.Helper()
	if len(faults) == 0 {
		return
	}
	w.must(w.lib.Fault(faults...))
	for _, f := range faults {
		fmt.Fprintf(&w.log, "--- fault %s\n", f)
	}
}

// checkWanted has the open tapes want ltfsck.
func (w *tortured) checkWanted(kinds ...string) func() bool {
	return func() bool {
		w.emptyDrives()
		var faults []string
		for _, kind := range kinds {
			faults = append(faults, w.ofOpenTapes(kind)...)
		}
		w.faulty(faults...)
		return len(faults) > 0
	}
}

// stuck has a program of the open tapes that does not end for a while. Then it does, or tapefs is killed first.
func (w *tortured) stuck(kind, program string) bool {
	w.t.Helper()
	w.emptyDrives()
	w.fault(w.ofOpenTapes(kind)...)
	s := w.start()
	w.wait(s, func() bool { return len(w.processes(program)) > 0 })
	met := !s.done()
	w.pause(s, time.Duration(w.r.Int64N(int64(time.Second))))
	if w.r.IntN(2) == 0 {
		w.killTapefs(s)
	}
	w.clear()
	w.ends(s)
	return met
}

// stuckRead has verify read tapes that answer no more for a while.
func (w *tortured) stuckRead() bool {
	w.t.Helper()
	var faults []string
	for _, barcode := range w.tapesOf("") {
		faults = append(faults, "stuck-read="+barcode)
	}
	w.fault(faults...)
	s := w.launch(w.command("verify"))
	w.wait(s, func() bool { return len(w.processes(" ltfs ")) > 0 })
	met := !s.done()
	w.pause(s, time.Duration(w.r.Int64N(int64(time.Second))))
	switch w.r.IntN(3) {
	case 0:
		w.killTapefs(s)
	case 1:
		s.cmd.Process.Signal(syscall.SIGTERM)
	}
	w.clear()
	w.ends(s)
	return met
}

// cleaning has a drive ask for a cleaning cartridge, which is there or not.
func (w *tortured) cleaning() bool {
	w.t.Helper()
	if w.tapes["CLN"] == 0 && w.r.IntN(2) == 0 {
		w.tapes["CLN"]++
		w.slot++
		w.must(w.lib.Add(w.slot, virtual.Cartridge{Barcode: "CLN001L1"}))
	}
	drive := w.r.IntN(len(w.lib.Drives))
	w.fault("clean-time=20ms", fmt.Sprintf("wants-cleaning=%d", drive))
	w.faulty()
	if w.tapes["CLN"] > 0 {
		_, out := w.runs("drive", "clean", fmt.Sprint(drive))
		return strings.Contains(out, "is cleaned")
	}
	return true
}
