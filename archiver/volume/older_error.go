package volume

import (
	"fmt"

	"github.com/tapefs/tapefs/changer"
)

// OlderError is ErrOlder for one tape, with what shows it and what to do.
func OlderError(barcode, format string, args ...any) error {
	return &changer.Error{Op: "write to tape " + barcode, Hint: OlderHint, Err: fmt.Errorf("%w: %s", ErrOlder, fmt.Sprintf(format, args...))}
}
