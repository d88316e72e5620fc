package changer

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCounters reads the recorded attributes of a fresh tape, and keeps them.
func TestCounters(t *testing.T) {
	text, err := os.ReadFile("../testdata/transcripts/getfattr-each-root.txt")
	if err != nil {
		t.Fatal(err)
	}
	attrs := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^user\.ltfs\.(\w+)="(.*)"$`).FindAllStringSubmatch(string(text), -1) {
		attrs[m[1]] = m[2]
	}
	want := Counters{Partitions: "I:a,D:b", DataCapacity: 1020 << 20, DataFree: 1015 << 20, IndexCapacity: 908 << 20, IndexFree: 906 << 20}
	got := countersOf(attrs)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	dir := t.TempDir()
	if _, err := ReadCounters(dir, "0552bbcd"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("never mounted: %v", err)
	}
	got.Alert, got.Loads = "0x0000000000000004", 7
	if err := got.note(dir, "0552bbcd"); err != nil {
		t.Fatal(err)
	}
	if again, err := ReadCounters(dir, "0552bbcd"); err != nil || again != got {
		t.Errorf("%+v, %v", again, err)
	}
	none := countersOf(map[string]string{"mediaLoads": "many", "mediaStorageAlert": "0x10", "mediaDataPartitionTotalCapacity": "-5"})
	if none.Loads != -1 || none.DataCapacity != -1 || none.PermanentReadErrors != -1 || none.Alert != "0x10" {
		t.Errorf("odd values: %+v", none)
	}
	if err := got.note(dir, "../x"); err == nil {
		t.Error("a UUID that leads elsewhere was taken")
	}
}
