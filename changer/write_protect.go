package changer

import (
	"context"
	"fmt"
)

// writeProtectedHint is what a person can do about a write-protected tape.
const writeProtectedHint = "move the write-protect tab of the cartridge, or take another tape"

// WriteProtected returns ErrWriteProtected when the drive says that the tape in it is, and nil when it is not or when that cannot be told. It is
// asked while the volume is mounted, when mt status still answers: LTFS mounts a full tape and a write-protected one alike.
func (le *Lease) WriteProtected(ctx context.Context) error {
	st, err := le.l.mtStatus(ctx, le.d)
	if err != nil {
		le.l.log.Debug("ask whether a tape is write-protected", "drive", le.d.Serial, "err", err)
		return nil
	}
	if !st.WriteProtected {
		return nil
	}
	return fail("write to the tape in drive "+le.d.Serial, fmt.Errorf("%w: it takes more once its tab was moved", ErrWriteProtected), writeProtectedHint)
}
