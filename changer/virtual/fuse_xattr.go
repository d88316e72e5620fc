package virtual

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
)

var (
	_ fs.NodeGetxattrer    = (*fsNode)(nil)
	_ fs.NodeSetxattrer    = (*fsNode)(nil)
	_ fs.NodeListxattrer   = (*fsNode)(nil)
	_ fs.NodeRemovexattrer = (*fsNode)(nil)
)

const ltfsPrefix = "user.ltfs."

func (f *fsNode) Getxattr(_ context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	f.v.request()
	f.v.mu.Lock()
	value, errno := f.v.attribute(f.n, attr)
	f.v.mu.Unlock()
	if errno != 0 {
		return 0, errno
	}
	if len(dest) < len(value) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}

func (v *volume) attribute(n *node, attr string) ([]byte, syscall.Errno) {
	name, ours := strings.CutPrefix(attr, ltfsPrefix)
	if !ours {
		if value, ok := n.xattrs[attr]; ok {
			return value, 0
		}
		return nil, syscall.ENODATA
	}
	if v.msgs.speech.hpe {
		switch {
		case name == "driveCaptureDump":
			return nil, syscall.EPERM
		case name == "sync" && n == v.root:
			return nil, syscall.EACCES
		}
	}
	if value, ok := v.nodeAttribute(n, name); ok {
		return []byte(value), 0
	}
	if n.parent != nil || n != v.root {
		return nil, syscall.ENODATA
	}
	if strings.HasPrefix(name, "media") && name != "mediaEncrypted" {
		if value, ok := v.mediaAttribute(name); ok {
			if !v.present() {
				return nil, syscall.ENOMEDIUM
			}
			return []byte(value), 0
		}
		return nil, syscall.ENODATA
	}
	if value, ok := v.rootAttribute(name); ok {
		return []byte(value), 0
	}
	return nil, syscall.ENODATA
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }

// nodeAttribute has the attributes of files and directories alike.
func (v *volume) nodeAttribute(n *node, name string) (string, bool) {
	if n.kind == "file" {
		switch name {
		case "partition", "startblock":
			if len(n.extents) == 0 {
				return "", false
			}
			if name == "partition" {
				return "b", true
			}
			first := n.extents[0]
			for _, e := range n.extents {
				if e.Off < first.Off {
					first = e
				}
			}
			return strconv.FormatInt(first.Block, 10), true
		}
	}
	switch name {
	case "accessTime":
		return stamp(n.accessed), true
	case "backupTime":
		return stamp(n.backup), true
	case "changeTime":
		return stamp(n.changed), true
	case "createTime":
		return stamp(n.created), true
	case "modifyTime":
		return stamp(n.modified), true
	case "fileUID":
		return strconv.FormatUint(n.uid, 10), true
	case "driveCaptureDump":
		return "", true
	case "mamApplicationFormatVersion":
		return fmt.Sprintf("%-16s", "2.4.0"), true
	case "mamApplicationVendor":
		return fmt.Sprintf("%-8s", v.msgs.speech.vendor), true
	case "mamApplicationVersion":
		return fmt.Sprintf("%-8s", v.msgs.speech.short), true
	case "mamBarcode":
		if v.msgs.speech.hpe {
			return fmt.Sprintf("%-32s", v.d.m.Memory), true
		}
		return fmt.Sprintf("%-32s", v.d.m.Serial), true
	case "mamApplicationName":
		return fmt.Sprintf("%-32s", "LTFS"), v.msgs.speech.hpe
	case "mamVolumeName":
		return v.x.VolumeName, v.msgs.speech.hpe
	case "volumeLockState":
		return v.lockState(), v.msgs.speech.hpe
	case "softwareFormatSpec":
		return "2.4.0", true
	case "softwareProduct":
		return v.msgs.speech.product, true
	case "softwareVendor":
		return v.msgs.speech.vendor, true
	case "softwareVersion":
		return v.msgs.speech.version, true
	case "volumeName":
		return v.x.VolumeName, true
	case "volumeUUID":
		return v.d.m.UUID, true
	}
	return "", false
}

// lockState is what HPE's ltfs tells of the lock in the cartridge's memory: 65 is a permanent error of writing.
func (v *volume) lockState() string {
	if v.dropped {
		return "65"
	}
	return "0"
}

// rootAttribute has what only the root knows.
func (v *volume) rootAttribute(name string) (string, bool) {
	place := func(p position) string { return fmt.Sprintf("%s:%d", p.Partition, p.Block) }
	switch name {
	case "commitMessage":
		return v.x.Message, true
	case "driveEncryptionMethod":
		return "No Method", true
	case "driveEncryptionState":
		return "off", true
	case "indexCreator":
		if v.msgs.speech.hpe { // without the reason
			return v.msgs.speech.creator + " - Linux - ltfs", true
		}
		return v.x.Creator, true
	case "indexGeneration":
		return strconv.FormatInt(v.x.Generation, 10), true
	case "indexLocation":
		return place(v.x.Self), true
	case "indexPrevious":
		return place(v.x.Back), true
	case "indexTime":
		return stamp(v.x.Time), true
	case "indexVersion", "labelVersion":
		return "2.4.0", true
	case "labelCreator":
		return v.msgs.speech.creator + " - Linux - mkltfs", true
	case "mediaEncrypted", "policyExists":
		return "false", true
	case "partitionMap":
		return "I:a,D:b", true
	case "policyAllowUpdate", "volumeCompression":
		return "true", true
	case "sync":
		return "", true
	case "vendor.IBM.cartridgeMountNode":
		return "localhost", true
	case "vendor.IBM.logLevel", "vendor.IBM.syslogLevel":
		return "2", true
	case "vendor.IBM.profiler":
		return fmt.Sprintf("%.9f", time.Since(v.x.Time).Seconds()), true
	case "vendor.IBM.trace":
		return "on", true
	case "vendor.IBM.totalBlocks":
		return strconv.FormatInt(v.pos.block, 10), true
	case "vendor.IBM.referencedBlocks":
		var blocks int64
		eachFile(v.root, func(n *node) {
			for _, e := range n.extents {
				blocks += (e.Len + blockSize - 1) / blockSize
			}
		})
		return strconv.FormatInt(blocks, 10), true
	case "volumeBlocksize":
		return strconv.Itoa(blockSize), true
	case "volumeFormatTime":
		return stamp(v.d.m.FormatTime), true
	case "volumeSerial":
		return v.d.m.Serial, true
	}
	return "", false
}

// mediaAttribute has what the drive is asked for; sizes are MiB.
func (v *volume) mediaAttribute(name string) (string, bool) {
	switch name {
	case "mediaDataPartitionTotalCapacity":
		return strconv.FormatInt(v.d.m.Capacity>>20, 10), true
	case "mediaDataPartitionAvailableSpace":
		if v.full {
			return "0", true
		}
		return strconv.FormatInt(v.free()>>20, 10), true
	case "mediaIndexPartitionTotalCapacity", "mediaIndexPartitionAvailableSpace":
		return strconv.FormatInt(v.d.m.Capacity/20>>20+1, 10), true
	case "mediaLoads":
		return strconv.FormatInt(v.d.m.Loads, 10), true
	case "mediaEfficiency":
		return "-1", true
	case "mediaStorageAlert":
		return "0x0000000000000000", true
	case "mediaBeginningMediumPasses", "mediaDatasetsRead", "mediaDatasetsWritten", "mediaMBRead", "mediaMBWritten",
		"mediaMiddleMediumPasses", "mediaPermanentReadErrors", "mediaPermanentWriteErrors",
		"mediaPreviousPermanentReadErrors", "mediaPreviousPermanentWriteErrors", "mediaRecoveredReadErrors",
		"mediaRecoveredWriteErrors":
		return "0", true
	}
	return "", false
}

func (f *fsNode) Setxattr(_ context.Context, attr string, data []byte, flags uint32) syscall.Errno {
	f.v.request()
	v := f.v
	if attr == ltfsPrefix+"sync" && f.n == v.root {
		if !v.async && !v.faults().has("late-index") {
			errno := v.sync("Sync by EA")
			v.request() // it may die before it says so
			return errno
		}
		select { // it does not wait, and is told of no error
		case v.wake <- struct{}{}:
		default:
		}
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	name, ours := strings.CutPrefix(attr, ltfsPrefix)
	switch {
	case !strings.HasPrefix(attr, "user."):
		return syscall.EOPNOTSUPP
	case v.ro, v.dropped:
		return syscall.EROFS
	case !v.present():
		return syscall.EAGAIN
	case ours && f.n == v.root && name == "commitMessage":
		v.x.Message = string(data)
	case ours && f.n == v.root && name == "volumeName":
		v.x.VolumeName = string(data)
	case ours:
		return syscall.EACCES
	default:
		const create, replace = 1, 2
		_, have := f.n.xattrs[attr]
		if flags&create != 0 && have {
			return syscall.EEXIST
		}
		if flags&replace != 0 && !have {
			return syscall.ENODATA
		}
		if f.n.xattrs == nil {
			f.n.xattrs = map[string][]byte{}
		}
		f.n.xattrs[attr] = append([]byte(nil), data...)
		f.n.changed = time.Now().UTC()
	}
	v.touch()
	return 0
}

func (f *fsNode) Removexattr(_ context.Context, attr string) syscall.Errno {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if errno := f.v.changeable(); errno != 0 {
		return errno
	}
	if _, ok := f.n.xattrs[attr]; !ok {
		return syscall.ENODATA
	}
	delete(f.n.xattrs, attr)
	f.v.touch()
	return 0
}

// Listxattr never lists the attributes of LTFS itself.
func (f *fsNode) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	var names []string
	for name := range f.n.xattrs {
		names = append(names, name)
	}
	sort.Strings(names)
	var list []byte
	for _, name := range names {
		list = append(append(list, name...), 0)
	}
	if len(dest) < len(list) {
		return uint32(len(list)), syscall.ERANGE
	}
	return uint32(copy(dest, list)), 0
}
