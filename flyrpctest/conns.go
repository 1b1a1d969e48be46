package flyrpctest

import (
	"net"
	"slices"
	"sync"

	"github.com/go-flyrpc/flyrpc/transport"
)

// conn is an end of a connection whose Host or Link gets to know that it was closed.
type conn struct {
	*transport.MemConn
	local, remote net.Addr
	closed        func() // may be called again
}

// LocalAddr returns the address of this end.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// Close closes this end.
func (c *conn) Close() error {
	err := c.MemConn.Close()
	c.closed()
	return err
}

// conns are connections that are open, in the order in which they were opened. The zero value
// has none.
type conns struct {
	mu   sync.Mutex
	open []*transport.MemConn
}

func (s *conns) add(c *transport.MemConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, c)
}

func (s *conns) remove(c *transport.MemConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.open, c); i >= 0 {
		s.open = slices.Delete(s.open, i, i+1)
	}
}

func (s *conns) list() []*transport.MemConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.open)
}
