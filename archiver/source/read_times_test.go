package source

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/archiver/extsort"
)

// What an old or a hostile rsync sends is an error, never a panic, and costs little.
func TestReadTimesRefuses(t *testing.T) {
	head := "\x00\x00\x00\x00\x20\x00\x00\x00\x80\xff\x00\x00\x00\x00" // protocol 32, flags as numbers, one list after the other
	for name, text := range map[string]string{
		"nothing":            "",
		"half a header":      head[:6],
		"no end":             head,
		"longer than before": head + "\x20\x09\x01a",
		"a huge name":        head + "\x40\xef\xff\xff\xff\xff",
		"a number too long":  head + "\x18\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"an index":           strings.Replace(head, "\x80\xff", "\x81\xff", 1) + "\x00\x00\x05",
	} {
		into := &extsort.Sorter{Dir: t.TempDir()}
		if err := readTimes(bufio.NewReader(strings.NewReader(text)), into); err == nil {
			t.Errorf("%s: no error", name)
		}
		into.Close()
	}
	for _, protocol := range []string{"\x1d", "\x1e"} {
		err := readTimes(bufio.NewReader(strings.NewReader(strings.Replace(head, "\x20", protocol, 1))), &extsort.Sorter{Dir: t.TempDir()})
		if !errors.Is(err, errSecondsOnly) {
			t.Errorf("protocol %q: %v", protocol, err)
		}
	}
}

func FuzzReadTimes(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x20\x00\x00\x00\x81\xff\x00\x00\x00\x00\x98\x20\x01a\x00\x00\x02\x00\x00\x00\x05\xa4\x81\x00\x00\x00\x00\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		into := &extsort.Sorter{Dir: t.TempDir()}
		defer into.Close()
		_ = readTimes(bufio.NewReader(bytes.NewReader(data)), into)
	})
}
