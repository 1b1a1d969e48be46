package msgpack

import (
	"errors"
	"io"
)

// appender is where the encoder writes: behind the bytes it begins with.
type appender struct{ buf []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	return len(p), nil
}

// WriteByte spares the encoder a wrapper that allocates.
func (a *appender) WriteByte(c byte) error {
	a.buf = append(a.buf, c)
	return nil
}

var errInsideExt = errors.New("msgpack: an extension stands where something else is expected, or its registered decoder does not read it whole")

// reader is where the decoder reads. The library skips an extension's header
// before a map, which would make it take the extension's payload for the map:
// bytes that the walk has not looked at. So with guard the payload of an
// extension can only be read whole, as everything does that expects one.
type reader struct {
	data  []byte
	pos   int
	guard bool
	item  int // the start of a value at or before pos, when guarding
}

func (r *reader) reset(data []byte, guard bool) {
	*r = reader{data: data, guard: guard}
}

func (r *reader) Read(p []byte) (int, error) {
	if r.pos >= len(r.data) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, r.data[r.pos:])
	r.pos += n
	return n, nil
}

func (r *reader) ReadByte() (byte, error) {
	if r.pos >= len(r.data) {
		return 0, io.EOF
	}
	if r.guard && r.insideExt() {
		return 0, errInsideExt
	}
	b := r.data[r.pos]
	r.pos++
	return b, nil
}

func (r *reader) UnreadByte() error {
	if r.pos == 0 {
		return io.ErrUnexpectedEOF
	}
	r.pos--
	return nil
}

// insideExt says whether pos is in the payload of an extension. It goes from value
// to value, which needs no stack: behind a header stands the next one.
func (r *reader) insideExt() bool {
	if r.pos < r.item {
		r.item = 0
	}
	for {
		payload, end, ext := span(r.data, r.item)
		if r.pos < end || end <= r.item {
			return ext && r.pos >= payload && !isInterned(r.data[payload-1:end])
		}
		r.item = end
	}
}

// isInterned recognises a reference to an interned string, which the library
// reads byte by byte: type -128 and one byte, which must not look like a map.
func isInterned(typeAndPayload []byte) bool {
	return len(typeAndPayload) == 2 && typeAndPayload[0] == 0x80 && typeAndPayload[1] < 0x80
}

// span says where the payload of the value at pos begins and where the next value
// does. The walk has seen that the data is well-formed.
func span(data []byte, pos int) (payload, end int, ext bool) {
	c := typedCodes[data[pos]]
	switch c.op {
	case opFixed:
		return pos + 1, pos + int(c.size), false
	case opFixExt:
		return pos + 2, pos + int(c.size), true
	case opArrayIn, opMapIn, opReserved:
		return pos + 1, pos + 1, false
	}
	n, next, _ := length(data, pos+1, int(c.size))
	switch c.op {
	case opArray, opMap:
		return next, next, false
	case opExt:
		return next + 1, next + 1 + int(n), true
	}
	return next, next + int(n), false
}
