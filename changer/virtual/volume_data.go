package virtual

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// otherData holds data files whose own name is taken or impossible.
const otherData = ".other"

// dataName is where the bytes of a file are kept below files/: under its own path, long names cut.
func dataName(n *node) string {
	parts := strings.Split(n.path(), "/")
	for i, p := range parts {
		if len(p) > 255 {
			parts[i] = fmt.Sprintf("%s~%x", strings.ToValidUTF8(p[:200], ""), sha256.Sum256([]byte(p)))[:220]
		}
	}
	return path.Join(parts...)
}

// createData makes an empty data file for a node.
func (v *volume) createData(n *node) (*os.File, string, error) {
	for _, name := range []string{dataName(n), path.Join(otherData, fmt.Sprintf("%d-%d", n.uid, time.Now().UnixNano()))} {
		full := filepath.Join(v.dir, name)
		if os.MkdirAll(filepath.Dir(full), 0o755) != nil {
			continue
		}
		f, err := os.OpenFile(full, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err == nil {
			return f, name, nil
		}
		if name != dataName(n) {
			return nil, "", err
		}
	}
	return nil, "", errors.New("no place for data")
}

// open takes a handle of a file; the lock is held.
func (v *volume) open(n *node) syscall.Errno {
	if n.file == nil && n.data != "" {
		flags := os.O_RDWR
		if v.ro {
			flags = os.O_RDONLY
		}
		full := filepath.Join(v.dir, n.data)
		if info, err := os.Stat(full); err == nil && !info.Mode().IsRegular() { // somebody's pipe would wait for its other end
			return syscall.EIO
		}
		f, err := os.OpenFile(full, flags, 0)
		for _, short := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
			if errors.Is(err, short) { // this machine's, and nothing of the tape
				return short
			}
		}
		if err != nil {
			return syscall.EIO
		}
		n.file = f
	}
	n.handles++
	return 0
}

// release gives a handle back; the lock is held.
func (v *volume) release(n *node) {
	n.handles--
	if n.handles == 0 && n.file != nil {
		n.file.Close()
		n.file = nil
	}
}

// writableData makes sure that bytes from off on can be written without changing what the index on tape
// shows. keep is how many of the bytes there are still wanted. The lock is held and the file open.
func (v *volume) writableData(n *node, off, keep int64) error {
	switch {
	case n.file == nil:
		f, name, err := v.createData(n)
		if err != nil {
			return err
		}
		n.file, n.data, n.stale = f, name, false
		return f.Truncate(n.size)
	case off < n.indexed:
		old, oldName, oldIndexed := n.file, n.data, n.indexed
		f, name, err := v.createData(n)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, io.NewSectionReader(old, 0, keep)); err != nil {
			f.Close()
			return err
		}
		old.Close()
		if oldIndexed >= 0 && !n.gone {
			v.garbage = append(v.garbage, oldName)
		}
		n.file, n.data, n.indexed, n.stale = f, name, -1, false
		return f.Truncate(n.size)
	case n.stale:
		n.stale = false
		return n.file.Truncate(n.size)
	}
	return nil
}

// write appends data to the tape as the next part of a file. It accepts more than fits, up to the drive's
// and LTFS's buffers; what did not fit is lost when that shows.
func (v *volume) write(n *node, data []byte, off int64) (uint32, syscall.Errno) {
	time.Sleep(v.faults().slow("slow-write", v.d.m.Barcode))
	v.mu.Lock()
	defer v.mu.Unlock()
	if errno := v.changeable(); errno != 0 {
		return 0, errno
	}
	size := int64(len(data))
	if size == 0 {
		return 0, 0
	}
	// A run goes on where the last one ended, within its last block; another file begins a new block.
	block, addr := v.pos.block, v.pos.block*blockSize
	goesOn := false
	if last := len(n.extents) - 1; last >= 0 && v.lastWrite == n {
		if e := n.extents[last]; e.Off+e.Len == off {
			goesOn, block, addr = true, e.Block, e.Block*blockSize+e.Len
		}
	}
	kept, errno := v.writeFaults(n, data, off, addr)
	if errno != 0 {
		return 0, errno
	}
	fits := min(size, v.free())
	if _, ok := v.failed[n]; ok {
		fits = 0 // what follows is accepted and lost as well
		v.pos.block += (size + blockSize - 1) / blockSize
	} else if fits < size && v.overshoot+size-fits > v.buffer() {
		v.cutLate()
		return 0, v.endOfTape(syscall.EROFS)
	}
	if err := v.writableData(n, off, n.size); err != nil {
		return 0, syscall.EIO
	}
	if _, err := n.file.WriteAt(kept, off); err != nil {
		return 0, syscall.EIO
	}
	if fits > 0 {
		if goesOn {
			n.extents[len(n.extents)-1].Len += fits
			length := n.extents[len(n.extents)-1].Len
			v.pos.block = block + (length+blockSize-1)/blockSize
		} else {
			n.punch(off, fits)
			n.extents = append(n.extents, extent{Off: off, Block: block, Len: fits})
			v.pos.block = block + (fits+blockSize-1)/blockSize
		}
		v.pos.used += fits
		v.lastWrite = n
		v.head.transfer("write", n, off, fits, addr)
		if err := writePosition(v.posFile, v.pos); err != nil {
			return 0, syscall.EIO
		}
	}
	if _, ok := v.failed[n]; fits < size && !n.gone && !ok {
		v.overshoot += size - fits
		if at, ok := v.late[n]; !ok || off+fits < at {
			v.late[n] = off + fits
		}
	}
	n.size = max(n.size, off+size)
	n.modified = time.Now().UTC()
	n.changed = n.modified
	v.touch()
	return uint32(size), 0
}

// punch takes a range of the file out of its extents.
func (n *node) punch(off, length int64) {
	if last := len(n.extents) - 1; last < 0 || n.end() <= off {
		return
	}
	var kept []extent
	for _, e := range n.extents {
		if e.Off+e.Len <= off || e.Off >= off+length {
			kept = append(kept, e)
			continue
		}
		if e.Off < off {
			kept = append(kept, extent{Off: e.Off, Block: e.Block, Len: off - e.Off})
		}
		if end := off + length; e.Off+e.Len > end {
			skip := end - e.Off
			// The rest begins inside a block; its address is kept to the block.
			kept = append(kept, extent{Off: end, Block: e.Block + skip/blockSize, Len: e.Len - skip})
		}
	}
	n.extents = kept
}

// end is the highest offset that any extent reaches.
func (n *node) end() (end int64) {
	for _, e := range n.extents {
		end = max(end, e.Off+e.Len)
	}
	return end
}

// stored is how many bytes of the file are on tape.
func (n *node) stored() (sum int64) {
	for _, e := range n.extents {
		sum += e.Len
	}
	return sum
}

// cutLate is the moment in which the end of the tape shows: files lose what did not fit. The lock is held.
func (v *volume) cutLate() {
	if v.msgs.speech.hpe {
		v.dropped, v.d.m.Unclean = true, true
	} else {
		v.full, v.d.m.Full = true, true
	}
	_ = v.d.l.saveMeta(v.d.id, v.d.m) // the used space says the same at the next mount
	v.msgs.endOfTape()
	for n, at := range v.late {
		n.size = min(n.size, at)
		n.punch(n.size, 1<<62)
		if n.file != nil {
			_ = n.file.Truncate(n.size)
		}
		delete(v.late, n)
	}
	v.overshoot = 0
	v.touch()
}

// endOfTape is how the end of the tape is told: as what it is, or, by HPE's ltfs, as an error of a volume that it can no longer write.
func (v *volume) endOfTape(otherwise syscall.Errno) syscall.Errno {
	if v.dropped {
		return otherwise
	}
	return syscall.ENOSPC
}

// flush brings a file's bytes to tape, as fsync and close do; the index is another matter. dropped is the error of a volume that
// can no longer be written.
func (v *volume) flush(n *node, dropped syscall.Errno) syscall.Errno {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.head.flush()
	if _, ok := v.failed[n]; ok {
		v.cutFailed(n)
		return syscall.EIO
	}
	if _, ok := v.late[n]; ok {
		v.cutLate()
		return v.endOfTape(dropped)
	}
	if v.dropped {
		return dropped
	}
	return 0
}

// logIdle brings into the log what the head did, unless it does something now.
func (v *volume) logIdle() {
	if v.mu.TryLock() {
		v.head.flush()
		v.mu.Unlock()
	}
}

// truncate changes a file's size; the lock is held.
func (v *volume) truncate(n *node, size int64) syscall.Errno {
	if errno := v.changeable(); errno != 0 {
		return errno
	}
	if errno := v.open(n); errno != 0 {
		return errno
	}
	defer v.release(n)
	if size == n.size {
		v.touch()
		return 0
	}
	if n.file != nil || size > 0 {
		// Shortening writes nothing, but a later growth must not bring old bytes back.
		if err := v.writableData(n, min(size, n.size), min(size, n.size)); err != nil {
			return syscall.EIO
		}
		if err := n.file.Truncate(size); err != nil {
			return syscall.EIO
		}
	}
	n.size = size
	n.punch(size, 1<<62)
	if at, ok := v.late[n]; ok && at >= size {
		delete(v.late, n)
	}
	if at, ok := v.failed[n]; ok && at >= size {
		delete(v.failed, n)
	}
	n.modified = time.Now().UTC()
	n.changed = n.modified
	v.touch()
	return 0
}

// read answers from tape. The lock is held all the time: there is one head, and a write may replace the data file.
func (v *volume) read(n *node, dest []byte, off int64) (int, syscall.Errno) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if off >= n.size {
		return 0, 0
	}
	size := min(int64(len(dest)), n.size-off)
	if !v.present() {
		return 0, syscall.EAGAIN
	}
	f := v.faults()
	for f.names("stuck-read", v.d.m.Barcode) {
		time.Sleep(50 * time.Millisecond)
		f = v.faults()
	}
	for _, e := range n.extents {
		from, to := max(off, e.Off), min(off+size, e.Off+e.Len)
		if from >= to {
			continue
		}
		addr := e.Block*blockSize + from - e.Off
		if f.hits("read-eio", v.d.m.Barcode, addr, addr+to-from) || v.lost(addr, addr+to-from) {
			return 0, syscall.EIO
		}
		v.head.transfer("read", n, from, to-from, addr)
	}
	if n.file == nil { // never written: a hole
		clear(dest[:size])
		return int(size), 0
	}
	got, err := n.file.ReadAt(dest[:size], off)
	if err != nil && err != io.EOF {
		return 0, syscall.EIO
	}
	clear(dest[got:size])
	return int(size), 0
}
