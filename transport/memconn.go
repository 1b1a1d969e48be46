package transport

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// DefaultPipeBuffer is the buffer of each direction of a Pipe, in bytes, unless
// PipeOptions says otherwise.
const DefaultPipeBuffer = 64 << 10

// PipeOptions are the options of a Pipe. The zero value is the default.
type PipeOptions struct {
	// Buffer bounds, in bytes, what each direction holds: what was written and
	// not yet read, in flight or arrived. A Write waits while it is full. The
	// memory is taken as it is needed. 0 or less means DefaultPipeBuffer.
	Buffer int
}

// MemConn is one end of a connection inside the process. It behaves as a TCP
// connection does, and the faults that its Set methods, CloseAfter and Reset
// inject affect what this end sends. All methods may run concurrently.
//
//   - Close lets the other end read what was written, and then io.EOF. Data not
//     yet read by this end is lost.
//   - Writing once the other end has closed gives syscall.ECONNRESET.
//   - After CloseWrite this end's writes give syscall.EPIPE.
//   - After a cut (CloseAfter) or Reset both ends' operations give
//     syscall.ECONNRESET; see there for what can still be read.
//   - Operations after this end's own Close, and those it interrupts, give
//     net.ErrClosed; a second Close as well.
//   - A passed deadline gives os.ErrDeadlineExceeded, even when data is there.
//
// All but io.EOF come in a *net.OpError, so errors.Is finds them. A connection
// starts no goroutine, and after both ends have closed no timer is left. It works
// inside a testing/synctest bubble: whoever waits is durably blocked.
type MemConn struct {
	local, remote MemAddr
	wire          *wire
	in, out       *half
	peer          *MemConn

	// guarded by the wire's lock
	closed              bool
	readTime, writeTime deadline
}

var (
	_ net.Conn  = (*MemConn)(nil)
	_ TryWriter = (*MemConn)(nil)
)

// Pipe returns the two ends of a connection: what one writes the other reads.
// opts may be nil.
func Pipe(opts *PipeOptions) (a, b *MemConn) {
	return newPipe(opts, "pipe#a", "pipe#b")
}

func newPipe(opts *PipeOptions, nameA, nameB MemAddr) (a, b *MemConn) {
	limit := DefaultPipeBuffer
	if opts != nil && opts.Buffer > 0 {
		limit = opts.Buffer
	}
	w := newWire(limit)
	a = &MemConn{local: nameA, remote: nameB, wire: w, out: &w.halves[0], in: &w.halves[1]}
	b = &MemConn{local: nameB, remote: nameA, wire: w, out: &w.halves[1], in: &w.halves[0]}
	a.peer, b.peer = b, a
	return a, b
}

// Read waits until something has arrived and takes as much of it as b holds. The
// end of what the other end sends is io.EOF.
func (c *MemConn) Read(b []byte) (int, error) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	for {
		n, err := c.read(b)
		if err == io.EOF {
			return 0, err
		}
		if err != nil {
			return 0, c.fail("read", err)
		}
		if n > 0 || len(b) == 0 {
			return n, nil
		}
		c.in.readable.Wait()
	}
}

// read takes what there is; 0 and nil mean that there is nothing yet.
func (c *MemConn) read(b []byte) (int, error) {
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.readTime.passed():
		return 0, os.ErrDeadlineExceeded
	case len(b) == 0:
		return 0, nil
	}
	n := c.in.take(b)
	switch {
	case n > 0:
		return n, nil
	case c.wire.broken:
		return 0, os.NewSyscallError("read", syscall.ECONNRESET)
	case c.in.eof:
		return 0, io.EOF
	}
	return 0, nil
}

// Write writes all of b, waiting while the buffer is full. Concurrent Writes go
// one after the other, never mixed. With an error, the first n bytes were taken.
// b is not kept.
func (c *MemConn) Write(b []byte) (n int, err error) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if err := c.beginWrite(); err != nil {
		return 0, c.fail("write", err)
	}
	defer c.endWrite()
	for {
		k, err := c.push(b[n:])
		n += k
		if err != nil {
			return n, c.fail("write", err)
		}
		if n == len(b) {
			return n, nil
		}
		c.out.writable.Wait()
	}
}

// TryWrite writes as much of b as fits into the buffer and returns how much that
// was, without ever waiting: see TryWriter. While a Write waits, nothing fits.
func (c *MemConn) TryWrite(b []byte) (int, error) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if c.out.writing {
		b = nil
	}
	n, err := c.push(b)
	if err != nil {
		return n, c.fail("write", err)
	}
	return n, nil
}

// beginWrite waits for other Writes to end. It uses the cond, not a mutex, so
// that deadlines and Close reach those who wait.
func (c *MemConn) beginWrite() error {
	for c.out.writing {
		if err := c.writeError(); err != nil {
			return err
		}
		c.out.writable.Wait()
	}
	c.out.writing = true
	return nil
}

func (c *MemConn) endWrite() {
	c.out.writing = false
	c.out.writable.Broadcast()
}

// push writes what fits now.
func (c *MemConn) push(b []byte) (n int, err error) {
	for {
		if err := c.writeError(); err != nil {
			return n, err
		}
		k := c.out.accept(b[n:])
		if n += k; k == 0 || n == len(b) {
			return n, nil
		}
	}
}

func (c *MemConn) writeError() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.writeTime.passed():
		return os.ErrDeadlineExceeded
	case c.wire.broken:
		return os.NewSyscallError("write", syscall.ECONNRESET)
	case c.out.ended:
		return os.NewSyscallError("write", syscall.EPIPE)
	case c.out.refused:
		return os.NewSyscallError("write", syscall.ECONNRESET)
	}
	return nil
}

// Close closes both directions and wakes whoever waits in Read or Write.
func (c *MemConn) Close() error {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.closed = true
	c.readTime.stop()
	c.writeTime.stop()
	c.in.abandon()
	c.out.finish(true)
	return nil
}

// CloseWrite ends what this end sends: the other end reads what was written, and
// then io.EOF. Reading goes on. Calling it again does nothing.
func (c *MemConn) CloseWrite() error {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	switch {
	case c.closed:
		return c.fail("close", net.ErrClosed)
	case c.wire.broken:
		return c.fail("close", syscall.ECONNRESET)
	case !c.out.ended:
		c.out.finish(false)
	}
	return nil
}

// LocalAddr returns this end's address, a MemAddr.
func (c *MemConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the other end's address, a MemAddr.
func (c *MemConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets the deadlines of reading and of writing.
func (c *MemConn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline bounds Reads, those that wait already included. A time that has
// passed wakes them; the zero time means no deadline.
func (c *MemConn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline bounds Writes, those that wait already included. A time that
// has passed wakes them; the zero time means no deadline.
func (c *MemConn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *MemConn) setDeadlines(t time.Time, read, write bool) error {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if c.closed {
		return c.fail("set", net.ErrClosed)
	}
	if read {
		c.readTime.reset(&c.in.readable, t)
	}
	if write {
		c.writeTime.reset(&c.out.writable, t)
	}
	return nil
}

func (c *MemConn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: schemeMem, Source: c.local, Addr: c.remote, Err: err}
}
