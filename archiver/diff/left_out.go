package diff

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// leftOutPage is how many missing files one rsync is asked for.
const leftOutPage = 20000

// absent is a path that the catalog shows and the listing did not have.
type absent struct {
	id   catalog.ID
	file bool // or symlink
	path string
}

// addAbsent keeps a path until all is listed. What has filters needs the path, to ask for it.
func (c *comparison) addAbsent(v *catalog.Version, path string) error {
	key := binary.BigEndian.AppendUint64(nil, uint64(v.ID))
	if !c.stats.Filtered {
		return c.gone.Add(key, nil)
	}
	kind := byte(0)
	if v.Kind != catalog.Directory {
		kind = 1
	}
	return c.gone.Add(key, append([]byte{kind}, path...))
}

// sparesLeftOut takes those out of what is missing that the source still has: its filters leave them out since they
// were archived, or what is mounted there is not looked at any more. They have not vanished.
func (c *comparison) sparesLeftOut(ctx context.Context) error {
	if !c.stats.Filtered {
		return nil
	}
	if err := c.gone.Sort(); err != nil {
		return err
	}
	all := c.gone
	c.gone = &extsort.Sorter{Dir: all.Dir, Limit: all.Limit}
	var page []absent
	sift := func() error {
		there, err := c.stillThere(ctx, page)
		if err != nil {
			return fmt.Errorf("look for what the filters of source %s leave out: %w", c.in.Src.Name, err)
		}
		for _, v := range page {
			switch {
			case !there[v.path]:
				if err := c.gone.Add(binary.BigEndian.AppendUint64(nil, uint64(v.id)), nil); err != nil {
					return err
				}
			case v.file:
				c.stats.Excluded++
				c.stats.Missing--
				c.known--
			}
		}
		page = page[:0]
		return nil
	}
	for {
		key, val, more, err := all.Next()
		if err != nil {
			return err
		}
		if more {
			page = append(page, absent{catalog.ID(binary.BigEndian.Uint64(key)), val[0] == 1, string(val[1:])})
		}
		if len(page) == leftOutPage || !more && len(page) > 0 {
			if err := sift(); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// stillThere tells which paths the source has, whatever its filters say.
func (c *comparison) stillThere(ctx context.Context, page []absent) (map[string]bool, error) {
	there := map[string]bool{}
	if c.in.Tree != nil {
		for _, v := range page {
			_, err := c.in.Tree.Lstat(v.path)
			there[v.path] = err == nil
		}
		return there, nil
	}
	operand, prefix := c.in.At.Fetched()
	var list bytes.Buffer
	for _, v := range page {
		list.WriteString(prefix + v.path + "\x00")
	}
	args := func(secluded bool) []string {
		args := []string{"-ldn", "--no-implied-dirs", "--ignore-missing-args", "--out-format=%n", "--from0", "--files-from=-"}
		args = append(args, c.in.At.RemoteOptions(c.in.Src, c.env.Config.SSH, secluded)...)
		return append(args, "--", operand, filepath.Join(c.gone.Dir, "nothing")+"/")
	}
	r, err := source.Reach(ctx, c.env, c.in.Src, c.in.At, args, list.Bytes(), func(line []byte) error {
		there[strings.TrimSuffix(string(source.Unescape(line)), "/")] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	if r.Exit != 0 && !r.Partial() {
		return nil, r.Err()
	}
	return there, nil
}
