package fs

import (
	"encoding/binary"

	"github.com/tapefs/tapefs/catalog"
)

// dosAttributes is the extended attribute in which smbd looks for what Windows knows of a file beside its mode.
const dosAttributes = "user.DOSATTRIB"

// The attributes that a file on tape has for Windows. Offline keeps Explorer from opening it to draw a picture, and the person from wondering why
// it takes minutes.
const (
	dosArchive = 0x0020
	dosOffline = 0x1000
)

// dosVersion is the third layout of the attribute, which every Samba since 3.6 reads.
const dosVersion = 3

// dosBlob is the value of user.DOSATTRIB: an empty string, the version twice, which of the fields count, the attributes, and fields
// that do not count (sizes and times), all aligned to their size and little-endian.
func dosBlob(attributes uint32) []byte {
	const attributesCount = 1
	b := []byte{0, 0} // the empty string, and a byte to align what follows
	b = binary.LittleEndian.AppendUint16(b, dosVersion)
	b = binary.LittleEndian.AppendUint16(b, dosVersion)
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, attributesCount)
	b = binary.LittleEndian.AppendUint32(b, attributes)
	return append(b, make([]byte, 4+4*8)...) // size of attributes, size, allocated size, created, changed
}

// onTapeOnly reports whether opening a file would call it from tape. It asks neither the object's rows nor the library: smbd wants to
// know it of every file that it lists.
func (f *face) onTapeOnly(v *catalog.Version) bool {
	return v.Kind == catalog.File && v.Size > 0 && v.Batch == 0 && f.content.CachedBytes(v.Inode) < v.Size
}
