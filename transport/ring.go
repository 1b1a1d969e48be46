package transport

// ring is a queue of bytes. Its memory grows with what it holds, by doubling; it
// has no bound of its own, its user keeps one.
type ring struct {
	buf  []byte
	head int // where the oldest byte is
	n    int // how many bytes it holds
}

const minRing = 1 << 10

// push appends b.
func (r *ring) push(b []byte) {
	if need := r.n + len(b); need > len(r.buf) {
		r.grow(max(need, 2*len(r.buf), minRing))
	}
	tail := r.head + r.n
	if tail >= len(r.buf) {
		tail -= len(r.buf)
	}
	k := copy(r.buf[tail:], b)
	copy(r.buf, b[k:])
	r.n += len(b)
}

// pop fills b with the oldest bytes; it must hold that many.
func (r *ring) pop(b []byte) {
	k := copy(b, r.buf[r.head:])
	copy(b[k:], r.buf)
	if r.n -= len(b); r.n == 0 {
		r.head = 0
	} else if r.head += len(b); r.head >= len(r.buf) {
		r.head -= len(r.buf)
	}
}

// keep forgets all but the n oldest bytes; with 0 it lets go of its memory.
func (r *ring) keep(n int) {
	if n == 0 {
		*r = ring{}
	}
	r.n = n
}

func (r *ring) grow(size int) {
	buf := make([]byte, size)
	k := copy(buf[:r.n], r.buf[r.head:])
	copy(buf[k:r.n], r.buf)
	r.buf, r.head = buf, 0
}
