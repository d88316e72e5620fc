package volume

import (
	"bytes"
	"testing"
)

func FuzzParseTapeLabel(f *testing.F) {
	f.Add([]byte("tapefs-format 1 catalog=cccccccc-0000-0000-0000-000000000000 volume=11111111-2222-3333-4444-555555555555 pool=main number=1\nmore\n"))
	f.Add([]byte("tapefs-format 2 x=y\n"))
	f.Add([]byte("tapefs-format 1 catalog=a catalog=b\n"))
	f.Add([]byte("hello\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := ParseLabel(bytes.NewReader(text))
		if err != nil {
			return
		}
		if again, err := ParseLabel(bytes.NewReader([]byte(l.FirstLine() + "\n"))); err != nil || again != l {
			t.Fatalf("%q is %+v, which is written %q and read as %+v, %v", text, l, l.FirstLine(), again, err)
		}
	})
}
