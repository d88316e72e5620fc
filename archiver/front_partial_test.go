package archiver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapefs/tapefs/archiver/pack/packtest"
)

// A file that was cut off half-way is not sent from its beginning again, whether rsync was stopped in order, lost its
// connection, or was killed with all that runs beside it.
func TestHalfFetchedFileGoesOn(t *testing.T) {
	const size = 24 << 20
	for _, cut := range []struct {
		name, file string
		end        func(cancel func(), group int) error
	}{
		{"stopped", "d/big", func(cancel func(), _ int) error { cancel(); return nil }},
		{"killed", "d/big", func(_ func(), group int) error { return syscall.Kill(-group, syscall.SIGKILL) }},
		{"killed, a hidden file", "d/.big", func(_ func(), group int) error { return syscall.Kill(-group, syscall.SIGKILL) }},
	} {
		t.Run(cut.name, func(t *testing.T) {
			f := newFront(t, 1<<30)
			tree := filepath.Join(t.TempDir(), "tree")
			touch(t, tree+"/d/aaa", "content", 1000, 7)
			ok(t, os.WriteFile(filepath.Join(tree, cut.file), packtest.Random(9, size), 0o644))
			// It looks like what rsync calls a file that it has not whole, and is one of the source's own.
			touch(t, tree+"/d/.aaa.Xy12zw", "like a temporary one", 1000, 7)
			s := startSSHD(t, "")
			src := Source{Name: "media", URL: s.URL(tree), SSH: s.Args, Bandwidth: 8 << 20}
			_, batches := f.plan(t, src, Options{})
			side := t.TempDir()
			f.wrapped(t, `echo $$ >`+side+`/group; exec "$REAL" "$@"`)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var had int64
			watched := make(chan error, 1)
			go func() {
				watched <- func() error {
					dir, name := filepath.Split(filepath.Join(f.env.Config.SpoolDir, batches[0].Dir, cut.file))
					if name[0] != '.' {
						name = "." + name
					}
					for ctx.Err() == nil {
						found, err := filepath.Glob(dir + name + ".??????")
						if err != nil {
							return err
						}
						if len(found) == 1 {
							if info, err := os.Stat(found[0]); err == nil && info.Size() >= size/4 {
								had = info.Size()
								text, err := os.ReadFile(side + "/group")
								if err != nil {
									return err
								}
								group, err := strconv.Atoi(string(text[:len(text)-1]))
								if err != nil {
									return err
								}
								return cut.end(cancel, group)
							}
						}
						time.Sleep(5 * time.Millisecond)
					}
					return errors.New("it came whole before it could be cut off")
				}()
			}()
			if err := f.spool.FetchBatch(ctx, f.run, src, batches[0]); err == nil {
				t.Fatal("a fetch that was cut off ended well")
			}
			ok(t, <-watched)

			src.Bandwidth = 0
			f.wrapped(t, `"$REAL" --stats "$@" >`+side+`/said; code=$?; cat `+side+`/said; case " $* " in *" --partial-dir="*) mv `+side+`/said `+side+`/fetched;; esac; exit $code`)
			ok(t, f.spool.FetchBatch(t.Context(), f.run, src, batches[0]))
			want := onDisk(t, tree)
			if d := cmp.Diff(want, f.shown(t, "media")); d != "" {
				t.Errorf("the catalog differs: %s", d)
			}
			open := func(p string) (*os.File, error) { return os.Open(filepath.Join(tree, p)) }
			sums := contents(t, tree, files(want), open)
			have := contents(t, tree, files(want), func(p string) (*os.File, error) { return f.spool.OpenMember(batches[0], p) })
			if d := cmp.Diff(sums, have); d != "" {
				t.Errorf("the bytes differ: %s", d)
			}
			said, err := os.ReadFile(side + "/fetched")
			ok(t, err)
			m := regexp.MustCompile(`Literal data: ([0-9,]+) bytes`).FindSubmatch(said)
			if m == nil {
				t.Fatalf("rsync said:\n%s", said)
			}
			literal, err := strconv.ParseInt(string(regexp.MustCompile(`,`).ReplaceAll(m[1], nil)), 10, 64)
			ok(t, err)
			const block = 128 << 10 // the largest piece that rsync compares
			if limit := size - had + block + 100; literal > limit {
				t.Errorf("%d bytes were there, and %d came again, want at most %d", had, literal, limit)
			}
			if left, err := filepath.Glob(filepath.Join(f.env.Config.SpoolDir, batches[0].Dir, "d", ".big*.??????")); err != nil || len(left) > 0 {
				t.Errorf("left in the spool: %v, %v", left, err)
			}
			t.Logf("%d bytes were there, %d came", had, literal)
		})
	}
}
