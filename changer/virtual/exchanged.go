package virtual

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// drivePair reads DRIVE:DRIVE.
func drivePair(arg string) (a, b int, ok bool) {
	x, y, _ := strings.Cut(arg, ":")
	a, err := strconv.Atoi(x)
	if err != nil {
		return 0, 0, false
	}
	b, err = strconv.Atoi(y)
	return a, b, err == nil && a >= 0 && b >= 0
}

// exchanged is the drive that has a number while a fault exchanges pairs of them.
func (f faults) exchanged(kind string, n int) int {
	for _, arg := range f[kind] {
		switch a, b, _ := drivePair(arg); n {
		case a:
			n = b
		case b:
			n = a
		}
	}
	return n
}

// linkSerials makes the links that udev would: the serial of a drive leads to the nodes that it has now.
func (l *Library) linkSerials(f faults) error {
	for i, d := range l.Drives {
		at := f.exchanged("exchanged-nodes", i)
		if at >= len(l.Drives) {
			return fmt.Errorf("there is no drive %d", at)
		}
		for link, node := range map[string]string{"scsi-" + d.Serial: "st", "scsi-" + d.Serial + "-nst": "nst"} {
			path, to := filepath.Join(l.Dir, "dev/tape/by-id", link), fmt.Sprintf("../../%s%d", node, at)
			if was, err := os.Readlink(path); err != nil || was == to {
				continue // some tests take the links away
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err := os.Symlink(to, path); err != nil {
				return err
			}
		}
	}
	return nil
}
