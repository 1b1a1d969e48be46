package compress_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/go-flyrpc/flyrpc/internal/compress"
)

// seeds are compressed bodies, good and bad.
func seeds() [][]byte {
	body := jsonBytes(600)
	return [][]byte{
		nil,
		{1},
		lastPiece, []byte(magic),
		deflated(body, 6), deflated(body, 0), deflated(make([]byte, 5000), 9),
		encoded(body), encoded(body, zstd.WithEncoderCRC(false)), encoded(body, zstd.WithSingleSegment(true)),
		streamed(body, 100), streamed(body, 100, zstd.WithWindowSize(8<<20)),
		join(encoded(body), encoded(body)), append(deflated(body, 6), 0),
		join(single(100), block(false, blockRLE, 50, 'x'), block(true, blockRaw, 3, 'a', 'b', 'c')),
		join(sized(window1KiB, 8), block(true, blockRLE, 8, 'x')),
		join(open(window8MiB), zeros(false), zeros(false), zeros(true)),
		join(open(window128MiB), zeros(true)),
		join(single(1<<62), zeros(true)),
		{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0},
		join([]byte(magic), []byte{0x21, 7, 1}, block(true, blockRaw, 1, 'x')),
	}
}

func FuzzInflate(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed, uint32(1000), true)
		f.Add(seed, uint32(400<<10), false)
	}
	var c compress.Codec
	f.Fuzz(func(t *testing.T, src []byte, limit uint32, room bool) {
		max := int(limit % (1 << 20))
		dst := []byte("dst")
		if room {
			dst = append(make([]byte, 0, max), dst...)
		}
		before := bytes.Clone(src)
		out, err := c.Inflate(dst, src, max, both)
		checkInflated(t, out, err, max)
		if !bytes.Equal(src, before) {
			t.Fatal("the source was changed")
		}
		plain, plainErr := inflatedPlain(src)
		switch {
		case err == nil && (plainErr != nil || !bytes.Equal(plain, out[3:])):
			t.Fatalf("%d bytes came out, expected %d, %v", len(out)-3, len(plain), plainErr)
		case errors.Is(err, compress.ErrTooLong) && plainErr == nil && len(plain) <= max:
			t.Fatalf("%v, though %d bytes come out", err, len(plain))
		case err != nil && plainErr == nil && len(plain) <= max && len(src) > 0 && !bytes.HasPrefix(src, []byte(magic)):
			t.Fatalf("%v, though the standard library makes %d bytes of it", err, len(plain))
		}
	})
}

func FuzzInflateCode(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(stuffed(seed), uint16(compress.MaxCode))
		f.Add(seed, uint16(100))
	}
	var c compress.Codec
	f.Fuzz(func(t *testing.T, src []byte, limit uint16) {
		out, err := c.InflateCode([]byte("dst"), src, int(limit), both)
		checkInflated(t, out, err, int(limit))
		if err == nil && bytes.IndexByte(src, 0) >= 0 {
			t.Fatal("a zero byte was taken")
		}
	})
}

// checkInflated checks what holds for every result.
func checkInflated(t *testing.T, out []byte, err error, limit int) {
	t.Helper()
	if !bytes.HasPrefix(out, []byte("dst")) {
		t.Fatalf("dst became %q", out)
	}
	if err == nil {
		if len(out)-3 > limit {
			t.Fatalf("%d bytes came out, expected at most %d", len(out)-3, limit)
		}
		return
	}
	if len(out) != 3 {
		t.Fatalf("%d bytes came with %v", len(out)-3, err)
	}
	if !errors.Is(err, compress.ErrBadData) && !errors.Is(err, compress.ErrTooLong) {
		t.Fatalf("an error of no kind: %v", err)
	}
	if !strings.Contains(err.Error(), ": ") {
		t.Fatalf("an error that says nothing: %v", err)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(nil), uint8(1), uint16(0))
	f.Add([]byte("abcabcabcabcabcabcabcabcabcabcabcabc"), uint8(2), uint16(1))
	f.Add(jsonBytes(3000), uint8(1), uint16(20))
	f.Add(randomBytes(3000), uint8(2), uint16(30))
	f.Add(bytes.Repeat([]byte{0}, 1000), uint8(1), uint16(1))
	var c compress.Codec
	f.Fuzz(func(t *testing.T, part []byte, method uint8, times uint16) {
		data := bytes.Repeat(part, 1+int(times%64))
		m := methods[method%2]
		before := bytes.Clone(data)
		if packed, ok := c.Append([]byte("dst"), data, m); ok {
			if len(packed)-3 >= len(data) {
				t.Fatalf("%d bytes became %d", len(data), len(packed)-3)
			}
			out, err := c.Inflate(nil, packed[3:], len(data), compress.Set(0).With(m))
			if err != nil || !bytes.Equal(out, data) {
				t.Fatalf("%d bytes came back as %d, %v", len(data), len(out), err)
			}
		}
		if packed, ok := c.AppendCode(nil, string(data), m); ok {
			out, err := c.InflateCode(nil, packed, compress.MaxCode, compress.Set(0).With(m))
			if err != nil || !bytes.Equal(out, data) || bytes.IndexByte(packed, 0) >= 0 || len(packed) >= len(data) {
				t.Fatalf("%q came back as %q, %v", data, out, err)
			}
		}
		if !bytes.Equal(data, before) {
			t.Fatal("the source was changed")
		}
	})
}
