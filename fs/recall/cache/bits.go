package cache

import mathbits "math/bits"

// Bits is a set of small numbers, such as those of extents. Its zero value is empty.
type Bits []uint64

// Get reports whether n is in the set.
func (b Bits) Get(n int64) bool {
	return n>>6 < int64(len(b)) && b[n>>6]&(1<<(n&63)) != 0
}

// Set puts n into the set, or takes it out.
func (b *Bits) Set(n int64, v bool) {
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

// Count returns how many numbers of the set are at least lo and below hi.
func (b Bits) Count(lo, hi int64) int64 {
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
