package transport

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// udpSession is the accepting end of a session. It shares its listener's socket.
type udpSession struct {
	socket *udpSocket
	key    udpKey
	begun  time.Duration // when it was opened, from the socket's beginning

	heard atomic.Int64 // when something has come last, as begun

	mu          sync.Mutex
	arrived     sync.Cond
	in, queue   []*udpPacket // what has come, and what of it the next Reads take
	taken       int          // how many of queue are taken
	ended       bool         // the other end has closed
	idle        bool         // nothing came for too long
	closed      bool
	read, write deadline
}

var _ PacketConn = (*udpSession)(nil)

// put has a packet read, unless too many wait.
func (c *udpSession) put(age time.Duration, packet []byte) {
	c.heard.Store(int64(age))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.ended || !c.socket.mayQueue(len(c.in)+len(c.queue)-c.taken) {
		return
	}
	p := c.socket.bufs.Get().(*udpPacket)
	p.n = copy(p.b[:], packet)
	c.in = append(c.in, p)
	c.arrived.Signal()
}

// end says that the other end has closed.
func (c *udpSession) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.arrived.Broadcast()
}

// expire ends a session of which nothing comes.
func (c *udpSession) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = true
	c.arrived.Broadcast()
}

// MaxPacket returns UDPMaxPacket.
func (c *udpSession) MaxPacket() int { return UDPMaxPacket }

// Read takes one packet.
func (c *udpSession) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch p := c.next(); {
		case c.closed:
			return 0, c.fail("read", net.ErrClosed)
		case c.read.passed():
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		case p != nil:
			n := copy(b, p.b[:p.n])
			c.queue[c.taken] = nil
			c.taken++
			c.socket.unqueue(1)
			c.socket.bufs.Put(p)
			return n, nil
		case c.ended:
			return 0, io.EOF
		case c.idle:
			return 0, c.fail("read", errUDPIdle{c.socket.idleTimeout()})
		}
		c.arrived.Wait()
	}
}

// next returns the packet that is to be read next, or nil.
func (c *udpSession) next() *udpPacket {
	if c.taken == len(c.queue) {
		c.in, c.queue, c.taken = c.queue[:0], c.in, 0
	}
	if c.taken == len(c.queue) {
		return nil
	}
	return c.queue[c.taken]
}

// errUDPIdle ends a session of which nothing has come for so long.
type errUDPIdle struct{ timeout time.Duration }

func (e errUDPIdle) Error() string {
	return "nothing has come of the session for " + e.timeout.String()
}
func (e errUDPIdle) Timeout() bool        { return true }
func (e errUDPIdle) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// Write sends one packet.
func (c *udpSession) Write(b []byte) (int, error) {
	err := checkPacket(b)
	c.mu.Lock()
	switch {
	case c.closed:
		err = net.ErrClosed
	case c.write.passed():
		err = os.ErrDeadlineExceeded
	}
	c.mu.Unlock()
	if err != nil {
		return 0, c.fail("write", err)
	}
	c.send(&datagram{kind: udpData, id: c.key.id, packet: b})
	return len(b), nil
}

// send sends a datagram. One that can't be sent is as good as lost.
func (c *udpSession) send(d *datagram) {
	p := c.socket.bufs.Get().(*udpPacket)
	_, _ = c.socket.conn.WriteToUDPAddrPort(d.append(p.b[:0]), c.key.from)
	c.socket.bufs.Put(p)
}

// Close tells the other end, whom that may not reach, and closes the session.
func (c *udpSession) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.fail("close", net.ErrClosed)
	}
	c.closed = true
	waiting := len(c.in) + len(c.queue) - c.taken
	c.in, c.queue, c.taken = nil, nil, 0
	c.read.stop()
	c.write.stop()
	c.arrived.Broadcast()
	c.mu.Unlock()
	c.socket.unqueue(waiting)
	c.send(&datagram{kind: udpEnd, id: c.key.id})
	c.socket.forget(c)
	return nil
}

// fail returns the error of an operation.
func (c *udpSession) fail(op string, err error) error {
	return udpError(op, c.LocalAddr(), c.RemoteAddr(), err)
}

// LocalAddr returns the socket's address.
func (c *udpSession) LocalAddr() net.Addr { return c.socket.conn.LocalAddr() }

// RemoteAddr returns the client's address.
func (c *udpSession) RemoteAddr() net.Addr {
	from := c.key.from
	return &net.UDPAddr{IP: from.Addr().Unmap().AsSlice(), Port: int(from.Port()), Zone: from.Addr().Zone()}
}

// SetDeadline sets both deadlines.
func (c *udpSession) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.read, &c.write) }

// SetReadDeadline sets when Reads end.
func (c *udpSession) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.read) }

// SetWriteDeadline sets when Writes end.
func (c *udpSession) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.write) }

func (c *udpSession) setDeadlines(t time.Time, deadlines ...*deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fail("set deadline", net.ErrClosed)
	}
	for _, d := range deadlines {
		d.reset(&c.arrived, t)
	}
	return nil
}
