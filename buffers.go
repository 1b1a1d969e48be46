package flyrpc

import "sync"

const (
	// bufferSize is the size in bytes of the buffers connections read into and gather
	// writes in. It holds the longest header with a body that is not large.
	bufferSize = 32 << 10
	// partBuffer is the size in bytes of the buffers for large payloads that are at most a part of something.
	partBuffer = 66 << 10
)

// buffers lends buffers to the connections of one Server or Client.
type buffers struct{ small, part sync.Pool }

// get returns a buffer of bufferSize bytes with any content.
func (b *buffers) get() []byte {
	if a, ok := b.small.Get().(*[bufferSize]byte); ok {
		return a[:]
	}
	return new([bufferSize]byte)[:]
}

// getPart returns a buffer of partBuffer bytes with any content.
func (b *buffers) getPart() []byte {
	if a, ok := b.part.Get().(*[partBuffer]byte); ok {
		return a[:]
	}
	return new([partBuffer]byte)[:]
}

// put takes a buffer back. Others than those that were lent are dropped.
func (b *buffers) put(p []byte) {
	switch cap(p) {
	case bufferSize:
		b.small.Put((*[bufferSize]byte)(p[:bufferSize]))
	case partBuffer:
		b.part.Put((*[partBuffer]byte)(p[:partBuffer]))
	}
}

// copyOf returns a copy of p, which is a buffer to be given back if lent is true.
func (b *buffers) copyOf(p []byte) (c []byte, lent bool) {
	switch {
	case len(p) <= bufferSize:
		return append(b.get()[:0], p...), true
	case len(p) <= partBuffer:
		return append(b.getPart()[:0], p...), true
	}
	return append([]byte(nil), p...), false
}
