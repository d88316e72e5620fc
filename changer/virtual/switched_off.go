package virtual

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// isSilent reports whether nobody answers behind the nodes of a drive.
func (l *Library) isSilent(drive int) bool {
	f, err := l.loadFaults()
	return err == nil && f.names("drive-silent", strconv.Itoa(drive))
}

// switchDrives takes away the nodes of drives that were switched off, with udev's links to them, and brings back those of drives that
// were switched on.
func (l *Library) switchDrives(before, now faults) error {
	for i, d := range l.Drives {
		was, is := before.names("drive-off", strconv.Itoa(i)), now.names("drive-off", strconv.Itoa(i))
		if was == is {
			continue
		}
		at := now.exchanged("exchanged-nodes", i)
		for _, node := range []string{fmt.Sprintf("sg%d", at+1), fmt.Sprintf("st%d", at), fmt.Sprintf("nst%d", at)} {
			if err := placeOrRemove(l.node(node), is, func(path string) error { return os.WriteFile(path, nil, 0o600) }); err != nil {
				return err
			}
		}
		for link, node := range map[string]string{"scsi-" + d.Serial: "st", "scsi-" + d.Serial + "-nst": "nst"} {
			to := fmt.Sprintf("../../%s%d", node, at)
			if err := placeOrRemove(filepath.Join(l.Dir, "dev/tape/by-id", link), is, func(path string) error { return os.Symlink(to, path) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func placeOrRemove(path string, remove bool, place func(string) error) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if remove {
		return nil
	}
	return place(path)
}
