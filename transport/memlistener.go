package transport

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// memListener is a name in a Mem, with the connections dialed and not accepted.
type memListener struct {
	mem     *Mem
	name    MemAddr
	backlog chan *MemConn
	done    chan struct{}
	close   sync.Once
}

func newMemListener(m *Mem, name MemAddr) *memListener {
	return &memListener{
		mem:     m,
		name:    name,
		backlog: make(chan *MemConn, MemBacklog),
		done:    make(chan struct{}),
	}
}

// Accept waits for a connection and returns it, a *MemConn. After Close it gives
// net.ErrClosed.
func (l *memListener) Accept() (net.Conn, error) {
	if l.isClosed() {
		return nil, memError("accept", l.name, net.ErrClosed)
	}
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, memError("accept", l.name, net.ErrClosed)
	}
}

// Close frees the name, wakes Accept, and resets the connections that were not
// accepted.
func (l *memListener) Close() error {
	err := memError("close", l.name, net.ErrClosed)
	l.close.Do(func() {
		err = nil
		l.mem.remove(l)
		close(l.done)
		l.drain()
	})
	return err
}

// Addr returns the name, a MemAddr.
func (l *memListener) Addr() net.Addr { return l.name }

// offer puts c into the backlog.
func (l *memListener) offer(ctx context.Context, c *MemConn) error {
	select {
	case l.backlog <- c:
	case <-l.done:
		return syscall.ECONNREFUSED
	case <-ctx.Done():
		return ctx.Err()
	}
	// Close may have drained the backlog just before c got in.
	if l.isClosed() {
		l.drain()
	}
	return nil
}

func (l *memListener) isClosed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *memListener) drain() {
	for {
		select {
		case c := <-l.backlog:
			c.Reset()
			_ = c.Close()
		default:
			return
		}
	}
}
