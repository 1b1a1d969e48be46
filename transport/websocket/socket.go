package websocket

import "github.com/go-flyrpc/flyrpc/transport"

// Socket returns a view of the connection that writes without blocking and waits without holding a buffer, as RawConn does
// for the socket below. There is none over TLS, and none if bytes have come together with
// the answer to the upgrade. What is said of RawConn holds for it, too.
func (c *Conn) Socket() (transport.Socket, bool) {
	if c.socket == nil {
		return nil, false
	}
	return &socket{c}, true
}

// socket is the view.
type socket struct{ c *Conn }

// TryWrite writes as much of b as goes without waiting.
func (s *socket) TryWrite(b []byte) (n int, err error) {
	c := s.c
	if !c.writeMu.TryLock() { // a ping is being answered
		return 0, nil
	}
	defer c.unlockWrite()
	if err := c.writable(); err != nil {
		return 0, err
	}
	for n < len(b) || len(c.out.due) > 0 {
		k, all, err := c.step(b[n:], opBinary, c.socket.TryWrite)
		n += k
		if err != nil {
			return n, c.writeFailed(err)
		}
		if !all {
			break
		}
	}
	return n, nil
}

// Read waits for bytes of binary messages and takes a buffer only when something has come.
func (s *socket) Read(get func() []byte, put func([]byte)) (b []byte, n int, err error) {
	c := s.c
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for {
		if err := c.ready(opBinary); err != nil {
			return nil, 0, err
		}
		b, n, err := c.socket.Read(get, put)
		if err != nil {
			return nil, 0, c.lost(err)
		}
		if n, err = c.takeApart(b[:n]); n > 0 {
			return b, n, nil
		}
		put(b)
		if err != nil {
			return nil, 0, err
		}
	}
}

// WaitReadable waits until something has come, if only a part of a frame.
func (s *socket) WaitReadable() error { return s.c.socket.WaitReadable() }

// Raw returns the socket below.
func (s *socket) Raw() *transport.RawConn { return s.c.socket }
