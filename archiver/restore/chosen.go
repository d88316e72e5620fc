package restore

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// chosen says which entries below a directory are wanted: those that match one of the patterns, or those of a list.
type chosen struct {
	patterns []pathPattern
	list     []string // paths relative to the directory, in byte order
	met      []bool   // of the list: what was found
}

// pathPattern is a pattern relative to a directory, cut at its slashes.
type pathPattern struct {
	text  string // as it was given
	parts []string
	met   bool
}

// verdict is what is wanted of one entry.
type verdict int

const (
	nothing verdict = iota
	inside          // something that lies below it may be
	whole           // with all below it
)

// CheckPatterns returns an error that names a pattern which path.Match cannot read.
func CheckPatterns(patterns []string) error {
	for _, p := range patterns {
		for part := range strings.SplitSeq(p, "/") {
			if _, err := path.Match(part, ""); err != nil {
				return fmt.Errorf("pattern %q: %w", p, err)
			}
		}
	}
	return nil
}

// splitPattern cuts a clean path before its first part with a wildcard.
func splitPattern(clean string) (dir string, some *chosen) {
	parts := strings.Split(strings.TrimPrefix(clean, "/"), "/")
	n := slices.IndexFunc(parts, func(part string) bool { return strings.ContainsAny(part, `*?[`) })
	return "/" + strings.Join(parts[:n], "/"), &chosen{patterns: []pathPattern{{text: clean, parts: parts[n:]}}}
}

// listed chooses paths by name.
func listed(paths []string) *chosen {
	c := &chosen{list: make([]string, 0, len(paths))}
	for _, p := range paths {
		c.list = append(c.list, strings.TrimPrefix(path.Clean("/"+p), "/"))
	}
	slices.Sort(c.list)
	c.list = slices.Compact(c.list)
	c.met = make([]bool, len(c.list))
	return c
}

// of judges an entry by its path relative to the directory.
func (c *chosen) of(rel string) verdict {
	best := nothing
	if len(c.list) > 0 {
		if n, ok := slices.BinarySearch(c.list, rel); ok {
			c.met[n] = true
			return whole
		}
		if n, _ := slices.BinarySearch(c.list, rel+"/"); n < len(c.list) && strings.HasPrefix(c.list[n], rel+"/") {
			best = inside
		}
		return best
	}
	name := strings.Split(rel, "/")
	for i := range c.patterns {
		v := matchParts(c.patterns[i].parts, name)
		c.patterns[i].met = c.patterns[i].met || v == whole
		best = max(best, v)
	}
	return best
}

// all reports whether the directory itself is on the list.
func (c *chosen) all() bool { return len(c.list) > 0 && c.list[0] == "" }

// unmet names what was asked for and is not in the archive.
func (c *chosen) unmet() (paths []string) {
	for i, p := range c.list {
		if !c.met[i] && p != "" {
			paths = append(paths, p)
		}
	}
	for _, p := range c.patterns {
		if !p.met {
			paths = append(paths, p.text)
		}
	}
	return paths
}

// matchParts holds a path against a pattern part by part. ** stands for any number of parts.
func matchParts(pattern, name []string) verdict {
	switch {
	case len(pattern) == 0:
		return whole // it, or what it lies in, matches
	case len(name) == 0:
		return inside
	case pattern[0] == "**":
		return max(inside, matchParts(pattern[1:], name), matchParts(pattern, name[1:]))
	}
	if ok, err := path.Match(pattern[0], name[0]); err != nil || !ok {
		return nothing
	}
	return matchParts(pattern[1:], name[1:])
}

// Matches reports whether a path of the archive matches one of these patterns: one without a slash is held against the last part of the
// path, another against the path and what it lies in.
func Matches(patterns []string, full string) bool {
	for _, p := range patterns {
		if !strings.Contains(p, "/") {
			if ok, err := path.Match(p, path.Base(full)); err == nil && ok {
				return true
			}
			continue
		}
		if matchParts(strings.Split(strings.Trim(p, "/"), "/"), strings.Split(strings.TrimPrefix(full, "/"), "/")) == whole {
			return true
		}
	}
	return false
}
