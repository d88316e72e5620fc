package inventory

import (
	"fmt"

	"github.com/tapefs/tapefs/catalog"
)

// ltfsBlock is the block size of the volumes that mkltfs makes unless it is told otherwise, bytes (mkltfs(8), --blocksize).
const ltfsBlock = 512 << 10

// Piece is what one part of an object holds of a file, sealed.
type Piece struct {
	File    string `json:"file"`            // on the tape
	Block   *int64 `json:"block,omitempty"` // on the data partition where the piece begins; absent: not known
	Bytes   int64  `json:"bytes"`
	Damaged bool   `json:"damaged,omitempty"`
}

// PieceIn is what a part holds of size bytes at an offset of the sealed object. partSize is how many bytes each of the object's parts
// has but the last one.
func PieceIn(p *catalog.CopyPart, partSize, at, size int64) (Piece, bool) {
	start := int64(p.Number) * partSize
	from, to := max(at, start), min(at+size, start+p.Size)
	if from > to || from == to && (size > 0 || at >= start+p.Size) {
		return Piece{}, false
	}
	piece := Piece{File: p.Name, Bytes: to - from, Damaged: p.State == catalog.PartDamaged}
	if p.StartBlock >= 0 {
		block := p.StartBlock + (from-start)/ltfsBlock
		piece.Block = &block
	}
	return piece, true
}

// CopyStateName is the word for a copy's state.
func CopyStateName(s catalog.CopyState) string {
	return nameOf(int(s), "owed", "writing", "written", "durable", "damaged", "dropped")
}

// PartStateName is the word for the state of a copy's part.
func PartStateName(s catalog.PartState) string {
	return nameOf(int(s), "writing", "written", "durable", "abandoned", "damaged", "lost")
}

// VersionStateName is the word for a version's state.
func VersionStateName(s catalog.VersionState) string {
	return nameOf(int(s), "planned", "present", "void", "forgotten")
}

func nameOf(i int, names ...string) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("state %d", i)
	}
	return names[i]
}
