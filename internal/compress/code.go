package compress

import "fmt"

// MaxCode is how long a code may be, in bytes, after it is inflated.
const MaxCode = 4 << 10

// AppendCode appends code, compressed by m and then stuffed so that it has no zero byte, to
// dst. ok is false, and out is dst as it was, if that is not smaller than code, if code is
// longer than MaxCode, or if m is None. The room behind dst may be written to even if ok is
// false.
func (c *Codec) AppendCode(dst []byte, code string, m Method) (out []byte, ok bool) {
	if len(code) > MaxCode {
		return dst, false
	}
	b := c.buffer()
	defer c.buffers.Put(b)
	plain := append(b[:0], code...)
	var packed []byte
	switch room := b[len(code):len(code):bufferSize]; m {
	case Flate:
		packed, ok = appendFlateCode(room, plain)
	case Zstd:
		packed, ok = c.appendZstd(room, plain)
	}
	if !ok {
		return dst, false
	}
	out = appendCOBS(dst, packed)
	if len(out)-len(dst) >= len(code) {
		return dst, false
	}
	return out, true
}

// InflateCode appends what the compressed code src holds to dst: at most limit bytes, which
// the protocol wants to be MaxCode. It is Inflate for what AppendCode makes, with the same
// errors: ErrBadData too if src has a zero byte, or ends in the middle of its stuffing, and
// ErrTooLong too if src is longer than twice the limit and 64 bytes. What comes out may be
// any bytes.
func (c *Codec) InflateCode(dst, src []byte, limit int, allowed Set) ([]byte, error) {
	limit = max(limit, 0)
	if len(src)/2-32 > limit {
		return dst, fmt.Errorf("%w: a code of %d bytes came, expected one that inflates to at most %d", ErrTooLong, len(src), limit)
	}
	if len(src) == 0 {
		return dst, badData("no bytes came, expected a code of %s", allowed)
	}
	b := c.buffer()
	defer c.buffers.Put(b)
	packed, ok := appendUnCOBS(b[:0], src)
	if !ok {
		return dst, badData("a code of %d bytes has a zero byte or is cut off, expected consistent overhead byte stuffing", len(src))
	}
	return c.Inflate(dst, packed, limit, allowed)
}
