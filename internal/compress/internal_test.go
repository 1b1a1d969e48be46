package compress

import (
	"bytes"
	"runtime"
	"testing"
	"weak"
)

func TestWindowFor(t *testing.T) {
	for _, test := range []struct {
		n, size    int
		descriptor byte
	}{
		{1, 1 << 10, 0},
		{1 << 10, 1 << 10, 0},
		{1<<10 + 1, 1<<10 + 1<<7, 1},
		{128 << 10, 128 << 10, 7 << 3},
		{4 << 20, 4 << 20, 12 << 3},
		{4<<20 + 1, 4<<20 + 512<<10, 12<<3 | 1},
	} {
		if descriptor, size := windowFor(test.n); descriptor != test.descriptor || size != test.size {
			t.Errorf("%d: %x, %d, expected %x, %d", test.n, descriptor, size, test.descriptor, test.size)
		}
	}
}

// TestForget checks that an idle decoder keeps no large data from the garbage collector.
func TestForget(t *testing.T) {
	var c Codec
	src, ok := c.Append(nil, bytes.Repeat([]byte("forget me not. "), 1<<16), Zstd)
	if !ok {
		t.Fatal("not compressed")
	}
	r := newZstdReader()
	out, err := r.inflateInto(nil, src, 2<<20)
	if err != nil {
		t.Fatal(err)
	}
	read, wrote := weak.Make(&src[0]), weak.Make(&out[0])
	src, out = nil, nil
	for range 3 {
		runtime.GC()
	}
	if read.Value() != nil || wrote.Value() != nil {
		t.Error("the decoder still has what it read or wrote")
	}
	runtime.KeepAlive(r)
}

func TestFlat(t *testing.T) {
	if text := bytes.Repeat([]byte("0123456789abcdef"), 4096); flat(text) {
		t.Error("hexadecimal text is taken for random")
	}
	counting := make([]byte, sampledFrom)
	for i := range counting {
		counting[i] = byte(i)
	}
	if !flat(counting) {
		t.Error("every value is equally frequent, and yet not taken so")
	}
	var c Codec
	for _, m := range []Method{Flate, Zstd} {
		if !c.promising(counting, m) {
			t.Errorf("%s: what repeats itself is taken for random", m)
		}
	}
}
