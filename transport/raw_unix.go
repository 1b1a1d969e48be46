//go:build unix

package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// RawConn works on the socket below a net.Conn: it writes without ever blocking,
// and it waits for data without holding a buffer. The net.Conn goes on to work,
// and its deadlines and its Close apply here too.
//
// One reader and one writer may run concurrently. The caller serializes TryWrite
// with itself and with the net.Conn's Write, and Read and WaitReadable with each other, with
// themselves and with the net.Conn's Read. TryWrite and Read don't allocate unless they return an error.
type RawConn struct {
	conn net.Conn
	raw  syscall.RawConn
	out  rawWrite
	in   rawRead
}

var _ Socket = (*RawConn)(nil)

// Raw returns the RawConn of c, or false when c has none. It has one when c is a
// *net.TCPConn, or a *net.UnixConn of network "unix", on a Unix system. Another
// type that embeds one of those has none, since what its own Read and Write do
// must not be passed by.
//
// Of a TCP connection Raw bounds what the system holds unsent to 128 KiB, on Linux.
//
// Raw relies on the socket being nonblocking, as package net makes it. It
// must stay so: don't call Fd on a file that c's File method returned.
func Raw(c net.Conn) (*RawConn, bool) {
	var sc syscall.Conn
	switch c := c.(type) {
	case *net.TCPConn:
		sc = c
	case *net.UnixConn:
		sc = c
	default:
		return nil, false
	}
	raw, err := sc.SyscallConn()
	if err != nil || !isStream(raw) {
		return nil, false
	}
	if _, tcp := c.(*net.TCPConn); tcp {
		limitUnsent(raw)
	}
	r := &RawConn{conn: c, raw: raw}
	r.out.try = r.out.attempt
	r.in.try = r.in.attempt
	return r, true
}

func isStream(raw syscall.RawConn) bool {
	var kind int
	var failure error
	err := raw.Control(func(fd uintptr) {
		kind, failure = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TYPE)
	})
	return err == nil && failure == nil && kind == syscall.SOCK_STREAM
}

// maxTransfer bounds one system call: some systems refuse 2 GiB.
const maxTransfer = 1 << 30

// rawWrite is the state of a TryWrite. It lives in the RawConn, and try is made
// once, so that a call needs no memory.
type rawWrite struct {
	data []byte
	n    int
	err  error
	try  func(fd uintptr) bool
}

func (w *rawWrite) attempt(fd uintptr) bool {
	for {
		w.n, w.err = syscall.Write(int(fd), w.data)
		if w.err != syscall.EINTR {
			return true
		}
	}
}

// TryWrite makes one attempt to write b and returns how many bytes the socket
// took; 0 and a nil error mean that its buffer is full. It never waits. b is not
// kept. Errors are as those of net.Conn's Write.
func (r *RawConn) TryWrite(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	w := &r.out
	w.data = b[:min(len(b), maxTransfer)]
	err := r.raw.Write(w.try)
	n, failure := max(w.n, 0), w.err
	w.data, w.n, w.err = nil, 0, nil
	switch {
	case err != nil:
		return 0, r.fail("write", err)
	case failure == syscall.EAGAIN:
		return 0, nil
	case failure != nil:
		return 0, r.fail("write", os.NewSyscallError("write", failure))
	}
	return n, nil
}

// rawRead is the state of a Read, kept as rawWrite is.
type rawRead struct {
	get func() []byte
	put func([]byte)
	buf []byte
	n   int
	err error
	try func(fd uintptr) bool
}

func (d *rawRead) attempt(fd uintptr) bool {
	b := d.get()
	if len(b) == 0 {
		d.put(b)
		d.err = io.ErrShortBuffer
		return true
	}
	for {
		d.n, d.err = syscall.Read(int(fd), b[:min(len(b), maxTransfer)])
		if d.err != syscall.EINTR {
			break
		}
	}
	if d.err == nil && d.n > 0 {
		d.buf = b
		return true
	}
	d.put(b)
	return d.err != syscall.EAGAIN
}

// Read waits until the socket has data, takes a buffer with get, and fills it
// with what there is: n bytes, at least one. The buffer is the caller's then.
// Every other buffer taken on the way has gone back through put, so with an
// error there is none to give back. get returns a buffer of at least one byte
// and, as put, doesn't block and doesn't use the connection.
//
// The end of the data is io.EOF; other errors are as those of net.Conn's Read. To
// read on into a partly filled buffer, use the net.Conn's Read.
func (r *RawConn) Read(get func() []byte, put func([]byte)) (b []byte, n int, err error) {
	d := &r.in
	d.get, d.put = get, put
	err = r.raw.Read(d.try)
	b, n, failure := d.buf, d.n, d.err
	d.get, d.put, d.buf, d.n, d.err = nil, nil, nil, 0, nil
	switch {
	case err != nil:
		return nil, 0, r.fail("read", err)
	case b != nil:
		return b, n, nil
	case failure == nil:
		return nil, 0, io.EOF
	case failure == io.ErrShortBuffer:
		return nil, 0, failure
	}
	return nil, 0, r.fail("read", os.NewSyscallError("read", failure))
}

// WaitReadable waits until Read wouldn't: there is data, or its end. It takes nothing
// off the socket but an error that waits there, which it returns as Read would. It needs so little stack that
// a goroutine that does nothing else keeps the smallest.
func (r *RawConn) WaitReadable() error {
	var peeked [1]byte
	var failure error
	err := r.raw.Read(func(fd uintptr) bool {
		for {
			_, _, failure = syscall.Recvfrom(int(fd), peeked[:], syscall.MSG_PEEK)
			if failure != syscall.EINTR {
				return failure != syscall.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return r.fail("read", err)
	case failure != nil:
		return r.fail("read", os.NewSyscallError("recvfrom", failure))
	}
	return nil
}

// Raw returns r itself.
func (r *RawConn) Raw() *RawConn { return r }

// fail wraps err as package net does. What syscall.RawConn returns is wrapped
// already, under another operation's name.
func (r *RawConn) fail(op string, err error) error {
	var wrapped *net.OpError
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	local := r.conn.LocalAddr()
	return &net.OpError{Op: op, Net: local.Network(), Source: local, Addr: r.conn.RemoteAddr(), Err: err}
}
