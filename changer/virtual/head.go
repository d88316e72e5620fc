package virtual

import (
	"time"
)

// idleStop is how long a drive streams on from its buffer when nobody asks for more.
const idleStop = 2 * time.Second

// head accounts for what one drive does with the mounted tape. Sequential requests on one file become
// one event, written when the run ends; kill -9 loses the event of a run. Not safe for concurrent use: the volume's lock protects it.
type head struct {
	l        *Library
	drive    int
	barcode  string
	capacity int64

	at      int64 // byte address on the data partition
	kind    string
	node    *node
	run     Event
	pending []Event
	moving  bool // the tape is streaming
	last    time.Time
}

// transfer accounts for n bytes of a file at a byte address of the tape.
func (h *head) transfer(kind string, n *node, off, bytes, addr int64) {
	now := time.Now()
	if h.moving && now.Sub(h.last) > idleStop {
		h.stop()
	}
	h.last = now
	if h.node == n && h.kind == kind && h.run.Offset+h.run.Bytes == off && h.at == addr && h.moving {
		h.run.Bytes += bytes
		h.at += bytes
		return
	}
	h.end()
	switch gap := addr - h.at; {
	case gap < 0 || gap >= blockSize:
		if h.moving {
			h.moving = false
			h.event(Event{Kind: "stop", Seconds: stopSeconds})
		}
		h.event(Event{Kind: "seek", Offset: gap, Seconds: h.seek(addr)})
	case h.moving && h.kind != kind:
		h.event(Event{Kind: "stop", Seconds: stopSeconds})
	}
	h.kind, h.node, h.moving = kind, n, true
	h.run = Event{Kind: kind, File: n.path(), Offset: off, Bytes: bytes}
	h.at = addr + bytes
}

func (h *head) seek(addr int64) float64 {
	return SeekSeconds(float64(h.at)/float64(h.capacity), float64(addr)/float64(h.capacity))
}

// end closes the running event; the tape streams on.
func (h *head) end() {
	if h.node == nil {
		return
	}
	h.run.Seconds = float64(h.run.Bytes) / StreamRate
	h.event(h.run)
	h.node = nil
}

// stop ends streaming.
func (h *head) stop() {
	h.end()
	if h.moving {
		h.moving = false
		h.event(Event{Kind: "stop", Seconds: stopSeconds})
	}
}

func (h *head) event(e Event) {
	e.Drive, e.Barcode, e.Time = h.drive, h.barcode, time.Now().UnixNano()
	h.pending = append(h.pending, e)
	if len(h.pending) > 100 {
		h.write()
	}
}

// flush brings everything into the log.
func (h *head) flush() {
	h.end()
	h.write()
}

// write loses events rather than a write of the volume when the log cannot be written.
func (h *head) write() {
	if len(h.pending) > 0 {
		_ = h.l.record(h.pending...)
		h.pending = h.pending[:0]
	}
}
