package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// udpOpenFor is how long a client waits for its cookie at most.
	udpOpenFor = 10 * time.Second
	// udpOpenFirst is how long it waits before it asks again, which doubles each time up to udpOpenMost.
	udpOpenFirst = 250 * time.Millisecond
	udpOpenMost  = 2 * time.Second
)

// udpClient is the dialling end of a session. It has a socket of its own.
type udpClient struct {
	conn   *net.UDPConn
	head   datagram    // what is sent before each packet: udpFirst, with the cookie, or udpData
	known  atomic.Bool // the server has the session: something has come
	closed atomic.Bool

	readMu sync.Mutex
	in     [maxDatagram + 1]byte
	ended  bool // the other end has closed

	writeMu sync.Mutex
	out     [maxDatagram]byte
}

// dialUDP opens a session with the server at an address, which errors call host.
func dialUDP(ctx context.Context, addr, host string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	c := &udpClient{conn: nc.(*net.UDPConn)}
	if err := c.open(ctx, host); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// open gets a cookie of the server at host.
func (c *udpClient) open(ctx context.Context, host string) error {
	c.head.kind = udpOpen
	_, _ = rand.Read(c.head.nonce[:]) // it never fails
	opening := c.head.append(nil)
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	begun := time.Now()
	for wait := udpOpenFirst; ; wait = min(2*wait, udpOpenMost) {
		if _, err := c.conn.Write(opening); err != nil {
			return nobodyAt(host, err)
		}
		if err := c.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		var err error
		if ctx.Err() == nil {
			err = c.awaitCookie()
		}
		switch {
		case ctx.Err() != nil:
			return udpError("dial", nil, c.conn.RemoteAddr(), ctx.Err())
		case err == nil && stop():
			return c.conn.SetReadDeadline(time.Time{})
		case err == nil: // ctx ends just now
			continue
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nobodyAt(host, err)
		case time.Since(begun) >= udpOpenFor:
			return nobodyAt(host, fmt.Errorf("no answer within %v: %w", udpOpenFor, os.ErrDeadlineExceeded))
		}
	}
}

// nobodyAt says that nobody serves at an address.
func nobodyAt(host string, err error) error {
	return fmt.Errorf("transport: dialling udp://%s: %w", host, err)
}

// awaitCookie waits for the answer to what opens the session.
func (c *udpClient) awaitCookie() error {
	for {
		n, err := c.conn.Read(c.in[:])
		if err != nil {
			return err
		}
		if d, ok := parseDatagram(c.in[:n]); ok && d.kind == udpCookie && d.nonce == c.head.nonce {
			d.kind = udpFirst
			c.head = d
			return nil
		}
	}
}

// MaxPacket returns UDPMaxPacket.
func (c *udpClient) MaxPacket() int { return UDPMaxPacket }

// Read takes one packet. What isn't of the session is dropped.
func (c *udpClient) Read(b []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for !c.ended {
		n, err := c.conn.Read(c.in[:])
		if err != nil {
			return 0, err
		}
		d, ok := parseDatagram(c.in[:n])
		if !ok || d.id != c.head.id {
			continue
		}
		switch d.kind {
		case udpEnd:
			c.ended = true
		case udpData:
			c.known.Store(true)
			return copy(b, d.packet), nil
		}
	}
	return 0, io.EOF
}

// Write sends one packet.
func (c *udpClient) Write(b []byte) (int, error) {
	if err := checkPacket(b); err != nil {
		return 0, udpError("write", c.LocalAddr(), c.RemoteAddr(), err)
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	d := c.head
	if d.packet = b; c.known.Load() {
		d.kind = udpData
	}
	_, err := c.conn.Write(d.append(c.out[:0]))
	if err = lasting(err); err != nil {
		return 0, err
	}
	return len(b), nil
}

// checkPacket says why b can't be sent as a packet.
func checkPacket(b []byte) error {
	if n := len(b); n == 0 || n > UDPMaxPacket {
		return fmt.Errorf("a packet over UDP has 1 to %d bytes, not %d: %w", UDPMaxPacket, n, os.ErrInvalid)
	}
	return nil
}

// lasting returns err unless it only says that a datagram could not be sent now, which is then as good as lost.
func lasting(err error) error {
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ECONNREFUSED):
		return err
	}
	return nil
}

// Close tells the other end, whom that may not reach, and closes the session.
func (c *udpClient) Close() error {
	if !c.closed.Swap(true) {
		end := datagram{kind: udpEnd, id: c.head.id}
		_ = c.conn.SetWriteDeadline(time.Time{})
		_, _ = c.conn.Write(end.append(nil))
	}
	return c.conn.Close()
}

// LocalAddr returns the socket's address.
func (c *udpClient) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns the server's address.
func (c *udpClient) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline sets both deadlines.
func (c *udpClient) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// SetReadDeadline sets when Reads end.
func (c *udpClient) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline sets when Writes end.
func (c *udpClient) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

var _ PacketConn = (*udpClient)(nil)
