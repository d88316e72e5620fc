package spool

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/blocksums"
)

const (
	defaultDedupMin = 64 << 20 // below that the headers and seeks of tape count for more than what is saved
	leastDedup      = 1 << 20  // the catalog finds no smaller file by its content
)

// sameContent sums what came of a batch, so that what goes to tape can be held against it, and finds the large files whose content is
// on its way to tape already, or there.
type sameContent struct {
	fetcher
	run    catalog.Run
	src    job.Source
	batch  catalog.Batch
	tree   *localfs.Tree
	work   *batchWork
	files  []catalog.Fetched
	counts map[string]int64 // takes how many were summed for the sake of others

	least  int64 // smaller files share nothing, bytes
	pools  []int64
	sizes  map[int64]int       // how many large files have a size
	linked map[catalog.ID]bool // hard-linked names stay together
	tried  map[int]bool        // those that were summed, or could not be
}

func (s fetcher) sameContent(ctx context.Context, run catalog.Run, src job.Source, b catalog.Batch, t *localfs.Tree, w *batchWork, files []catalog.Fetched, counts map[string]int64) (*sameContent, error) {
	c := &sameContent{fetcher: s, run: run, src: src, batch: b, tree: t, work: w, files: files, counts: counts, least: src.DedupMin,
		sizes: map[int64]int{}, linked: map[catalog.ID]bool{}, tried: map[int]bool{}}
	if c.least <= 0 {
		c.least = defaultDedupMin
	}
	c.least = max(c.least, leastDedup)
	for i := range files {
		if f := &files[i]; !f.Gone && w.files[i].Kind == catalog.File && f.Size >= c.least {
			c.sizes[f.Size]++
			if f.Nlink > 1 {
				c.linked[f.Version] = true
			}
		}
	}
	for _, name := range src.Copies {
		p, err := s.env.DB.EnsurePool(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("pool %s: %w", name, err)
		}
		c.pools = append(c.pools, p.ID)
	}
	return c, nil
}

// shares reports whether a file may share its bytes with others.
func (c *sameContent) shares(f *catalog.Fetched) bool {
	return f.Size >= c.least && !c.linked[f.Version]
}

// has reports whether there are bytes of its own to be summed in a file.
func (c *sameContent) has(i int) bool {
	f := &c.files[i]
	return !f.Gone && f.Same == 0 && c.work.files[i].Kind == catalog.File && f.Size > 0 && (f.Inode == 0 || f.Inode == f.Version)
}

// sum sums what was not tried yet: all that came into the spool, and of local files those of whose size another one is known. A spooled
// file that cannot be read counts as gone.
func (c *sameContent) sum(ctx context.Context) error {
	for i := range c.files {
		f := &c.files[i]
		if !c.has(i) {
			continue
		}
		share := c.shares(f)
		if c.batch.Local && !share {
			continue
		}
		if share {
			others, err := c.sumOthers(ctx, f.Size, c.counts)
			if err != nil {
				return err
			}
			if c.batch.Local && c.sizes[f.Size] < 2 && !others {
				continue
			}
		}
		if c.tried[i] {
			continue
		}
		c.tried[i] = true
		if err := c.sumOne(ctx, i, share); err != nil {
			return err
		}
	}
	return nil
}

func (c *sameContent) sumOne(ctx context.Context, i int, share bool) error {
	f, path := &c.files[i], c.work.files[i].path
	counts := c.counts
	if !share {
		counts = map[string]int64{}
	}
	c.env.Activity.Set(fmt.Sprintf("summing %s", path))
	in, err := c.tree.OpenFile(path)
	var sum [sha256.Size]byte
	if err == nil {
		sum, err = c.sumFetched(ctx, c.batch, in, f, counts)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !c.batch.Local:
		return c.unreadableSpool(ctx, c.run, c.src, c.batch, c.work, c.files, i, c.counts, err)
	case err != nil:
		c.env.Log.Info("a file could not be summed; it is archived as it is", "source", c.src.Name, "path", path, "err", err)
	default:
		f.SHA256 = sum[:]
	}
	return nil
}

// outdated reports whether another batch brought files of the same size meanwhile that would have to be summed, here or there.
func (c *sameContent) outdated(ctx context.Context) (bool, error) {
	for i := range c.files {
		f := &c.files[i]
		if !c.has(i) || !c.shares(f) {
			continue
		}
		unsummed, err := c.env.DB.Unsummed(ctx, f.Size)
		if err != nil || len(unsummed) > 0 {
			return err == nil, err
		}
		if c.tried[i] {
			continue
		}
		if summed, err := c.env.DB.SameSize(ctx, f.Size); err != nil || summed {
			return err == nil, err
		}
	}
	return false, nil
}

// link finds the files whose content others have.
func (c *sameContent) link(ctx context.Context) error {
	here := map[[sha256.Size]byte]catalog.ID{} // of this batch
	for i := range c.files {
		f := &c.files[i]
		if len(f.SHA256) == 0 || !c.has(i) || !c.shares(f) {
			continue
		}
		sum := [sha256.Size]byte(f.SHA256)
		var err error
		if f.Twin, err = c.env.DB.SameContent(ctx, f.Size, sum[:], c.pools); err != nil {
			return err
		}
		if f.Twin == 0 {
			f.Twin = here[sum]
		}
		if f.Twin == f.Version {
			f.Twin = 0
		}
		if f.Twin == 0 {
			here[sum] = f.Version
		}
	}
	return nil
}

// sumRounds is how often a batch is held anew against what other batches bring meanwhile. What is missed is written twice.
const sumRounds = 3

// settle sums the batch, finds what it shares, and calls record, one batch after the other: of two that come at the same time the second
// one finds what the first one has.
func (c *sameContent) settle(ctx context.Context, record func() error) error {
	for round := 1; ; round++ {
		if err := c.sum(ctx); err != nil {
			return fmt.Errorf("look for the same content: %w", err)
		}
		again, err := c.tryRecord(ctx, round == sumRounds, record)
		if err != nil || !again {
			return err
		}
	}
}

// tryRecord records the batch unless it is outdated, or with last in any case; true: it was not recorded.
func (c *sameContent) tryRecord(ctx context.Context, last bool, record func() error) (again bool, err error) {
	c.sharing.Lock()
	defer c.sharing.Unlock()
	if !last {
		if again, err = c.outdated(ctx); err != nil || again {
			return again, err
		}
	}
	if err := c.link(ctx); err != nil {
		return false, fmt.Errorf("look for the same content: %w", err)
	}
	return false, record()
}

// unreadableSpool gives up a file that was fetched and cannot be read back from the spool, with its further hard-linked names, so that
// a later run fetches it again. Its spool copy goes: rsync would believe it.
func (s fetcher) unreadableSpool(ctx context.Context, run catalog.Run, src job.Source, b catalog.Batch, w *batchWork, files []catalog.Fetched, i int, counts map[string]int64, why error) error {
	dir, err := s.BatchRoot(b)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the spool: %w", err)
	}
	defer root.Close()
	first := files[i].Version
	for k := range files {
		f := &files[k]
		if f.Version != first && f.Inode != first || f.Gone {
			continue
		}
		if err := root.RemoveAll(w.files[k].path); err != nil {
			return fmt.Errorf("remove a damaged file from the spool: %w", err)
		}
		*f = catalog.Fetched{Version: f.Version, Gone: true}
		counts["fetched"]--
		counts["gone"]++
		if err := s.env.RunError(ctx, run.ID, src.Name, w.files[k].path, fmt.Sprintf("not fetched: it cannot be read back from the spool: %s", localfs.ShortError(why))); err != nil {
			return err
		}
	}
	return nil
}

// sumOthers tells whether the content of a file of this size is known. Those on their way to tape are summed now.
func (s fetcher) sumOthers(ctx context.Context, size int64, counts map[string]int64) (bool, error) {
	waiting, err := s.env.DB.Unsummed(ctx, size)
	if err != nil {
		return false, err
	}
	for i := range waiting {
		v := &waiting[i]
		loc, err := s.env.DB.Locate(ctx, v.ID)
		if err != nil {
			return false, err
		}
		if loc.Batch == nil {
			continue
		}
		in, err := s.OpenMember(*loc.Batch, loc.Path)
		var sum [sha256.Size]byte
		if err == nil {
			sum, err = pack.Sum(ctx, in, v.Size, v.MTime, counts, io.Discard)
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil {
			continue // packing will say what is wrong with it
		}
		if err := s.env.DB.SetSum(ctx, v.ID, sum[:]); err != nil {
			return false, err
		}
	}
	return s.env.DB.SameSize(ctx, size)
}

// sumFetched sums a file of a batch and closes it. Of a large one in the spool it keeps the sums of its blocks, by which the mount can tell
// whether the few bytes that somebody reads are still those that were fetched.
func (s fetcher) sumFetched(ctx context.Context, b catalog.Batch, in *os.File, f *catalog.Fetched, counts map[string]int64) (sum [sha256.Size]byte, err error) {
	if b.Local || f.Size < blocksums.Least {
		return pack.Sum(ctx, in, f.Size, f.MTime, counts, io.Discard)
	}
	name := s.SumsName(b.Dir, f.Version)
	sums, err := blocksums.Create(name)
	if err != nil { // whoever reads the file makes them
		s.env.Log.Warn("make the block sums of a fetched file", "version", f.Version, "err", err)
		return pack.Sum(ctx, in, f.Size, f.MTime, counts, io.Discard)
	}
	again, openErr := os.OpenFile(localfs.ProcName(in), os.O_RDWR, 0)
	if openErr == nil {
		defer again.Close()
	}
	if sum, err = pack.Sum(ctx, in, f.Size, f.MTime, counts, sums); err != nil {
		sums.Drop()
		return sum, err
	}
	zeros := sums.Zeros()
	if err = sums.Commit(sum[:]); err == nil && openErr == nil {
		err = localfs.Punch(ctx, again, name, f.Size, sum[:], zeros)
	}
	if err != nil {
		s.env.Log.Warn("block sums and holes of a fetched file", "version", f.Version, "err", err)
	}
	return sum, nil
}

// dropLinked drops the objects that lost all their files to others of the same content.
func (s fetcher) dropLinked(ctx context.Context, w *batchWork, files []catalog.Fetched) (n int64, bytes int64, err error) {
	seen := map[int64]bool{}
	for i := range files {
		f := &files[i]
		if f.Twin == 0 || f.Same != 0 || f.Gone {
			continue
		}
		v, err := s.env.DB.Get(ctx, f.Version)
		if err != nil {
			return n, bytes, err
		}
		if v.Data == v.ID {
			continue // the other one could not give its bytes any more
		}
		n++
		bytes += f.Size
		if o := w.files[i].object; !seen[o] {
			seen[o] = true
			if err := s.env.DB.DropLinked(ctx, o); err != nil {
				return n, bytes, err
			}
		}
	}
	return n, bytes, nil
}
