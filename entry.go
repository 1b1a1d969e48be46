package flyrpc

import (
	"errors"
	"net"
	"time"

	"github.com/go-flyrpc/flyrpc/transport/websocket"
)

// errForeign is how the reader of a connection ends whose first byte begins another protocol than packets:
// HTTP, or JSON commands.
var errForeign = errors.New("flyrpc: the connection's first byte begins another protocol than packets")

// isHTTP reports whether a byte is the first of an HTTP/1 method: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT. As the
// first byte of a packet it would be a message with flags of a connection that said no hello.
func isHTTP(first byte) bool {
	switch first {
	case 'D', 'G', 'H', 'O', 'P':
		return true
	}
	return false
}

// isCommand reports whether a byte begins a JSON command.
func isCommand(first byte) bool { return first == '{' }

// foreign reports whether the first byte of a connection begins a protocol, other than packets and TLS, that
// the server speaks.
func (s *Server) foreign(first byte) bool {
	return isHTTP(first) && !s.opts.NoHTTP || isCommand(first) && !s.opts.NoCommands
}

// handOver ends a Conn whose first byte begins another protocol, and gives its transport's connection to that. If
// OnConnect has run for it, because it was silent at first, OnDisconnect does too. The caller is the reader. It reports
// false, and does nothing, if the server is stopping.
func (c *Conn) handOver() bool {
	s, in := c.srv, &c.proto.in
	e := &entrant{srv: s, conn: c.proto.conn, pass: c.pass, over: c.over, begun: append([]byte{}, in.buf[in.r:in.w]...)}
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return false
	}
	s.entrants[e] = struct{}{}
	s.mu.Unlock()
	if c.silent != nil {
		c.silent.Stop()
	}
	c.over = nil
	c.handedOver.Store(true)
	c.close(net.ErrClosed)
	e.spoken = c.proto.out.worked() > 0
	in.release()
	s.ep.parking.forget(c)
	close(c.ended)
	s.ending(c)
	s.ep.workers.Go(e, nil)
	return true
}

// serveForeign has a connection served that begins with a protocol other than packets.
func (e *entrant) serveForeign(nc net.Conn, begun []byte) error {
	if e.spoken {
		return errors.New("flyrpc: a client that was silent, and so was taken for a version 1 peer and sent a packet, speaks another protocol")
	}
	if err := nc.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if c, ok := nc.(*websocket.Conn); ok {
		return e.serveTexts(c)
	}
	nc = &begunConn{nc, begun}
	if isCommand(begun[0]) {
		return e.serveCommands(nc)
	}
	return e.serveHTTP(nc)
}

// leaveDoor says that the connection is let in: whoever serves it gives its pass back and closes over when it has ended.
// It reports false if the server is stopping, which has closed the connection.
func (e *entrant) leaveDoor() bool {
	e.srv.mu.Lock()
	defer e.srv.mu.Unlock()
	if e.srv.stopping {
		return false
	}
	e.past = true
	return true
}

// startAs has a connection served whose bytes are packets that nc makes of another protocol. The handshake is done: m
// is what it has come to, and id the client's identity. It returns nil if the server is stopping.
func (s *Server) startAs(nc net.Conn, p pass, over chan struct{}, m *mode, id any) *Conn {
	c := s.newConn(nc, p, over)
	c.identity = id
	if !s.enrol(c) {
		return nil
	}
	c.settle(m)
	if err := c.unhurried(); err != nil {
		c.handed = &handed{err: err}
	}
	if t, ok := nc.(*commandConn); ok && t.begun() {
		c.eager = true
	} else {
		s.connected(c)
	}
	c.startReading()
	return c
}
