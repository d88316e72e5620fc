package extsort

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever fits the memory, records come back by key, and those of one key in the order in which they were added.
func TestSorter(t *testing.T) {
	for _, limit := range []int{1, 300, 5000, 0} {
		s := &Sorter{Dir: t.TempDir(), Limit: limit}
		defer s.Close()
		var want []string
		r := rand.New(rand.NewPCG(1, uint64(limit)))
		for i := range 2000 {
			k := strings.Repeat("k", r.IntN(4)) + fmt.Sprint(r.IntN(300))
			v := fmt.Sprint(i)
			if i%7 == 0 {
				v = ""
			}
			want = append(want, k+"="+v)
			if err := s.Add([]byte(k), []byte(v)); err != nil {
				t.Fatal(err)
			}
			if limit == 1 && i == 200 {
				break // a file for each record
			}
		}
		slices.SortStableFunc(want, func(a, b string) int {
			ka, _, _ := strings.Cut(a, "=")
			kb, _, _ := strings.Cut(b, "=")
			return strings.Compare(ka, kb)
		})
		if err := s.Sort(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			k, v, ok, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			got = append(got, string(k)+"="+string(v))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("limit %d: %s", limit, d)
		}
		if limit != 0 && len(s.runs) < 2 {
			t.Errorf("limit %d: %d runs, so nothing was merged", limit, len(s.runs))
		}
	}
}
