package compress_test

import (
	"bytes"

	"github.com/klauspost/compress/zstd"

	"github.com/go-flyrpc/flyrpc/internal/compress"
)

// gib is how many blocks of 128 KiB make 1 GiB.
const gib = 1 << 30 / largestBlock

func repeated(head, part []byte, n int, tail []byte) []byte {
	return join(head, bytes.Repeat(part, n), tail)
}

// stuffed makes a code of data; no piece of it may be longer than 254 bytes.
func stuffed(data []byte) []byte {
	var out []byte
	for _, part := range bytes.Split(data, []byte{0}) {
		for ; len(part) >= 254; part = part[254:] {
			out = append(append(out, 0xff), part[:254]...)
		}
		out = append(append(out, byte(len(part)+1)), part...)
	}
	return out
}

var (
	rle     = block(false, blockRLE, largestBlock, 0)
	lastRLE = block(true, blockRLE, largestBlock, 0)
	tooLong = compress.ErrTooLong
	badData = compress.ErrBadData
)

var bombs = []bomb{
	{name: "zstd/1 GiB in RLE blocks", want: tooLong, make: func() []byte {
		return repeated(open(window8MiB), rle, gib, lastRLE)
	}},
	{name: "zstd/1 GiB in RLE blocks, declared", want: tooLong, make: func() []byte {
		return repeated(single(1<<30), rle, gib-1, lastRLE)
	}},
	{name: "zstd/1 GiB in RLE blocks, declared as 4 MiB", want: badData, make: func() []byte {
		return repeated(single(messageLimit), rle, gib, lastRLE)
	}},
	{name: "zstd/1 GiB in compressed blocks", want: tooLong, twice: true, make: func() []byte {
		return repeated(open(window1MiB), zeros(false), gib, zeros(true))
	}},
	{name: "zstd/1 GiB in compressed blocks, large window", want: tooLong, twice: true, make: func() []byte {
		return repeated(open(window128MiB), zeros(false), gib, zeros(true))
	}},
	{name: "zstd/1 GiB in compressed blocks, declared as 4 MiB", want: badData, make: func() []byte {
		return repeated(single(messageLimit), zeros(false), gib, zeros(true))
	}},
	{name: "zstd/1 GiB in compressed blocks, declared as 1 MiB", want: badData, make: func() []byte {
		return repeated(single(1<<20), zeros(false), gib, zeros(true))
	}},
	{name: "zstd/1 GiB in compressed blocks, declared as 3 bytes", want: badData, make: func() []byte {
		return repeated(single(3), zeros(false), gib, zeros(true))
	}},
	{name: "zstd/as much as allowed", make: func() []byte {
		return repeated(single(messageLimit), zeros(false), messageLimit/largestBlock-1, zeros(true))
	}},
	{name: "zstd/as much as allowed, undeclared", twice: true, make: func() []byte {
		return repeated(open(window8MiB), zeros(false), messageLimit/largestBlock-1, zeros(true))
	}},
	{name: "zstd/one byte more than allowed", want: tooLong, twice: true, make: func() []byte {
		return repeated(open(window8MiB), zeros(false), messageLimit/largestBlock, block(true, blockRLE, 1, 0))
	}},
	{name: "zstd/64 MiB of zeros as a stream", want: tooLong, twice: true, make: func() []byte {
		return streamed(make([]byte, 64<<20), 64<<20)
	}},
	{name: "zstd/64 MiB of zeros at once", want: tooLong, make: func() []byte {
		return encoded(make([]byte, 64<<20))
	}},
	{name: "zstd/huge window", want: badData, make: func() []byte {
		return repeated(open(windowHuge), zeros(false), 1, zeros(true))
	}},
	{name: "zstd/window of 256 MiB", want: badData, make: func() []byte {
		return repeated(open(window256MiB), zeros(false), 1, zeros(true))
	}},
	{name: "zstd/window of 128 MiB", make: func() []byte {
		return repeated(open(window128MiB), zeros(false), 4, zeros(true))
	}},
	{name: "zstd/huge size", want: tooLong, make: func() []byte {
		return repeated(sized(window8MiB, 1<<62), zeros(false), 1, zeros(true))
	}},
	{name: "zstd/huge single segment", want: tooLong, make: func() []byte {
		return repeated(single(1<<63), zeros(false), 1, zeros(true))
	}},
	{name: "zstd/4 MiB declared, one block", want: badData, make: func() []byte {
		return repeated(single(messageLimit), nil, 0, zeros(true))
	}},
	{name: "zstd/4 MiB declared, many blocks of nothing", want: badData, make: func() []byte {
		// Literals of no length and no sequences.
		return repeated(single(messageLimit), block(false, blockCompressed, 2, 0, 0), 4000, block(true, blockRaw, 0))
	}},
	{name: "zstd/many empty blocks", make: func() []byte {
		return repeated(open(window8MiB), block(false, blockRaw, 0), messageLimit/3, block(true, blockRaw, 0))
	}},
	{name: "zstd/many tiny blocks", make: func() []byte {
		return repeated(open(window8MiB), block(false, blockRLE, 1, 0), messageLimit/4-8, block(true, blockRaw, 0))
	}},
	{name: "zstd/many small compressed blocks", twice: true, make: func() []byte {
		return streamed(jsonBytes(1<<20), 200, zstd.WithWindowSize(8<<20))
	}},
	{name: "zstd/many frames", want: badData, make: func() []byte {
		return repeated(nil, join(open(window128KiB), lastRLE), 100_000, nil)
	}},
	{name: "zstd/many empty frames", want: badData, make: func() []byte {
		return repeated(nil, join(single(0), block(true, blockRaw, 0)), 100_000, nil)
	}},

	{name: "flate/1 GiB of zeros", want: tooLong, make: func() []byte {
		return repeated(nil, piece(make([]byte, 1<<20)), 1<<10, lastPiece)
	}},
	{name: "flate/as much as allowed", make: func() []byte {
		return repeated(nil, piece(make([]byte, 1<<20)), messageLimit>>20, lastPiece)
	}},
	{name: "flate/zeros behind what is random", want: tooLong, twice: true, make: func() []byte {
		return repeated(piece(randomBytes(300<<10)), piece(make([]byte, 1<<20)), 1<<10, lastPiece)
	}},
	{name: "flate/just within the limit behind what is random", twice: true, make: func() []byte {
		return repeated(piece(randomBytes(300<<10)), piece(make([]byte, 1<<20)), 3, lastPiece)
	}},
	{name: "flate/many empty stored blocks", make: func() []byte {
		return repeated(nil, []byte{0, 0, 0, 0xff, 0xff}, messageLimit/5, lastPiece)
	}},
	{name: "flate/many stored blocks of one byte", make: func() []byte {
		return repeated(nil, []byte{0, 1, 0, 0xfe, 0xff, 'x'}, messageLimit/6, lastPiece)
	}},
	{name: "flate/stored blocks within a stored block", make: func() []byte {
		inner := repeated([]byte{0, 0xf0, 0xff, 0x0f, 0}, []byte{0, 1, 0, 0xfe, 0xff}, 0xfff0/5, nil)
		return repeated(nil, inner, 60, lastPiece)
	}},

	{name: "code/zstd, 1 GiB", code: true, want: tooLong, make: func() []byte {
		return stuffed(repeated(open(window8MiB), zeros(false), 900, zeros(true)))
	}},
	{name: "code/zstd, declared", code: true, want: tooLong, make: func() []byte {
		return stuffed(repeated(single(1<<40), zeros(false), 9, zeros(true)))
	}},
	{name: "code/flate, 4 MiB", code: true, want: tooLong, make: func() []byte {
		return stuffed(deflated(make([]byte, 4<<20), 9)[:4000])
	}},
	{name: "code/4 MiB of stuffing", code: true, want: tooLong, make: func() []byte {
		return bytes.Repeat([]byte{1}, messageLimit)
	}},
}
