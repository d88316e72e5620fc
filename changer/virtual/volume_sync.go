package virtual

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// sync writes the index to the data partition when anything has changed.
func (v *volume) sync(reason string) syscall.Errno {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.head.stop()
	v.head.flush()
	if len(v.failed) > 0 {
		v.cutAllFailed()
		return syscall.EIO
	}
	if len(v.late) > 0 {
		v.cutLate()
		if !v.dropped {
			return syscall.ENOSPC
		}
	}
	if v.dropped {
		return syscall.EROFS
	}
	if v.full && v.faults().has("full-no-sync") {
		return syscall.ENOSPC
	}
	if !v.present() {
		return syscall.EAGAIN
	}
	if !v.dirty || v.d.m.WritePerm || v.faults().has("sync-lies") {
		return 0
	}
	if v.faults().has("index-write") {
		v.msgs.say("LTFS11083E Cannot write index: failed to write to the medium.")
		return syscall.EIO
	}
	if err := v.writeIndex(reason, false); err != nil {
		return syscall.EIO
	}
	if err := v.d.l.record(v.event("sync", indexSeconds)); err != nil {
		return syscall.EIO
	}
	return 0
}

func (v *volume) event(kind string, seconds float64) Event {
	return Event{Drive: v.d.n, Kind: kind, Barcode: v.d.m.Barcode, Seconds: seconds}
}

// writeIndex puts an index on partition b, unless nothing was written since the last one there, and at
// the end of a mount one on partition a. The lock is held.
func (v *volume) writeIndex(reason string, last bool) error {
	x := *v.x
	x.History = append([]indexVersion(nil), v.x.History...)
	if v.dirty {
		x.History = append(x.History, version(v.x))
		x.Generation++
		x.Time = time.Now().UTC()
		x.Creator = v.msgs.speech.made("ltfs", reason)
	}
	pos := v.pos
	onB := (!last || pos.block > x.LastOnB+2) && !v.d.m.WritePerm
	if onB {
		x.Self = position{"b", pos.block + 1} // after a file mark
		x.Back = position{"b", v.x.LastOnB}
		x.LastOnB = x.Self.Block
		pos.block += 3
	}
	if last {
		x.Self, x.Back = position{"a", indexPartitionStart}, position{"b", x.LastOnB}
	}
	x.Used = pos.used
	x.Root = v.toIndex(v.root)
	n, err := v.d.l.saveIndex(v.d.id, &x)
	if err != nil {
		return err
	}
	files := countFiles(v.root)
	if onB {
		pos.used += n
		v.pos = pos
		v.lastWrite = nil
		if err := writePosition(v.posFile, pos); err != nil {
			return err
		}
		v.msgs.wrote(v.d.m, position{"b", x.LastOnB}, reason, files, x.Generation, v.d.serial)
	}
	if v.dirty {
		v.msgs.dirty(v.d.m, 0)
		if reason == "Recovery" {
			v.msgs.say("LTFS17259I Recover an index on IP from (b, %d).", x.LastOnB)
		}
	}
	if last {
		v.msgs.wrote(v.d.m, x.Self, reason, files, x.Generation, v.d.serial)
	}
	x.Root = nil
	x.Message = ""
	v.x, v.dirty = &x, false
	v.settle()
	return nil
}

func version(x *index) indexVersion {
	return indexVersion{Generation: x.Generation, Time: x.Time, Creator: x.Creator, Message: x.Message,
		VolumeName: x.VolumeName, Self: x.Self, Back: x.Back}
}

// settle takes note that the index on tape is the tree as it is now.
func (v *volume) settle() {
	needed := map[string]bool{}
	eachFile(v.root, func(n *node) {
		n.indexed = n.size
		needed[n.data] = true
	})
	for _, g := range v.garbage {
		if !needed[g] {
			os.Remove(filepath.Join(v.dir, g))
		}
	}
	v.garbage = nil
}

// recover repairs what an ltfs that was killed left: an index on partition b only.
func (v *volume) recover() error {
	if v.ro || v.x.Self.Partition != "b" {
		return nil
	}
	v.msgs.say("LTFS11022I Restoring volume consistency by writing an index to the index partition.")
	return v.writeIndex("Recovery", true)
}

// finish ends the mount: the index goes to both partitions. A tape that was taken away gets nothing.
func (v *volume) finish() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer v.posFile.Close()
	v.head.stop()
	v.head.flush()
	v.cutAllFailed()
	if len(v.late) > 0 {
		v.cutLate()
	}
	if err := v.markClean(); err != nil {
		return err
	}
	seconds := UnmountSeconds
	switch {
	case !v.present():
		v.msgs.notPresent(3)
		v.msgs.say("LTFS17188I Device is not ready (-20209).")
		return nil
	case v.ro, !v.dirty && v.x.Self.Partition == "a":
		v.msgs.say("LTFS17265I Skip writing the index because of the volume is not dirty and current self pointer points IP.")
		seconds = UnmountSeconds / 2
	case v.dropped: // there is no way to write one
	case v.faults().has("umount-lies"):
		v.msgs.say("LTFS11083E Cannot write index: failed to write to the medium.")
	case v.faults().has("index-write"):
		v.msgs.say("LTFS11083E Cannot write index: failed to write to the medium.")
		return errors.New("write index: medium error")
	default:
		if err := v.writeIndex("Unmount", true); err != nil {
			return err
		}
	}
	v.msgs.say("LTFS30235I Cannot parse the log page 0x37 in get cart health.")
	v.msgs.say("LTFS11034I Volume unmounted successfully.")
	return v.d.l.record(v.event("unmount", seconds))
}
