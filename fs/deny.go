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

	"github.com/tapefs/tapefs/catalog"
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
				f.sayDenied(name, c)
				return true
			}
		}
	}
	return false
}

// sayDenied logs a refusal: once for each program as something that somebody should know, since a program that meets one file
// meets them all.
func (f *face) sayDenied(program string, c *fuse.Caller) {
	if _, said := f.deniedSaid.LoadOrStore(program, true); said {
		f.log.Debug("denied a recall", "program", program, "pid", c.Pid, "uid", c.Uid)
		return
	}
	f.log.Warn("denied a recall; further ones of this program are not logged", "program", program, "pid", c.Pid, "uid", c.Uid)
}

// cached tells whether all bytes of a version are in the cache, also if none was checked yet.
func (f *face) cached(id catalog.ID) bool {
	v, err := f.db.Get(context.Background(), id)
	return err == nil && f.content.CachedBytes(id) >= v.Size
}

// programNames are the names of a thread's program: of its file, as the process calls itself (15 bytes of it), and of a worker that
// runs one of many plugins, such as kioworker, with the plugin's name behind a colon: kioworker:thumbnail. The same program copies
// files for people.
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
	if plugin := pluginOf(process); plugin != "" {
		for _, name := range names {
			names = append(names, name+":"+plugin)
		}
	}
	return names
}

// programName is the one by which people know a thread's program; "" where it is not known.
func programName(thread uint32) string {
	if names := programNames(thread); thread != 0 && len(names) > 0 {
		return names[0]
	}
	return ""
}

// pluginOf is the first argument of a process without its folder and without .so, "" where that is no plugin.
func pluginOf(process uint32) string {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", process))
	if err != nil {
		return ""
	}
	args := strings.SplitN(string(line), "\x00", 3)
	if len(args) < 2 {
		return ""
	}
	plugin, ok := strings.CutSuffix(path.Base(args[1]), ".so")
	if !ok {
		return ""
	}
	return plugin
}
