package virtual

import (
	"bytes"
	"slices"
	"syscall"
)

// writeFaults applies the faults that lie where data is about to be written, at addr on the data partition, as the
// bytes of n from off on. It returns what the tape will hold instead of data. The lock is held.
func (v *volume) writeFaults(n *node, data []byte, off, addr int64) ([]byte, syscall.Errno) {
	f, end := v.faults(), addr+int64(len(data))
	hits := func(kind string) bool { return f.hits(kind, v.d.m.Barcode, addr, end) }

	v.sticky = v.sticky || hits("sticky-eio")
	switch {
	case v.sticky, hits("write-eio"):
		return nil, syscall.EIO

	case hits("write-perm"):
		v.d.m.WritePerm = true
		if v.d.l.saveMeta(v.d.id, v.d.m) == nil {
			v.msgs.say("LTFS11077E Cannot write: failed to write blocks to the medium (-20300).")
		}
		return nil, syscall.EIO

	case hits("close-eio"):
		if at, ok := v.failed[n]; !n.gone && (!ok || off < at) {
			v.failed[n] = off
		}

	case hits("lost-write"):
		v.d.m.Lost = append(v.d.m.Lost, addr)
		if v.d.l.saveMeta(v.d.id, v.d.m) != nil {
			return nil, syscall.EIO
		}
		return make([]byte, len(data)), 0

	case hits("wrong-write"):
		wrong := bytes.Clone(data)
		wrong[len(wrong)/2] ^= 1
		return wrong, 0
	}
	return data, 0
}

// lost reports whether a place in [from, to) of the data partition was never written, though an index lists it.
func (v *volume) lost(from, to int64) bool {
	return slices.ContainsFunc(v.d.m.Lost, func(at int64) bool { return from <= at && at < to })
}

// cutFailed ends a file before the bytes that could not be written. The lock is held.
func (v *volume) cutFailed(n *node) {
	v.msgs.say("LTFS11077E Cannot write: failed to write blocks to the medium (-20301).")
	v.msgs.say("LTFS13014W Data partition writer: failed to write data to the tape (-20301).")
	n.size = min(n.size, v.failed[n])
	n.punch(n.size, 1<<62)
	if n.file != nil {
		_ = n.file.Truncate(n.size)
	}
	delete(v.failed, n)
	v.touch()
}

// cutAllFailed is cutFailed for every file that has such bytes.
func (v *volume) cutAllFailed() {
	for n := range v.failed {
		v.cutFailed(n)
	}
}

// mayNeedCheck marks the tape of a volume that begins to change, so that it does not mount if its ltfs is killed, where
// that fault is set.
func (v *volume) mayNeedCheck() {
	if v.faults().has("kill-needs-check") && !v.d.m.Unclean {
		v.d.m.Unclean = true
		_ = v.d.l.saveMeta(v.d.id, v.d.m) // the tape is no worse for it
	}
}

// markClean takes that mark away: the volume is unmounted in order, or was checked.
func (v *volume) markClean() error {
	if !v.d.m.Unclean || v.ro || v.dropped || !v.present() {
		return nil
	}
	v.d.m.Unclean = false
	return v.d.l.saveMeta(v.d.id, v.d.m)
}
