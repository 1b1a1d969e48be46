package compress

import "slices"

// Consistent overhead byte stuffing: the data is cut behind each zero, and where 254 bytes
// come without one. Instead of its zero a piece has a byte before it that says where the
// next such byte stands; ff is the one that stands for no zero.
const (
	cobsPiece    = 254
	cobsOverhead = 0xff
)

// appendCOBS appends src to dst so that it has no zero. It becomes longer by one byte, and
// by one more for each 254 bytes. There is no zero at the end.
func appendCOBS(dst, src []byte) []byte {
	at := len(dst)
	dst = append(dst, 1)
	for i, b := range src {
		if b != 0 {
			dst = append(dst, b)
			dst[at]++
		}
		full := dst[at] == cobsOverhead && i < len(src)-1
		if b == 0 || full {
			at = len(dst)
			dst = append(dst, 1)
		}
	}
	return dst
}

// appendUnCOBS appends what appendCOBS made src of. ok is false, and the result of no use,
// if src has a zero or ends before it should.
func appendUnCOBS(dst, src []byte) (out []byte, ok bool) {
	if len(src) == 0 || slices.Contains(src, 0) {
		return dst, false
	}
	for {
		n := int(src[0])
		if n > len(src) {
			return dst, false
		}
		dst = append(dst, src[1:n]...)
		src = src[n:]
		if len(src) == 0 {
			return dst, true
		}
		if n <= cobsPiece {
			dst = append(dst, 0)
		}
	}
}
