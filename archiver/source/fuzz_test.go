package source

import (
	"strings"
	"testing"
)

// FuzzComplaints: the messages of a server's rsync name files of that source or none, and are never longer than what was said.
func FuzzComplaints(f *testing.F) {
	for _, line := range []string{
		`rsync: [sender] send_files failed to open "/src/x": Permission denied (13)`,
		`rsync: [sender] opendir "/src/d" failed: Permission denied (13)`,
		`file has vanished: "/src/x" (in module)`,
		`file has vanished: "/src/\#012\#377" (in module)`,
		`rsync: "x" "y`, `"`, `"" `, `rsync error: some files could not be transferred`,
	} {
		f.Add(line, "host:/src")
		f.Add(line, "rsync://host/module/src")
		f.Add(line, "/src")
		f.Add(line, "host:relative")
	}
	f.Fuzz(func(t *testing.T, line, url string) {
		at, err := ParseAddress(url)
		if err != nil {
			return
		}
		for _, c := range Complaints(at, []string{line}) {
			if len(c.Path)+len(c.Text) > len(line) {
				t.Fatalf("%q of %q is %q and %q", line, url, c.Path, c.Text)
			}
		}
		for _, text := range []string{at.Listed(), at.machine(), at.daemon()} {
			if strings.ContainsRune(text, 0) {
				t.Fatalf("%q is %q", url, text)
			}
		}
		if operand, _ := at.Fetched(); strings.HasPrefix(operand, "-") {
			t.Fatalf("%q is an option: %q", url, operand)
		}
	})
}
