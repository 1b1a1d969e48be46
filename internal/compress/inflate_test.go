package compress_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/go-flyrpc/flyrpc/internal/compress"
)

const messageLimit = 4 << 20

func TestInflateErrors(t *testing.T) {
	body := jsonBytes(3000)
	frame := encoded(body)
	withSum := encoded(body, zstd.WithEncoderCRC(true))
	without := encoded(body, zstd.WithEncoderCRC(false))
	stream := deflated(body, 6)
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 'h', 'i'}
	wrongSum := bytes.Clone(withSum)
	wrongSum[len(wrongSum)-1] ^= 1
	damaged := bytes.Clone(frame)
	damaged[len(damaged)/2] ^= 0xff
	type test struct {
		name    string
		src     []byte
		limit   int
		allowed compress.Set
		want    error
		text    string
	}
	tests := []test{
		{"empty", nil, 10, both, compress.ErrBadData, "no bytes came, expected zstd or flate"},
		{"zstd not offered", frame, 9999, compress.Set(0).With(compress.Flate), compress.ErrMethod, "zstd data came, expected flate"},
		{"flate not offered", stream, 9999, compress.Set(0).With(compress.Zstd), compress.ErrMethod, "flate data came, expected zstd"},
		{"nothing offered", stream, 9999, 0, compress.ErrMethod, "expected no compression"},
		{"zstd too long", frame, 2999, both, compress.ErrTooLong, "zstd data holds more than 2999 bytes"},
		{"flate too long", stream, 2999, both, compress.ErrTooLong, "flate data holds more than 2999 bytes"},
		{"negative limit", stream, -1, both, compress.ErrTooLong, "more than 0 bytes"},

		{"two frames", join(frame, frame), 9999, both, compress.ErrBadData, "bytes follow the zstd frame, expected exactly one frame"},
		{"frame and empty frame", join(frame, single(0), block(true, blockRaw, 0)), 9999, both, compress.ErrBadData, "16 bytes follow"},
		{"skippable frame behind", join(frame, skippable), 9999, both, compress.ErrBadData, "10 bytes follow"},
		{"skippable frame before", join(skippable, frame), 9999, both, compress.ErrBadData, "the flate stream is damaged"},
		{"skippable frame alone", skippable, 9999, both, compress.ErrBadData, ""},
		{"byte behind a frame", append(bytes.Clone(frame), 0), 9999, both, compress.ErrBadData, "1 bytes follow"},
		{"stream behind a frame", join(frame, stream), 9999, both, compress.ErrBadData, "follow the zstd frame"},
		{"dictionary", join([]byte(magic), []byte{0x21, 7, 1}, block(true, blockRaw, 1, 'x')), 99, both, compress.ErrBadData, "needs dictionary 7"},
		{"magic alone", []byte(magic), 99, both, compress.ErrBadData, "the zstd header is damaged"},
		{"no checksum", withSum[:len(withSum)-4], 9999, both, compress.ErrBadData, "ends before its checksum"},
		{"wrong checksum", wrongSum, 9999, both, compress.ErrBadData, "the zstd frame is damaged"},
		{"damaged frame", damaged, 9999, both, compress.ErrBadData, ""},
		{"no last block", join(open(window1KiB), block(false, blockRaw, 1, 'x')), 99, both, compress.ErrBadData, "before its last block"},
		{"cut block", join(open(window1KiB), block(true, blockRaw, 9, 'x')), 99, both, compress.ErrBadData, "in the middle of a block"},
		{"reserved block", join(open(window1KiB), block(true, blockReserved, 1, 'x')), 99, both, compress.ErrBadData, "reserved type"},
		{"block larger than the window", join(open(window1KiB), block(true, blockRLE, 1025, 'x')), 9999, both, compress.ErrBadData, "a zstd block of 1025 bytes came, expected at most 1024"},
		{"bad compressed block", join(open(window1KiB), block(true, blockCompressed, 2, 0xff, 0xff)), 99, both, compress.ErrBadData, "the zstd frame is damaged"},
		{"declares too much", join(single(100), block(true, blockRLE, 101, 'x')), 999, both, compress.ErrBadData, "declares 100 bytes, but its blocks hold 101 to 101"},
		{"declares too little", join(single(102), block(true, blockRLE, 101, 'x')), 999, both, compress.ErrBadData, "declares 102 bytes, but its blocks hold 101 to 101"},
		{"lies about a compressed block", join(single(99), zeros(true)), 999, both, compress.ErrBadData, ""},
		{"declares more than the limit", join(single(1<<62), block(true, blockRLE, 1, 'x')), 999, both, compress.ErrTooLong, "more than 999"},
		{"window too large", join(open(window256MiB), block(true, blockRaw, 1, 'x')), 999, both, compress.ErrBadData, "window of 268435456 bytes, expected at most 134217728"},
		{"RLE blocks", join(open(window128KiB), block(false, blockRLE, 600, 'x'), block(true, blockRLE, 600, 'x')), 1000, both, compress.ErrTooLong, "more than 1000"},
		{"open frame, small limit", join(open(window8MiB), zeros(false), zeros(true)), 1000, both, compress.ErrTooLong, "more than 1000"},
		{"open frame, one block too long", join(open(window8MiB), zeros(true)), largestBlock - 1, both, compress.ErrTooLong, ""},
		{"open frame, bad end", join(open(window8MiB), zeros(false), zeros(false), block(true, blockCompressed, 2, 0xff, 0xff)), 300 << 10, both, compress.ErrBadData, ""},
		{"open frame, bad end within", join(open(window8MiB), zeros(false), zeros(false), block(true, blockCompressed, 2, 0xff, 0xff)), 500 << 10, both, compress.ErrBadData, ""},

		{"byte behind a stream", append(bytes.Clone(stream), 0), 9999, both, compress.ErrBadData, "1 bytes follow the flate stream"},
		{"two streams", join(stream, stream), 9999, both, compress.ErrBadData, "follow the flate stream"},
		{"frame behind a stream", join(stream, frame), 9999, both, compress.ErrBadData, "follow the flate stream"},
		{"cut stream", stream[:len(stream)-1], 9999, both, compress.ErrBadData, "the flate stream is damaged: unexpected EOF"},
		{"no flate", []byte("\x07plain"), 9999, both, compress.ErrBadData, "the flate stream is damaged"},
		{"cut long stream", join(piece(make([]byte, 400<<10)), []byte{0}), messageLimit, both, compress.ErrBadData, "damaged"},
		{"cut uneven stream", join(piece(randomBytes(200<<10)), piece(make([]byte, 1<<20)), []byte{0}), messageLimit, both, compress.ErrBadData, "damaged"},
		{"long stream", join(piece(make([]byte, 400<<10)), lastPiece), 400<<10 - 1, both, compress.ErrTooLong, "more than 409599"},
		{"uneven stream", join(piece(randomBytes(200<<10)), piece(make([]byte, 2<<20)), lastPiece), 1 << 20, both, compress.ErrTooLong, "more than 1048576"},
	}
	for n := range len(without) - 4 {
		tests = append(tests, test{"cut frame", without[:n+4], 9999, both, compress.ErrBadData, ""})
	}
	var c compress.Codec
	for _, test := range tests {
		dst := append(make([]byte, 0, 64), "dst"...)
		out, err := c.Inflate(dst, test.src, test.limit, test.allowed)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v, expected %v with %q", test.name, err, test.want, test.text)
		}
		if string(out) != "dst" {
			t.Errorf("%s: with the error came %q", test.name, out)
		}
	}
}

func TestInflate(t *testing.T) {
	some := jsonBytes(700 << 10)
	uneven := join(randomBytes(200<<10), make([]byte, 2<<20))
	tests := []struct {
		name string
		src  []byte
		want []byte
	}{
		{"empty frame", join(single(0), block(true, blockRaw, 0)), nil},
		{"empty open frame", join(open(window1KiB), block(true, blockRaw, 0)), nil},
		{"empty stream", lastPiece, nil},
		{"dictionary 0 is none", join([]byte(magic), []byte{0x21, 0, 1}, block(true, blockRaw, 1, 'x')), []byte("x")},
		{"small frame with a large window", join(open(window128MiB), block(true, blockRaw, 1, 'x')), []byte("x")},
		{"sized frame with a large window", join(sized(window128MiB, 1), block(true, blockRaw, 1, 'x')), []byte("x")},
		{"RLE block", join(open(window128KiB), block(true, blockRLE, largestBlock, 'x')), bytes.Repeat([]byte("x"), largestBlock)},
		{"sized compressed blocks", join(single(2*largestBlock), zeros(false), zeros(true)), make([]byte, 2*largestBlock)},
		{"streamed", streamed(some, len(some)), some},
		{"streamed in pieces", streamed(some, 1000), some},
		{"streamed with a large window", streamed(some, 5000, zstd.WithWindowSize(8<<20)), some},
		{"streamed with a checksum", streamed(some, 5000, zstd.WithEncoderCRC(true)), some},
		{"sized beyond a mebibyte", encoded(uneven), uneven},
		{"uneven stream", join(piece(uneven[:200<<10]), piece(uneven[200<<10:]), lastPiece), uneven},
		{"exactly a buffer", deflated(some[:128<<10], 6), some[:128<<10]},
	}
	var c compress.Codec
	for _, test := range tests {
		for _, limit := range []int{len(test.want), messageLimit, math.MaxInt} {
			for _, room := range []int{0, len(test.want) + 300<<10} {
				dst := append(make([]byte, 0, 3+room), "dst"...)
				out, err := c.Inflate(dst, test.src, limit, both)
				if err != nil || string(out[:3]) != "dst" || !bytes.Equal(out[3:], test.want) {
					t.Errorf("%s, limit %d: %d bytes, %v", test.name, limit, len(out), err)
				}
			}
		}
		if n := len(test.want); n > 0 {
			if _, err := c.Inflate(nil, test.src, n-1, both); !errors.Is(err, compress.ErrTooLong) {
				t.Errorf("%s, limit %d: %v", test.name, n-1, err)
			}
		}
	}
}

// TestInflateInPlace checks that a result for which there is room is put there.
func TestInflateInPlace(t *testing.T) {
	var c compress.Codec
	body := jsonBytes(300 << 10)
	for _, src := range [][]byte{encoded(body), deflated(body, 6), streamed(body, len(body))} {
		dst := make([]byte, 1, 1<<20)
		out, err := c.Inflate(dst, src, messageLimit, both)
		if err != nil || &out[0] != &dst[0] || !bytes.Equal(out[1:], body) {
			t.Errorf("%d bytes, %v, moved: %v", len(out), err, &out[0] != &dst[0])
		}
	}
}
