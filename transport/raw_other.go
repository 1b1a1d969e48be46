//go:build !unix

package transport

import (
	"errors"
	"net"
)

// RawConn works on the socket below a net.Conn. This system has none: Raw never
// returns one.
type RawConn struct{}

var _ Socket = (*RawConn)(nil)

// Raw returns nil and false on this system. Use the net.Conn's own Write and
// Read.
func Raw(net.Conn) (*RawConn, bool) { return nil, false }

// TryWrite gives errors.ErrUnsupported.
func (*RawConn) TryWrite([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Read gives errors.ErrUnsupported.
func (*RawConn) Read(func() []byte, func([]byte)) ([]byte, int, error) {
	return nil, 0, errors.ErrUnsupported
}

// WaitReadable gives errors.ErrUnsupported.
func (*RawConn) WaitReadable() error { return errors.ErrUnsupported }

// Raw returns r itself.
func (r *RawConn) Raw() *RawConn { return r }
