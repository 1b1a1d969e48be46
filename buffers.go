package flyrpc

import (
	"math/bits"
	"sync"
)

const (
	// bufferSize is the size in bytes of the buffers connections read into and gather
	// writes in. It holds the longest header with a body that is not large.
	bufferSize = 32 << 10
	// partBuffer is the size in bytes of the buffers for large payloads that are at most a part of something.
	partBuffer = 66 << 10
	// minLarge and maxLarge are the binary logarithms of the sizes of the buffers for larger ones.
	minLarge, maxLarge = 17, 26
)

// buffers lends buffers to the connections of one Server or Client.
type buffers struct {
	small, part sync.Pool
	large       [maxLarge - minLarge + 1]sync.Pool
}

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

// lend returns an empty buffer with room for n bytes.
func (b *buffers) lend(n int) []byte {
	class := max(bits.Len(uint(n-1)), minLarge)
	switch {
	case n <= bufferSize:
		return b.get()[:0]
	case n <= partBuffer:
		return b.getPart()[:0]
	case class > maxLarge:
		return make([]byte, 0, n)
	}
	if p, ok := b.large[class-minLarge].Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// put takes a buffer back. Others than those that were lent are dropped.
func (b *buffers) put(p []byte) {
	switch n := cap(p); {
	case n == bufferSize:
		b.small.Put((*[bufferSize]byte)(p[:bufferSize]))
	case n == partBuffer:
		b.part.Put((*[partBuffer]byte)(p[:partBuffer]))
	case n >= 1<<minLarge && n <= 1<<maxLarge && n&(n-1) == 0:
		lent := p // so that p itself needn't be on the heap
		b.large[bits.Len(uint(n))-1-minLarge].Put(&lent)
	}
}

// copyOf returns a copy of p in a buffer to be given back.
func (b *buffers) copyOf(p []byte) []byte { return append(b.lend(len(p)), p...) }
