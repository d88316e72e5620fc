package manifest

import (
	"fmt"

	"github.com/tapefs/tapefs/catalog"
)

// sumsName is the list of sums that belongs to a manifest, at the root of the tape.
func sumsName(seq int) string { return fmt.Sprintf("SHA256SUMS-%d", seq) }

// sumsHead is the list's first line, which restore.sh reads.
func sumsHead(volume string, seq int) string {
	return fmt.Sprintf("# tapefs-sums 1 volume=%s seq=%d\n", volume, seq)
}

// object says how many parts an object has, once it is packed. Before, nobody knows.
func (s *scratch) object(o catalog.Object, fingerprint string) {
	if o.SealedSize <= 0 || o.PartSize <= 0 || o.State == catalog.ObjectPlanned {
		return
	}
	parts := (o.SealedSize + o.PartSize - 1) / o.PartSize
	s.printf("# object %s/%s.tar.enc parts=%d size=%d part_size=%d\n", keyFolder(fingerprint), o.OID, parts, o.SealedSize, o.PartSize)
}

// here is a line of sha256sum for a file on this tape.
func (s *scratch) here(sum []byte, name string) {
	if sum != nil {
		s.printf("%x  %s\n", sum, name)
	}
}

// elsewhere names a part of an object of this tape that lies on another one.
func (s *scratch) elsewhere(sum []byte, p catalog.CopyPart, t catalog.Tape) {
	if sum != nil {
		s.printf("# elsewhere %x  %s barcode=%s number=%d volume=%s\n", sum, p.Name, t.Barcode, t.Number, t.UUID)
	}
}

// superseded names an object that was never finished: its files were sealed anew, under another id.
func (s *scratch) superseded(fingerprint, oid string) {
	s.printf("# superseded %s/%s.tar.enc\n", keyFolder(fingerprint), oid)
}
