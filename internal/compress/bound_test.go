package compress

import (
	"bytes"
	"testing"
)

func TestBound(t *testing.T) {
	c := New(Fastest)
	src := bytes.Repeat([]byte("hello, hello, "), 1000)
	for _, m := range []Method{Zstd, Flate} {
		out, ok := c.Append(nil, src, m)
		if !ok {
			t.Fatal(m)
		}
		if n := Bound(out, 1<<30); n < len(src) || n > maxFlateRatio*(len(out)+1) {
			t.Errorf("%s: %d for %d bytes in %d", m, n, len(src), len(out))
		}
		if n := Bound(out, 100); n != 100 {
			t.Errorf("%s: %d over the limit", m, n)
		}
	}
	if n := Bound([]byte{0x28, 0xB5, 0x2F, 0xFD}, 1000); n != 1000 {
		t.Errorf("a cut header: %d", n)
	}
}
