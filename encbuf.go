package flyrpc

// maxKeptItem is the largest buffer, in bytes, that is kept from one message to the next.
const maxKeptItem = 32 << 10

// encBuf is where messages are encoded, one after the other. Small ones share a buffer; after a large one the
// next is expected to be as large and gets a buffer that the connection lends.
type encBuf struct {
	own  []byte
	lent []byte
	last int // the size of the last message, if it was large
}

// take returns an empty buffer for a message of n bytes; n is 0 where that isn't known. done follows.
func (e *encBuf) take(bufs *buffers, n int) []byte {
	if n = max(n, e.last); n >= largeBody {
		e.lent = bufs.lend(n)
		return e.lent
	}
	return e.own[:0]
}

// done says that the message was encoded as enc, in the buffer that take has returned or in a larger one, and that f,
// which may be nil, is its frame. If f's body is in a lent buffer, it goes back when that is written.
func (e *encBuf) done(bufs *buffers, f *frame, enc []byte) {
	lent := e.lent
	e.lent, e.last = nil, 0
	if len(enc) >= largeBody {
		e.last = len(enc)
	}
	used := f != nil && sameStart(f.body, enc)
	switch {
	case lent != nil && used && sameStart(enc, lent[:cap(lent)]):
		f.lent = lent
	case lent != nil:
		bufs.put(lent)
	case used && len(enc) >= largeBody, cap(enc) > maxKeptItem:
		e.own = nil // the writer may have it
	default:
		e.own = enc
	}
}

// sameStart reports whether two slices that aren't empty begin with the same byte of memory.
func sameStart(a, b []byte) bool {
	return len(a) > 0 && len(b) > 0 && &a[0] == &b[0]
}
