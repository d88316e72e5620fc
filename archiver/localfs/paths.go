package localfs

import "strings"

// ProperPath: relative, clean, and without a NUL.
func ProperPath(p string) bool {
	if p == "" || len(p) > maxPath || strings.IndexByte(p, 0) >= 0 {
		return false
	}
	for c := range strings.SplitSeq(p, "/") {
		if c == "" || c == "." || c == ".." {
			return false
		}
	}
	return true
}

// SplitPath cuts a path before its last name; the directory of a name at the top is "".
func SplitPath(p string) (dir, name string) {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '/' {
			return p[:i], p[i+1:]
		}
	}
	return "", p
}

// JoinPath puts a name below a directory.
func JoinPath(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// maxPath is more than any path rsync carries (its own limit is 4096 bytes).
const maxPath = 1 << 14
