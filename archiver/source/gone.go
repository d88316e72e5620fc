package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// awayErrors are what a file system says of all its files when the server, the disk or the process behind it is gone. EIO is
// none: it is also what one bad sector gives.
var awayErrors = []error{syscall.ENOTCONN, syscall.ESTALE, syscall.ENODEV, syscall.ENXIO, syscall.ENOMEDIUM, syscall.ESHUTDOWN, syscall.EREMOTEIO, syscall.ENOLINK,
	syscall.ETIMEDOUT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.ENETRESET, syscall.ECONNABORTED, syscall.ECONNRESET,
	syscall.ECONNREFUSED}

// Gone says why a source that is read in place cannot be read at all; nil if it is only the file that gave err. A source that does not
// answer within limit is gone, too.
func Gone(ctx context.Context, b catalog.Batch, limit time.Duration, err error) error {
	if !b.Local {
		return nil
	}
	var silent *StallError
	if errors.As(err, &silent) {
		return err
	}
	for _, away := range awayErrors {
		if errors.Is(err, away) {
			return err
		}
	}
	answer := make(chan bool, 1) // a late one is nobody's
	terr := Answered(ctx, limit, func() error {
		empty, err := topReadable(b.Dir)
		answer <- empty
		return err
	})
	if terr != nil {
		return terr
	}
	if empty := <-answer; empty && errors.Is(err, fs.ErrNotExist) { // most likely a place where nothing is mounted
		return fmt.Errorf("%s is empty", b.Dir)
	}
	return nil
}

// topReadable reads the beginning of a source's directory.
func topReadable(dir string) (empty bool, err error) {
	top, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer top.Close()
	if _, err = top.ReadDir(1); err == io.EOF {
		return true, nil
	}
	return false, err
}
