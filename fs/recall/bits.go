package recall

import mathbits "math/bits"

// bits is a set of small numbers.
type bits []uint64

func (b bits) get(n int64) bool {
	return n>>6 < int64(len(b)) && b[n>>6]&(1<<(n&63)) != 0
}

func (b *bits) set(n int64, v bool) {
	for int64(len(*b)) <= n>>6 {
		if !v {
			return
		}
		*b = append(*b, 0)
	}
	if v {
		(*b)[n>>6] |= 1 << (n & 63)
	} else {
		(*b)[n>>6] &^= 1 << (n & 63)
	}
}

// count is how many numbers from lo up to hi, hi left out, are in the set.
func (b bits) count(lo, hi int64) int64 {
	var n int
	for w := lo >> 6; w < int64(len(b)) && w<<6 < hi; w++ {
		x := b[w]
		if start := w << 6; start < lo {
			x &= ^uint64(0) << (lo - start)
		}
		if left := hi - w<<6; left < 64 {
			x &= 1<<left - 1
		}
		n += mathbits.OnesCount64(x)
	}
	return int64(n)
}
