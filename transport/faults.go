package transport

import "time"

// SetDelay makes what this end sends from now on, its end included, arrive d
// later. The order is kept, so nothing overtakes what was sent under a longer
// delay. 0 or less means no delay.
func (c *MemConn) SetDelay(d time.Duration) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.out.delay = max(d, 0)
}

// SetPartition holds, with on, everything this end sends, its end included: the
// other end sees silence. Writes succeed until the buffer is full and wait then.
// What has arrived already can still be read. With off, what was held arrives,
// when its delay is over. For silence in both directions set it on both ends.
func (c *MemConn) SetPartition(on bool) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.out.partitioned = on
	c.out.deliver()
}

// SetChunk makes the other end's Reads return at most n bytes each of what this
// end sends. 0 or less means no such bound.
func (c *MemConn) SetChunk(n int) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.out.chunk = max(n, 0)
}

// SetRate makes what this end sends from now on arrive at n bytes per second, as
// over a slow line, before any delay: bytes come in portions of a hundredth of a
// second, and not fewer than one. What is on its way counts against the buffer, so
// Writes are slowed down too. 0 or less means no such bound.
func (c *MemConn) SetRate(n int) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.out.rate = max(n, 0)
}

// Peer returns the other end, so that whoever has one end can inject faults in both
// directions.
func (c *MemConn) Peer() *MemConn { return c.peer }

// CloseAfter cuts the connection when n more bytes from this end have arrived,
// be it in the middle of a Write, which then returns how many bytes went through;
// with 0 at once. What has arrived at either end can still be read; then both
// ends' operations give syscall.ECONNRESET. What was still in flight, in both
// directions, is lost. A negative n takes the cut back.
func (c *MemConn) CloseAfter(n int64) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if c.wire.broken {
		return
	}
	c.out.left = max(n, -1)
	if n == 0 {
		c.wire.cut(false)
	}
}

// Reset cuts the connection at once, through every delay and partition. All data
// not yet read is lost, and both ends' operations give syscall.ECONNRESET. Each
// end is still to be closed.
func (c *MemConn) Reset() {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.wire.cut(true)
}
