package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const networkPipe = "pipe"

// FileAddr is the address of a connection over pipes: what was given to
// NewFileConn.
type FileAddr string

// Network returns "pipe".
func (FileAddr) Network() string { return networkPipe }

// String returns the address.
func (a FileAddr) String() string { return string(a) }

// FileConn is a connection over two files, one to read from and one to write to,
// as the two pipes between a program and its child are. All methods may run
// concurrently.
type FileConn struct {
	in, out       *os.File
	local, remote FileAddr

	mu     sync.Mutex
	ended  bool // out is closed
	closed bool
}

// NewFileConn returns a connection that reads from in and writes to out, which
// belong to it from then on. They have to be pipes, sockets or terminals that
// support deadlines, as those of os.Pipe do on Unix systems: else it returns an
// error that matches os.ErrNoDeadline, and the files are still the caller's. local
// and remote are what the addresses are to say.
func NewFileConn(in, out *os.File, local, remote string) (*FileConn, error) {
	for _, f := range []*os.File{in, out} {
		if err := f.SetDeadline(time.Time{}); err != nil {
			return nil, fmt.Errorf("transport: a connection over %s is not possible: %w", f.Name(), err)
		}
	}
	return &FileConn{in: in, out: out, local: FileAddr(local), remote: FileAddr(remote)}, nil
}

// Read waits until something has arrived and takes as much of it as b holds. The
// end of what the other end sends is io.EOF.
func (c *FileConn) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, c.fail("read", err)
}

// Write writes all of b, waiting while the pipe is full. Concurrent Writes go one
// after the other, never mixed.
func (c *FileConn) Write(b []byte) (int, error) {
	n, err := c.out.Write(b)
	if err != nil {
		return n, c.fail("write", err)
	}
	return n, nil
}

// CloseWrite closes the file written to: the other end reads what was written,
// and then io.EOF. Calling it again does nothing.
func (c *FileConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failure("close", net.ErrClosed)
	}
	if c.ended {
		return nil
	}
	c.ended = true
	return c.out.Close()
}

// Close closes both files and wakes whoever waits in Read or Write.
func (c *FileConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failure("close", net.ErrClosed)
	}
	c.closed = true
	var err error
	if !c.ended {
		err = c.out.Close()
	}
	return errors.Join(err, c.in.Close())
}

// LocalAddr returns this end's address, a FileAddr.
func (c *FileConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the other end's address, a FileAddr.
func (c *FileConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets the deadlines of reading and of writing.
func (c *FileConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds Reads, those that wait already included.
func (c *FileConn) SetReadDeadline(t time.Time) error {
	if err := c.in.SetReadDeadline(t); err != nil {
		return c.fail("set", err)
	}
	return nil
}

// SetWriteDeadline bounds Writes, those that wait already included.
func (c *FileConn) SetWriteDeadline(t time.Time) error {
	err := c.out.SetWriteDeadline(t)
	if err != nil && !c.halfClosed() { // then there is nothing to bound
		return c.fail("set", err)
	}
	return nil
}

// halfClosed reports whether CloseWrite was called and Close was not.
func (c *FileConn) halfClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended && !c.closed
}

// fail returns a file's error as that of a connection.
func (c *FileConn) fail(op string, err error) error {
	c.mu.Lock()
	closed, ended := c.closed, c.ended
	c.mu.Unlock()
	var path *os.PathError
	switch {
	case closed:
		err = net.ErrClosed
	case ended && errors.Is(err, os.ErrClosed):
		err = os.NewSyscallError("write", syscall.EPIPE)
	case errors.As(err, &path):
		err = path.Err
	}
	return c.failure(op, err)
}

func (c *FileConn) failure(op string, err error) error {
	return &net.OpError{Op: op, Net: networkPipe, Source: c.local, Addr: c.remote, Err: err}
}
