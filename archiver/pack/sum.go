package pack

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/tapefs/tapefs/catalog"
)

// Sum sums a file, counts that, and closes it; what is read goes to also, too. It must be what was looked at, before and after.
func Sum(ctx context.Context, in *os.File, size int64, mtime catalog.Time, counts map[string]int64, also io.Writer) (sum [sha256.Size]byte, err error) {
	defer in.Close()
	counts["summed"]++
	before, err := StateOf(in)
	if err != nil {
		return sum, err
	}
	if before.Size != size || !mtime.KeptAs(catalog.Time{Sec: before.Mtime.Sec, Nsec: int32(before.Mtime.Nsec)}) {
		return sum, errors.New("it changed")
	}
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for n := int64(0); n < size; {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		k, err := in.Read(buf)
		h.Write(buf[:k])
		if _, err := also.Write(buf[:k]); err != nil {
			return sum, err
		}
		counts["summed_bytes"] += int64(k)
		n += int64(k)
		if err != nil && (!errors.Is(err, io.EOF) || n < size) {
			return sum, err
		}
	}
	after, err := StateOf(in)
	if err == nil && after != before {
		err = errors.New("it changed while it was summed")
	}
	return [sha256.Size]byte(h.Sum(nil)), err
}
