package localfs

import (
	"errors"
	"io/fs"
	"strings"
)

// ShortError is an error without the name of the file it is about.
func ShortError(err error) string {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err.Error()
	}
	return strings.TrimSpace(err.Error())
}
