package measure

import (
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	for _, v := range []uint64{0, 1, 31, 32, 33, 63, 64, 65, 1000, 123456789, 1 << 62, 1<<63 - 1} {
		b := bucketOf(v)
		if b >= buckets {
			t.Fatalf("%d is in bucket %d of %d", v, b, buckets)
		}
		low, next := lowest(b), lowest(b+1)
		if v < low || v >= next && b+1 < buckets {
			t.Errorf("%d is in bucket %d, from %d to %d", v, b, low, next)
		}
		if float64(v-low) > float64(v)/32 {
			t.Errorf("%d is read as %d", v, low)
		}
	}
}

func TestQuantile(t *testing.T) {
	var a, b Histogram
	for i := range 1000 {
		h := &a
		if i%2 == 0 {
			h = &b
		}
		h.Add(time.Duration(i)*time.Microsecond, 1)
	}
	a.Merge(&b)
	for q, want := range map[float64]time.Duration{
		0: 0, 0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond, 1: 999 * time.Microsecond,
	} {
		if got := a.Quantile(q); got > want || got < want*96/100 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if a.Total() != 1000 {
		t.Error(a.Total())
	}
	if got := new(Histogram).Quantile(0.5); got != 0 {
		t.Error(got)
	}
}
