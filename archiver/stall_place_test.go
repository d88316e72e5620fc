package archiver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// A file server that is gone may never answer a read. The source is given up; the object is written when it answers.
func TestHungFileIsGivenUp(t *testing.T) {
	root := t.TempDir()
	for _, n := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(root, n), bytes.Repeat([]byte(n), 6<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := pack.NewLayout("src", members(t, root))
	if err != nil {
		t.Fatal(err)
	}
	hang, over := make(chan struct{}), make(chan struct{})
	p, err := pack.New(l, func(p string) (*os.File, error) {
		if p == "b" {
			defer close(over)
			<-hang
		}
		return os.Open(filepath.Join(root, p))
	}, false, packtest.Key(t), []byte("12345678"), 1<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Answered = func(ctx context.Context, read func() error) error {
		return source.Answered(ctx, 300*time.Millisecond, read)
	}
	_, err = p.WritePart(t.Context(), 0, io.Discard)
	p.Close()
	close(hang)
	<-over
	var silent *source.StallError
	if !errors.As(err, &silent) || !errors.Is(err, pack.ErrUnreadable) {
		t.Fatalf("a read that hangs: %v", err)
	}
	if gone := source.Gone(t.Context(), catalog.Batch{Local: true, Dir: root}, time.Minute, err); gone == nil {
		t.Error("the source is not given up")
	}
}

func TestAnswered(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	var silent *source.StallError
	if err := source.Answered(t.Context(), time.Millisecond, func() error { <-never; return nil }); !errors.As(err, &silent) {
		t.Errorf("no answer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := source.Answered(ctx, time.Hour, func() error { <-never; return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
	if err := source.Answered(t.Context(), time.Hour, func() error { return io.EOF }); err != io.EOF {
		t.Errorf("an answer: %v", err)
	}
}
