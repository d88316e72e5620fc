package manifest

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

// FuzzParseRecord: a record is read or refused, and what was read is a version that the catalog could have.
func FuzzParseRecord(f *testing.F) {
	for _, raw := range frozenRecords(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := json.NewDecoder(bytes.NewReader(raw))
		for {
			var one json.RawMessage
			if err := d.Decode(&one); err != nil {
				if err != io.EOF {
					return
				}
				break
			}
			record, err := ParseRecord(one)
			if err != nil {
				return
			}
			n := &Node{}
			switch r := record.(type) {
			case *DirRecord:
				n = &r.Node
			case *MemberRecord:
				n = &r.Node
			case *ChangeRecord:
				if n = r.Now; n == nil {
					return
				}
			default:
				return
			}
			v, err := n.Version()
			if err != nil {
				return
			}
			if v.Mode > 0o7777 || v.Kind < catalog.File || v.Kind > catalog.Symlink || v.Inode == 0 && v.ID != 0 || len(v.SHA256) != 0 && len(v.SHA256) != 32 {
				t.Fatalf("%s is taken as %+v", one, v)
			}
		}
	})
}

func FuzzParseMAC(f *testing.F) {
	m := Proof{Catalog: "cccccccc-0000-0000-0000-000000000000", Volume: volumeA, Seq: 1, Previous: make([]byte, 32), MAC: make([]byte, 32)}
	f.Add(m.text())
	f.Add(bytes.ToUpper(m.text()))
	f.Add([]byte("mac=00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := ParseProof(text); err == nil && !bytes.Equal(m.text(), text) {
			t.Fatalf("%q is taken as %+v", text, m)
		}
	})
}

// frozenRecords are the records of manifests that were written once, without their first, one with nearly all kinds of changes among them.
func frozenRecords(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	for _, name := range []string{"records", "journal"} {
		text, err := os.ReadFile("../../testdata/manifest/" + name + ".jsonl")
		must(t, err)
		all = append(all, bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))...)
	}
	return all
}
