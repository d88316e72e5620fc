package catalog

import "slices"

// timeLimits are the first and last seconds that file systems can hold: what lies beyond becomes one of them.
var timeLimits = []int64{
	-11644473600,        // NTFS
	-2082844800,         // HFS+
	-1 << 31, 1<<31 - 1, // ext2, ext3, XFS
	0, 1<<32 - 1, // NFS 3, JFS
	315532800,              // FAT, exFAT
	4354819198, 4354819199, // these
	2212122495,                       // HFS+
	15032385535,                      // ext4
	16299260424, 1833029933770955161, // XFS with large times; NTFS
}

// timeSteps are units of time that file systems round down to, nanoseconds.
var timeSteps = []int32{100, 1000, 1_000_000, 10_000_000}

// KeptAs reports whether a file system that cannot hold t may have made of it what is found there.
func (t Time) KeptAs(found Time) bool {
	switch {
	case t == found:
		return true
	case t.Sec == found.Sec:
		return found.Nsec == 0 || slices.ContainsFunc(timeSteps, func(step int32) bool { return t.Nsec-t.Nsec%step == found.Nsec })
	case found.Nsec != 0:
		return false
	case t.Sec-t.Sec%2 == found.Sec: // FAT has every other second
		return true
	case t.Sec >= 0 && t.Sec < 1<<31: // every file system holds that
		return false
	}
	return slices.Contains(timeLimits, found.Sec) && (t.Sec < 0) == (t.Sec < found.Sec)
}
