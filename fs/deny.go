package fs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"

	"tapefs/catalog"
)

// denied tells whether a caller may not open what would have to come from tape: indexers and
// thumbnailers would call for the whole archive.
func (f *face) denied(c *fuse.Caller) bool {
	if slices.Contains(f.o.DenyUIDs, c.Uid) {
		return true
	}
	if len(f.o.Deny) == 0 || c.Pid == 0 { // 0: the kernel itself, or another PID namespace
		return false
	}
	for _, name := range programNames(c.Pid) {
		for _, pattern := range f.o.Deny {
			if ok, err := path.Match(pattern, name); ok && err == nil {
				f.log.Info("denied a recall", "program", name, "pid", c.Pid, "uid", c.Uid)
				return true
			}
		}
	}
	return false
}

// cached tells whether all bytes of a version are in the cache, also if none was checked yet.
func (f *face) cached(id catalog.ID) bool {
	v, err := f.db.Get(context.Background(), id)
	return err == nil && f.content.CachedBytes(id) >= v.Size
}

// programNames are the names of a thread's program: of its file, and as the process calls itself (15
// bytes of it).
func programNames(thread uint32) []string {
	var names []string
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", thread)); err == nil {
		names = append(names, path.Base(strings.TrimSuffix(exe, " (deleted)")))
	}
	// The kernel names the thread; the process has the name people know.
	process := thread
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread)); err == nil {
		for line := range bytes.Lines(status) {
			if id, ok := bytes.CutPrefix(line, []byte("Tgid:")); ok {
				if n, err := strconv.ParseUint(string(bytes.TrimSpace(id)), 10, 32); err == nil {
					process = uint32(n)
				}
				break
			}
		}
	}
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", process)); err == nil {
		names = append(names, strings.TrimSuffix(string(comm), "\n"))
	}
	return names
}
