// Package measure makes calls as fast as they return or at a fixed rate, and measures
// what they take.
package measure

import (
	"math/bits"
	"time"
)

// Buckets are 1/32 of their power of two wide: what is read is at most 3 % too low.
const (
	subBits = 5
	subs    = 1 << subBits
	buckets = (64 - subBits) * subs
)

// Histogram counts durations. The zero value is empty; it is for one goroutine.
type Histogram struct {
	counts [buckets]int64
	total  int64
}

// Add counts d n times.
func (h *Histogram) Add(d time.Duration, n int64) {
	h.counts[bucketOf(uint64(max(d, 0)))] += n
	h.total += n
}

// Merge adds what other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// Total returns how many durations were counted.
func (h *Histogram) Total() int64 { return h.total }

// Quantile returns the duration that the part q of all doesn't exceed, 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := int64(q * float64(h.total))
	var seen int64
	for i, n := range h.counts {
		seen += n
		if n > 0 && seen > rank || seen == h.total && n > 0 {
			return time.Duration(lowest(i))
		}
	}
	return 0
}

// bucketOf returns the bucket of a value.
func bucketOf(v uint64) int {
	if v < subs {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// lowest returns the least value of a bucket.
func lowest(bucket int) uint64 {
	if bucket < 2*subs {
		return uint64(bucket)
	}
	shift := bucket>>subBits - 1
	return uint64(bucket&(subs-1)|subs) << shift
}
