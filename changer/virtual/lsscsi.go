package virtual

import (
	"fmt"
	"io"
	"path/filepath"
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
	for i, d := range l.Drives {
		line(i+1, "tape", d.kind.Vendor, d.kind.Product, d.kind.Revision, fmt.Sprintf("st%d", i), fmt.Sprintf("sg%d", i+1))
	}
	return 0
}

func (l *Library) node(name string) string { return filepath.Join(l.Dir, "dev", name) }
