package archiver

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/archiver/job"
)

// What had vanished before is not counted as known, nor as lost once more.
func TestVanishedFilesDoNotCountTwice(t *testing.T) {
	f := newFront(t, 1<<30)
	dir := t.TempDir()
	src := job.Source{Name: "media", URL: dir}
	for i := range 100 {
		touch(t, fmt.Sprintf("%s/d/%02d", dir, i), "x", 1000, 1)
	}
	f.bring(t, src)
	remove := func(from, to int) {
		for i := from; i < to; i++ {
			ok(t, os.Remove(fmt.Sprintf("%s/d/%02d", dir, i)))
		}
	}
	remove(0, 10)
	if st := f.bring(t, src); st.Vanished != 10 || st.Unmarked != 0 {
		t.Errorf("a tenth: %+v", st)
	}
	remove(10, 20) // 10 of 90
	st := f.bring(t, src)
	if st.Vanished != 0 || st.Unmarked != 10 {
		t.Errorf("more than a tenth of what is left: %+v", st)
	}
	report, err := f.env.DB.RunReport(t.Context(), f.run.ID)
	ok(t, err)
	if n := len(report.Errors); n != 1 || !strings.Contains(report.Errors[0].Message, "10 of 90 files") {
		t.Errorf("errors: %+v", report.Errors)
	}
	for i := range 5 { // half of them are back, and some that had vanished
		touch(t, fmt.Sprintf("%s/d/%02d", dir, i), "x", 1000, 1)
		touch(t, fmt.Sprintf("%s/d/%02d", dir, i+10), "x", 1000, 1)
	}
	if st := f.bring(t, src); st.Revived != 5 || st.Vanished != 5 || st.Unmarked != 0 || st.New+st.Changed != 0 {
		t.Errorf("some back: %+v", st)
	}
}
