package websocket

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// DefaultReadLimit is the most bytes of a message that is accepted, unless the options say otherwise.
const DefaultReadLimit = 1 << 20

// closeWait is how long closing tries to tell the other end.
const closeWait = time.Second

// Conn is a WebSocket. As a net.Conn it is a stream of bytes in binary messages, as package transport wants
// one: Read returns what they hold without borders. Each Write is a message of its own, or several of at most 64 KiB;
// StartMessage has several Writes make one.
//
// The first message that comes decides: if it is a text, Read fails with ErrText, and the connection is for ReadText
// and WriteText. A message of the other kind later is an error, and closes the connection with code 1003.
//
// Pings are answered while somebody reads, and pongs are dropped. Read returns io.EOF when the other end has closed the
// connection in order: by a close frame with code 1000, 1001 or none. Any other code gives a *CloseError, and
// a connection that ends without a close frame an error that matches io.ErrUnexpectedEOF. An
// error of Read other than that of a deadline stays, and Close then tells the other end what was wrong, if it was this end that found it.
//
// All methods may run concurrently, except that StartMessage, SetReadLimit, SetTextLimit and SetTextWait say otherwise.
//
// A connection over a TCP socket that nobody reads from or writes to holds less than 1 KiB and the request's header, beside the
// socket: see Socket and Trim.
type Conn struct {
	nc     net.Conn
	socket *transport.RawConn // below nc, or nil
	client bool               // this end masks what it sends
	header http.Header        // of the upgrade

	readMu  sync.Mutex
	in      decoder
	kind    byte              // what the first message was: opText, opBinary, or 0
	unread  []byte            // has come and wasn't taken apart yet
	text    []byte            // of a text message that hasn't come as a whole
	waits   func(n int) error // SetTextWait's; may be nil
	readErr error             // stays

	writeMu   sync.Mutex
	out       encoder
	pinged    atomic.Pointer[[]byte] // the payload of a ping that is to be answered
	answering atomic.Bool            // a goroutine does that
	planned   atomic.Int64           // bytes of the message that begins with the next Write; 0 if not known

	closeMu   sync.Mutex
	closing   CloseError // what the close frame will say
	isClosed  atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

var _ net.Conn = (*Conn)(nil)

// newConn returns the connection that an upgrade of nc has made. rest is what has come behind the upgrade.
func newConn(nc net.Conn, client bool, header http.Header, limit int, rest []byte) *Conn {
	c := &Conn{nc: nc, client: client, header: header, unread: rest, closing: CloseError{Code: CloseNormal}}
	c.in.masked = !client
	c.SetReadLimit(limit)
	c.SetTextLimit(limit)
	if raw, ok := transport.Raw(nc); ok && len(rest) == 0 {
		c.socket = raw
	}
	return c
}

// SetReadLimit sets how many bytes a binary message that is read may have: DefaultReadLimit if n is 0 or less. It holds from the
// next frame on. It may not be called while a Read or ReadText runs.
func (c *Conn) SetReadLimit(n int) { c.in.limit = limitOf(n) }

// SetTextLimit does for text messages what SetReadLimit does for binary ones.
func (c *Conn) SetTextLimit(n int) { c.in.textLimit = limitOf(n) }

// SetTextWait has before called whenever ReadText is about to wait for bytes, with the number of those that have come of a message that isn't
// complete, and one more for what there is of a frame: 0 between messages. So before may set a read deadline. Its error is
// returned by ReadText, which may be repeated. SetTextWait may not be called while a Read or ReadText runs.
func (c *Conn) SetTextWait(before func(n int) error) { c.waits = before }

func limitOf(n int) uint64 {
	if n <= 0 {
		return DefaultReadLimit
	}
	return uint64(n)
}

// Header returns the header of the HTTP request that the connection began with, on the accepting end,
// and of the answer to it on the dialling end. It must not be changed.
func (c *Conn) Header() http.Header { return c.header }

// NetConn returns the connection below. It must neither be read nor written.
func (c *Conn) NetConn() net.Conn { return c.nc }

// LocalAddr returns the address of this end of the connection below.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr returns the address of the other end of the connection below, which may be that of a proxy.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// SetDeadline sets the deadlines of reading and of writing.
func (c *Conn) SetDeadline(t time.Time) error { return c.nc.SetDeadline(t) }

// SetReadDeadline bounds Read and ReadText. Both can be repeated after it.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// SetWriteDeadline bounds Write and WriteText. A Write can go on after it with the bytes that
// it didn't take, unless the connection below is one of TLS. After a WriteText that it has interrupted nothing more can be written.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }

// SetClose sets the code and the reason that CloseWrite and Close send to the other end: CloseNormal and none
// otherwise. What Read has found wrong precedes it. The code is one that a close frame may have: 1000 to 1003,
// 1007 to 1014 or 3000 to 4999; others count as CloseNormal. A reason is cut at 123 bytes.
func (c *Conn) SetClose(code int, reason string) {
	if !mayBeSent(code) {
		code = CloseNormal
	}
	c.closeMu.Lock()
	defer c.closeMu.Unlock()
	if !c.closing.local {
		c.closing = CloseError{Code: code, Reason: reason}
	}
}

// Close sends a close frame, if that is possible within a second and no message is half sent, and closes the
// connection below.
func (c *Conn) Close() error {
	c.closeOnce.Do(func() {
		c.isClosed.Store(true)
		timer := time.AfterFunc(closeWait, func() { c.nc.Close() })
		defer timer.Stop()
		if !c.writeMu.TryLock() { // a Write is about to end, or waits
			_ = c.nc.SetWriteDeadline(time.Unix(1, 0))
			c.writeMu.Lock()
		}
		_ = c.nc.SetWriteDeadline(time.Now().Add(closeWait))
		err := c.sendClose()
		c.writeMu.Unlock()
		if t, ok := c.nc.(*transport.TLSConn); ok && err != nil { // which would wait once more to say the same
			t.NetConn().Close()
		}
		c.closeErr = c.nc.Close()
	})
	if errors.Is(c.closeErr, net.ErrClosed) {
		return nil
	}
	return c.closeErr
}

// CloseWrite sends a close frame: the other end reads io.EOF. Nothing can be written afterwards, and
// reading goes on: another FlyRPC still sends what it has, others are free to close at once. When
// the other end takes nothing for a second, the connection is closed.
func (c *Conn) CloseWrite() error {
	timer := time.AfterFunc(closeWait, func() { c.nc.Close() })
	defer timer.Stop()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.isClosed.Load() {
		return c.fail("close", net.ErrClosed)
	}
	return c.sendClose()
}

// Trim lets go of memory that is made again by the next Write. It does nothing while one runs.
func (c *Conn) Trim() {
	if c.writeMu.TryLock() {
		c.out.scratch = nil
		c.writeMu.Unlock()
	}
}

// fail wraps err as package net does.
func (c *Conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "websocket", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
