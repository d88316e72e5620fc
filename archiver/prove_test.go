package archiver

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer/virtual"
)

// sumsOf are the sums of content's extents.
func sumsOf(content []byte) (sums []byte) {
	for rest := content; len(rest) > 0; rest = rest[min(len(rest), catalog.ExtentSize):] {
		s := sha256.Sum256(rest[:min(len(rest), catalog.ExtentSize)])
		sums = append(sums, s[:]...)
	}
	return sums
}

// One bit anywhere is noticed, in the first extent, in one between and in the last, which is shorter.
func TestCheckExtents(t *testing.T) {
	content := packtest.Random(1, 2*catalog.ExtentSize+1000)
	size, sums := int64(len(content)), sumsOf(content)
	if err := checkExtents(t.Context(), bytes.NewReader(content), size, sums); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, catalog.ExtentSize - 1, catalog.ExtentSize, 2 * catalog.ExtentSize, len(content) - 1} {
		wrong := bytes.Clone(content)
		wrong[at] ^= 1
		if err := checkExtents(t.Context(), bytes.NewReader(wrong), size, sums); err == nil {
			t.Errorf("a wrong bit at %d of %d is not noticed", at, size)
		}
	}
	if err := checkExtents(t.Context(), bytes.NewReader(content[:len(content)-1]), size, sums); err == nil {
		t.Error("a missing byte is not noticed")
	}
	if err := checkExtents(t.Context(), bytes.NewReader(content), size, sums[:len(sums)-sha256.Size]); err == nil {
		t.Error("a missing sum is not noticed")
	}
}

// Only an extent with its recorded sum goes to another tape.
func TestCopySealedComparesEachExtent(t *testing.T) {
	content := packtest.Random(2, 2*catalog.ExtentSize+1000)
	part := catalog.Part{Size: int64(len(content)), Sums: sumsOf(content)}
	var out bytes.Buffer
	if n, err := copySealed(bytes.NewReader(content), part, &out); err != nil || n != part.Size || !bytes.Equal(out.Bytes(), content) {
		t.Fatalf("copied %d bytes, %v", n, err)
	}
	for extent := range 3 {
		wrong := bytes.Clone(content)
		wrong[extent*catalog.ExtentSize+500] ^= 1
		out.Reset()
		n, err := copySealed(bytes.NewReader(wrong), part, &out)
		if !errors.Is(err, pack.ErrReseal) || n != int64(extent*catalog.ExtentSize) || int64(out.Len()) != n {
			t.Errorf("wrong in extent %d: %d bytes copied, %d said, %v", extent, out.Len(), n, err)
		}
	}
}

// A part of the right size and with other bytes, which a killed run left, is lost and written again.
func TestRecoveryReadsTheBytes(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.write("src/0", 0, 1<<20)
	w.archive()
	const block = 512 << 10
	next := w.durable()[0].StartBlock + 10 // behind the first part, its manifest and the index
	w.write("src/1", 1, 7<<20)
	w.close()
	w.must(w.vl.Fault(fmt.Sprintf("wrong-write=VT0001L8:%d", (next+4)*block)))
	if !w.killAt("sync", 1<<30) {
		t.Fatal("the failpoint was not reached")
	}
	w.must(w.vl.Fault("clear"))
	w.open(nil)
	w.archive()
	w.settled()
	lost := 0
	for id := int64(1); id < 20; id++ {
		parts, err := w.db.CopyParts(t.Context(), id)
		w.must(err)
		for _, p := range parts {
			if p.State == catalog.PartLost {
				lost++
			}
		}
	}
	if lost != 1 {
		t.Errorf("%d parts are lost, want the one with wrong bytes", lost)
	}
	w.restore("src", "a")
}

// An error that only close tells of makes nothing durable: the part is written whole elsewhere.
func TestCloseErrorIsHeard(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.open(onlyA)
	w.write("far/0", 0, 1<<20)
	w.archive()
	const block = 512 << 10
	next := w.durable()[0].StartBlock + 10
	w.must(w.vl.Fault(fmt.Sprintf("close-eio=VT0001L8:%d", (next+4)*block)))
	w.write("far/1", 1, 9<<20)
	if _, err := w.a.Archive(t.Context(), nil, Options{}); err != nil && !errors.Is(err, ErrPartial) {
		t.Error(err)
	}
	if tape, err := w.db.TapeByBarcode(t.Context(), "VT0001L8"); err != nil || tape.State != catalog.TapeSuspect {
		t.Errorf("tape %+v, %v", tape, err)
	}
	w.must(w.vl.Fault("clear"))
	w.settled()
	w.restore("far", "a")
}
