package compress

import "github.com/klauspost/compress/zstd"

// maxFlateRatio is how many times smaller than what it holds a flate stream can be.
const maxFlateRatio = 1032

// Bound returns at most how many bytes src, one zstd frame or one flate stream, holds, and no more than limit.
func Bound(src []byte, limit int) int {
	if !isZstd(src) {
		return min(limit, maxFlateRatio*(len(src)+1))
	}
	var h zstd.Header
	if h.Decode(src) == nil && h.HasFCS && h.FrameContentSize < uint64(limit) {
		return int(h.FrameContentSize)
	}
	return limit
}
