package manifest

import (
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/changer"
)

// Lost reports whether an error of reading a manifest or snapshot is the file's own: it is not there as it was written.
func Lost(v *changer.Volume, err error) bool {
	return Unproved(err) && !volume.VolumeGone(v, err) || volume.Damaged(v, "", 0, err) != nil
}
