package compress

import (
	"fmt"
	"math"
	"sync"
)

// bufferSize is what most bodies fit into, in bytes, and as much as one block of zstd holds.
const bufferSize = maxBlock

// overrun is how far behind its data zstd's decoder may write when it copies fast.
const overrun = 16

// buffer is memory for the time of one call.
type buffer [bufferSize + overrun]byte

// Codec compresses and inflates. The zero Codec is ready, and must not be copied once it is
// used. All methods may be called concurrently. It keeps encoders, decoders and buffers for
// later calls, about 1 MiB for each call that runs at the same time; the garbage collector
// frees what is idle. It has no goroutines and needs no closing.
type Codec struct {
	level                      Level
	zstdWriters, zstdReaders   sync.Pool // *zstd.Encoder, *zstdReader
	flateWriters, flateReaders sync.Pool // *flateWriter, *flateReader
	buffers                    sync.Pool // *buffer
}

// New returns a Codec that compresses at a level. The zero Codec does at Fastest.
func New(level Level) *Codec { return &Codec{level: min(level, Smallest)} }

// Append appends src, compressed by m, to dst. ok is false, and out is dst as it was, if
// that is not smaller than src, if a sample of src looks as random as compressed data does,
// or if m is None. src is only read, and not kept; it must not overlap the room behind dst,
// which may be written to even if ok is false.
func (c *Codec) Append(dst, src []byte, m Method) (out []byte, ok bool) {
	if len(src) >= sampledFrom && !c.promising(src, m) {
		return dst, false
	}
	return c.append(dst, src, m)
}

// append is Append without a look at samples.
func (c *Codec) append(dst, src []byte, m Method) (out []byte, ok bool) {
	switch m {
	case Flate:
		return c.appendFlate(dst, src)
	case Zstd:
		return c.appendZstd(dst, src)
	}
	return dst, false
}

// Inflate appends what src holds to dst: at most limit bytes. src is one zstd frame or one
// raw flate stream, of a method in allowed, which is what this side has offered; zstd's
// checksum is verified if there is one. src is only read, and not kept; it must not overlap
// the room behind dst.
//
// Errors match ErrTooLong, ErrBadData or ErrMethod. With an error the result is dst as it
// was; the room behind it may have been written to.
//
// A result that didn't fit behind dst is in memory of its own, which may be larger than it:
// by an eighth where the data declares its size, and up to limit where it doesn't.
func (c *Codec) Inflate(dst, src []byte, limit int, allowed Set) ([]byte, error) {
	if len(src) == 0 {
		return dst, badData("no bytes came, expected %s", allowed)
	}
	m := Flate
	if isZstd(src) {
		m = Zstd
	}
	if !allowed.Has(m) {
		return dst, fmt.Errorf("%w: %s data came, expected %s", ErrMethod, m, allowed)
	}
	limit = min(max(limit, 0), math.MaxInt/4) // so that sums don't overflow
	if m == Zstd {
		return c.inflateZstd(dst, src, limit)
	}
	return c.inflateFlate(dst, src, limit)
}

// buffer returns a buffer to give back with c.buffers.Put.
func (c *Codec) buffer() *buffer {
	if b, ok := c.buffers.Get().(*buffer); ok {
		return b
	}
	return new(buffer)
}

// grow returns dst with room for n bytes behind it.
func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	return append(make([]byte, 0, len(dst)+n), dst...)
}
