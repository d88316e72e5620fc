package virtual

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// runLsscsi lists the changer and its drives: -g with sg nodes, -i with a column for identifiers.
func runLsscsi(l *Library, args []string, stdout, _ io.Writer) int {
	flags := strings.Join(args, "")
	line := func(target int, kind, vendor, product, revision, node, sg string) {
		fmt.Fprintf(stdout, "[2:0:%d:0]    %-7s %-8s %-16s %-5s %-10s", target, kind, vendor, product, revision, l.node(node))
		if strings.Contains(flags, "i") {
			fmt.Fprint(stdout, " - ")
		}
		if strings.Contains(flags, "g") {
			fmt.Fprintf(stdout, " %s ", l.node(sg))
		}
		fmt.Fprintln(stdout)
	}
	line(0, "mediumx", vendor, changerProduct, changerRevision, "sch0", "sg0")
	byNode := make([]Drive, len(l.Drives))
	copy(byNode, l.Drives)
	slices.SortFunc(byNode, func(a, b Drive) int {
		return cmp.Or(cmp.Compare(len(a.Device), len(b.Device)), strings.Compare(a.Device, b.Device))
	})
	for i, d := range byNode {
		if !exists(d.Device) {
			continue // switched off
		}
		line(i+1, "tape", d.kind.Vendor, d.kind.Product, d.kind.Revision, strings.TrimPrefix(filepath.Base(d.Tape), "n"), filepath.Base(d.Device))
	}
	return 0
}

func (l *Library) node(name string) string { return filepath.Join(l.Dir, "dev", name) }
