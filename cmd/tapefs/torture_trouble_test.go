package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

const blockSize = 512 << 10 // of LTFS

// trouble is one kind. provoke ends when the run in trouble has ended, and tells whether it met it.
type trouble struct {
	name    string
	provoke func() bool
}

// needNewTape are failpoints that a run meets only when it formats a tape.
var needNewTape = []string{"format", "mkltfs", "formatted", "label", "labelled"}

func (w *tortured) troubles() []trouble {
	var all []trouble
	for _, name := range failpointsOfArchive(w.t) {
		all = append(all, trouble{"failpoint " + name, func() bool {
			if slices.Contains(needNewTape, name) {
				w.fillTapes()
			}
			return w.ends(w.start("TAPEFS_FAILPOINT="+name)) == -1
		}})
	}
	all = append(all,
		trouble{"kill tapefs", func() bool { return w.strike(w.killTapefs) }},
		trouble{"kill tapefs, and again as it recovers", func() bool {
			met := w.strike(w.killTapefs)
			return w.strike(w.killTapefs) && met
		}},
		trouble{"kill rsync", func() bool {
			// Of the listing or of fetching, on this side or the far one. None lives long.
			word := []string{"--files-from", "--server", "--out-format"}[w.r.IntN(3)]
			s := w.start()
			met := false
			w.wait(s, func() bool { met = met || w.kill(word); return met })
			w.ends(s)
			return met
		}},
		trouble{"kill ltfs", func() bool {
			s := w.start()
			w.wait(s, func() bool { return len(w.processes(" ltfs ")) > 0 })
			w.pause(s, time.Duration(w.r.Int64N(int64(300*time.Millisecond))))
			met := w.kill(" ltfs ")
			w.ends(s)
			return met
		}},
		trouble{"kill mkltfs", func() bool {
			w.fillTapes()
			s := w.start()
			met := false
			w.wait(s, func() bool { met = met || w.kill(" mkltfs "); return met })
			if w.r.IntN(2) == 0 {
				w.killTapefs(s)
			}
			w.ends(s)
			return met
		}},
		trouble{"kill all at once", func() bool { return w.strike(func(*started) bool { return w.kill("") }) }},
		trouble{"end of tape", func() bool {
			used, _ := w.writing()
			return w.faulty(fmt.Sprintf("enospc-after=%d", max(used+int64(w.r.IntN(4<<20)), 12<<20)))
		}},
		trouble{"write error", func() bool {
			_, places := w.writing()
			return w.faulty(places("write-eio", 12)...)
		}},
		trouble{"read error in proof", w.readError},
		trouble{"index not written", func() bool { return w.faulty("index-write") }},
		trouble{"cartridge yanked", func() bool {
			s := w.start()
			w.wait(s, func() bool { return len(mountsBelow(w.path("state/run"))) > 0 })
			w.pause(s, time.Duration(w.r.Int64N(int64(300*time.Millisecond))))
			met := len(mountsBelow(w.path("state/run"))) > 0 && w.unload()
			w.ends(s)
			return met
		}},
		trouble{"robot stuck", func() bool {
			w.emptyDrives()
			w.fault("stuck-robot")
			s := w.start()
			w.wait(s, func() bool { return len(w.processes(" load ")) > 0 })
			stuck := !s.done()
			w.pause(s, time.Duration(w.r.Int64N(int64(time.Second))))
			if w.r.IntN(2) == 0 {
				w.killTapefs(s)
			}
			w.clear()
			w.ends(s)
			return stuck
		}},
		trouble{"slow load", func() bool {
			w.emptyDrives()
			w.fault("slow-load=1500ms")
			s := w.start()
			if w.r.IntN(2) == 0 {
				w.wait(s, func() bool { return len(w.processes(" load ")) > 0 })
				w.pause(s, time.Duration(w.r.Int64N(int64(2*time.Second))))
				w.killTapefs(s)
			}
			w.ends(s)
			return true
		}},
		trouble{"tape write-protected", func() bool {
			var faults []string
			for _, t := range w.openTapes() {
				faults = append(faults, "write-protect="+t.barcode)
			}
			return w.faulty(faults...)
		}},
		trouble{"labels exchanged", func() bool {
			w.emptyDrives()
			slots := w.slotsOfOpenTapes()
			if len(slots) < 2 {
				return false
			}
			one, two := slots[0], slots[1]
			return w.faulty(fmt.Sprintf("wrong-barcode=%d:%s", one.slot, two.barcode), fmt.Sprintf("wrong-barcode=%d:%s", two.slot, one.barcode))
		}},
		trouble{"two at once", func() bool {
			one, two := w.start(), w.start()
			a, b := w.ends(one), w.ends(two)
			return a == exitLocked || b == exitLocked
		}},
		trouble{"SIGTERM", func() bool {
			return w.strike(func(s *started) bool { return s.cmd.Process.Signal(syscall.SIGTERM) == nil })
		}},
		trouble{"Ctrl-C twice", func() bool {
			return w.strike(func(s *started) bool {
				ok := s.cmd.Process.Signal(os.Interrupt) == nil
				w.pause(s, time.Duration(w.r.Int64N(int64(200*time.Millisecond))))
				s.cmd.Process.Signal(os.Interrupt)
				return ok
			})
		}},
	)
	all = slices.Concat(all, w.unkindTroubles(), w.damageTroubles(), w.verbTroubles(), w.faultTroubles())
	if w.root {
		all = append(all,
			trouble{"spool's disk full", func() bool {
				free := w.fillDisk(w.path("state/spool"), int64(w.r.IntN(2<<20)))
				defer free()
				return w.ends(w.start()) != exitDone
			}},
			trouble{"catalog's disk full", func() bool {
				free := func() {}
				if w.r.IntN(2) == 0 {
					free = w.fillDisk(w.path("state"), int64(w.r.IntN(256<<10)))
				}
				s := w.start()
				if ended := w.r.IntN(2) == 0; !ended {
					w.pause(s, time.Duration(w.r.Int64N(int64(w.run1))))
				}
				if !exists(w.path("state/ballast")) {
					free = w.fillDisk(w.path("state"), 0)
				}
				defer func() { free() }()
				return w.ends(s) != exitDone
			}},
		)
	}
	return all
}

// wait until cond holds or the run has ended.
func (w *tortured) wait(s *started, cond func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(runLimit); !cond() && !s.done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return // ends says what is wrong
		}
	}
}

// pause is a random moment's wait, at most until the run ends.
func (w *tortured) pause(s *started, d time.Duration) {
	select {
	case <-s.exited:
	case <-time.After(d):
	}
}

// strike starts a run and does something at a random moment of it.
func (w *tortured) strike(blow func(*started) bool) bool {
	w.t.Helper()
	s := w.start()
	w.pause(s, time.Duration(w.r.Int64N(int64(w.run1))))
	if s.done() {
		w.ends(s)
		return false
	}
	met := blow(s)
	w.ends(s)
	return met
}

func (w *tortured) killTapefs(s *started) bool { return s.cmd.Process.Signal(syscall.SIGKILL) == nil }

// kill ends all processes of this archive that have one of the words in their command line.
func (w *tortured) kill(words ...string) bool {
	any := false
	for _, word := range words {
		for _, pid := range w.processes(word) {
			any = syscall.Kill(pid, syscall.SIGKILL) == nil || any
		}
	}
	return any
}

// faulty makes a run with faults in force; met when it does not end well.
func (w *tortured) faulty(faults ...string) bool {
	w.t.Helper()
	w.fault(faults...)
	s := w.start()
	code := w.ends(s)
	return code != exitDone || strings.Contains(s.out.String(), "tape failed") || strings.Contains(s.out.String(), "passed over")
}

// writing tells how many bytes the fullest of the open tapes hold, and gives faults that lie where the next bytes of
// each will, up to so many blocks on.
func (w *tortured) writing() (used int64, places func(fault string, blocks int) []string) {
	w.t.Helper()
	tapes := w.openTapes()
	for _, t := range tapes {
		used = max(used, t.used)
	}
	return used, func(fault string, blocks int) []string {
		var out []string
		for _, t := range tapes {
			out = append(out, fmt.Sprintf("%s=%s:%d", fault, t.barcode, (t.next+int64(w.r.IntN(blocks)))*blockSize))
		}
		return out
	}
}

// fillTapes makes the open tapes take no more, so that the next run needs blank ones.
func (w *tortured) fillTapes() {
	w.t.Helper()
	var faults []string
	for _, t := range w.openTapes() {
		faults = append(faults, "write-protect="+t.barcode)
	}
	w.fault(faults...)
	w.addTapes("VT", 1) // to be sure that there is one
}

// readError lets a run die before its sync, and the next one find parts that cannot be read.
func (w *tortured) readError() bool {
	w.t.Helper()
	point := []string{"sync", "part-written", "durable"}[w.r.IntN(3)]
	if w.ends(w.start("TAPEFS_FAILPOINT="+point)) != -1 {
		return false
	}
	var faults []string
	for _, p := range w.query(`SELECT t.barcode, p.startblock FROM copy_part p JOIN tape t ON t.id = p.tape WHERE p.state = 1 AND p.startblock >= 0`) {
		if w.r.IntN(2) == 0 {
			faults = append(faults, fmt.Sprintf("read-eio=%s:%d", p[0], p[1].(int64)*blockSize))
		}
	}
	w.fault(faults...)
	w.ends(w.start())
	return len(faults) > 0
}
