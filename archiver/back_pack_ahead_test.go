package archiver

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/catalog"
)

// While the drive takes one extent several more are read and sealed, through however many small files: when a file is
// slow to open the drive goes on with those.
func TestPackingReadsAhead(t *testing.T) {
	const files, size = 3000, 12 << 10 // about nine extents
	root := t.TempDir()
	for i := range files {
		ok(t, os.WriteFile(filepath.Join(root, fmt.Sprintf("%04d", i)), packtest.Random(byte(i), size), 0o644))
	}
	l, err := pack.NewLayout("src", members(t, root))
	ok(t, err)
	var opened atomic.Int64
	hold := make(chan struct{}) // a file that does not open for now
	const heldAt = files * 2 / 3
	p, err := pack.New(l, func(name string) (*os.File, error) {
		if opened.Add(1) == heldAt {
			<-hold
		}
		return os.Open(filepath.Join(root, name))
	}, true, packtest.Key(t), []byte("saltsalt"), 1<<40, nil)
	ok(t, err)
	defer p.Close()

	// The drive takes nothing until all that can be read ahead is.
	drive := &slowDrive{go1: make(chan struct{})}
	done := make(chan error, 1)
	go func() { _, err := p.WritePart(t.Context(), 0, drive); done <- err }()
	soon := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d files opened, %d extents written", what, opened.Load(), drive.extents.Load())
			}
		}
	}
	const perExtent = catalog.ExtentSize / (size + 512)
	soon("the drive is busy with the first extent", func() bool { return opened.Load() >= (pack.Buffers-1)*perExtent })
	if n := drive.extents.Load(); n != 0 {
		t.Fatalf("%d extents are written", n)
	}
	close(drive.go1)
	// Now a file holds the reader up, and what was read before it still goes to the drive.
	soon("a file is slow", func() bool { return opened.Load() == heldAt })
	soon("a file is slow", func() bool { return drive.extents.Load() == int64(heldAt/perExtent) })
	close(hold)
	ok(t, <-done)
	if want := (p.SealedSize() + catalog.ExtentSize - 1) / catalog.ExtentSize; drive.extents.Load() != want {
		t.Errorf("%d extents written, want %d", drive.extents.Load(), want)
	}
}

// slowDrive takes its first extent only when it is let.
type slowDrive struct {
	go1     chan struct{}
	extents atomic.Int64
}

func (d *slowDrive) Write(b []byte) (int, error) {
	<-d.go1
	d.extents.Add(1)
	return io.Discard.Write(b)
}
