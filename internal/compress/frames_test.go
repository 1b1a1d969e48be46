package compress_test

import (
	"bytes"
	stdflate "compress/flate"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"
)

const magic = "\x28\xb5\x2f\xfd"

// Window descriptors.
const (
	window1KiB   = 0x00
	window128KiB = 0x38
	window1MiB   = 0x50
	window8MiB   = 0x68
	window128MiB = 0x88
	window256MiB = 0x90
	windowHuge   = 0xff
)

// The types of zstd's blocks.
const (
	blockRaw = iota
	blockRLE
	blockCompressed
	blockReserved
)

// largestBlock is the most that one block may hold.
const largestBlock = 128 << 10

// open returns the header of a frame that declares a window, but no content size.
func open(window byte) []byte {
	return append([]byte(magic), 0, window)
}

// sized returns the header of a frame that declares a content size in eight bytes.
func sized(window byte, size uint64) []byte {
	return binary.LittleEndian.AppendUint64(append([]byte(magic), 0xc0, window), size)
}

// single returns the header of a frame of a single segment.
func single(size uint64) []byte {
	return binary.LittleEndian.AppendUint64(append([]byte(magic), 0xe0), size)
}

// block returns one block.
func block(last bool, kind, size int, data ...byte) []byte {
	header := uint32(size)<<3 | uint32(kind)<<1
	if last {
		header |= 1
	}
	return append([]byte{byte(header), byte(header >> 8), byte(header >> 16)}, data...)
}

// zeros is a compressed block that holds 128 KiB of zeros as literals of one value.
func zeros(last bool) []byte {
	const rle, format20 = 1, 3
	head := uint32(largestBlock)<<4 | format20<<2 | rle
	return block(last, blockCompressed, 5, byte(head), byte(head>>8), byte(head>>16), 0, 0)
}

func join(parts ...[]byte) []byte {
	return bytes.Join(parts, nil)
}

// streamed compresses as a stream, which declares no content size, and flushes after every
// so many bytes.
func streamed(data []byte, flush int, options ...zstd.EOption) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, append(options, zstd.WithEncoderConcurrency(1))...)
	check(err)
	for rest := data; len(rest) > 0; {
		n := min(flush, len(rest))
		_, err = w.Write(rest[:n])
		check(err)
		check(w.Flush())
		rest = rest[n:]
	}
	check(w.Close())
	return out.Bytes()
}

// encoded compresses at once, which declares the content size.
func encoded(data []byte, options ...zstd.EOption) []byte {
	w, err := zstd.NewWriter(nil, append(options, zstd.WithEncoderConcurrency(1))...)
	check(err)
	return w.EncodeAll(data, nil)
}

// deflated compresses with the standard library.
func deflated(data []byte, level int) []byte {
	var out bytes.Buffer
	w, err := stdflate.NewWriter(&out, level)
	check(err)
	_, err = w.Write(data)
	check(err)
	check(w.Close())
	return out.Bytes()
}

// piece compresses to flate blocks that others may follow.
func piece(data []byte) []byte {
	var out bytes.Buffer
	w, err := stdflate.NewWriter(&out, 9)
	check(err)
	_, err = w.Write(data)
	check(err)
	check(w.Flush())
	return out.Bytes()
}

// lastPiece is an empty final block.
var lastPiece = []byte{1, 0, 0, 0xff, 0xff}

// inflatedPlain inflates with the standard library or with the zstd package's defaults.
func inflatedPlain(src []byte) ([]byte, error) {
	if !bytes.HasPrefix(src, []byte(magic)) {
		input := bytes.NewReader(src)
		out, err := io.ReadAll(io.LimitReader(stdflate.NewReader(input), 16<<20))
		if err == nil && input.Len() > 0 {
			err = io.ErrShortBuffer
		}
		return out, err
	}
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	check(err)
	defer r.Close()
	return r.DecodeAll(src, nil)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
