package source

import "strconv"

// Bandwidth is one stream's share of a limit in bytes a second, as rsync's --bwlimit takes it: in
// KiB a second, where 0 would be no limit.
func Bandwidth(limit int64, streams int) string {
	return strconv.FormatInt(max(1, limit/int64(streams)>>10), 10)
}
