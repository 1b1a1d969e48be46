package flyrpctest

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// Link is the way between clients and their server, with faults that a test injects while it
// is used. It is the Transport of another one, put into the Transports of ClientOpts or
// ServerOpts; Host.NewLink and NewLink make one. What is set holds for the connections that are open
// and for those that come, until it is set otherwise. All methods, and those of Up and Down, may
// be called concurrently.
//
// A connection is an ordered stream of bytes, so a network can't lose some of them and go on: what is
// lost is sent again, which takes time, or the connection is lost. The first is a delay here, or
// a partition that heals; the second is a cut, at a byte of the test's choice, or a reset.
type Link struct {
	// Up is what clients send, Down what the server sends.
	Up, Down *Way

	inner transport.Transport
	t     testing.TB // ends bridges; nil if there are none

	mu     sync.Mutex
	open   conns // the clients' ends; changed with mu held
	dials  int
	refuse error
	healed chan struct{} // closed when no partition is left; nil if nobody waits
}

var _ transport.Transport = (*Link)(nil)

// Way is one direction of a Link.
type Way struct {
	link *Link
	down bool

	// guarded by link.mu
	delay       time.Duration
	rate, chunk int
	partitioned bool
	cut         int64 // of the next connection; -1 for none
}

// NewLink returns a Link over another Transport, which serves that one's schemes. Over real
// sockets, say transport.TCP{}, each connection is bridged by two goroutines and at most 64 KiB of
// buffer in each direction, which end when the test does at the latest; so TLS is to be spoken
// below inner or above the Link. For a client of a Host use Host.NewLink.
func NewLink(t testing.TB, inner transport.Transport) *Link { return newLink(inner, t) }

func newLink(inner transport.Transport, t testing.TB) *Link {
	l := &Link{inner: inner, t: t}
	l.Up = &Way{link: l, cut: -1}
	l.Down = &Way{link: l, down: true, cut: -1}
	return l
}

// Schemes returns those of the Transport below.
func (l *Link) Schemes() []string { return l.inner.Schemes() }

// Dial connects over the Transport below. In a partition, of either direction, it waits until that is
// healed.
func (l *Link) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	if err := l.awaitHealed(ctx); err != nil {
		return nil, &net.OpError{Op: "dial", Net: addr.Scheme, Err: err}
	}
	nc, err := l.inner.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := l.end(nc)
	l.join(c, c.MemConn)
	l.mu.Lock()
	l.dials++
	l.mu.Unlock()
	return c, nil
}

// Listen listens at the Transport below; the connections it accepts go over the Link, Up being what they
// receive.
func (l *Link) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	inner, err := l.inner.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &linkListener{inner, l}, nil
}

// linkListener is a listener whose connections go over a Link.
type linkListener struct {
	net.Listener
	link *Link
}

// Accept waits for a connection.
func (l *linkListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := l.link.end(nc)
	l.link.join(c, c.MemConn.Peer())
	return c, nil
}

// end returns nc, or what bridges it, as a connection that faults can be injected into.
func (l *Link) end(nc net.Conn) *conn {
	if c, ok := nc.(*transport.MemConn); ok {
		return &conn{MemConn: c, local: c.LocalAddr(), remote: c.RemoteAddr(), closed: func() {}}
	}
	return bridge(l.t, nc)
}

// join takes c, whose client's end is up, to those that are open, as long as it is.
func (l *Link) join(c *conn, up *transport.MemConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.add(up)
	for _, w := range []*Way{l.Up, l.Down} {
		w.apply(w.of(up))
	}
	closed := c.closed
	c.closed = func() { l.open.remove(up); closed() }
}

// awaitHealed waits while there is a partition.
func (l *Link) awaitHealed(ctx context.Context) error {
	for {
		l.mu.Lock()
		if l.refuse != nil {
			defer l.mu.Unlock()
			return l.refuse
		}
		if !l.Up.partitioned && !l.Down.partitioned {
			l.mu.Unlock()
			return nil
		}
		if l.healed == nil {
			l.healed = make(chan struct{})
		}
		healed := l.healed
		l.mu.Unlock()
		select {
		case <-healed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// RefuseDials has Dial fail with err from now on, and nil lets it go on.
func (l *Link) RefuseDials(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = err
}

// Dials returns how many connections were dialled over the Link.
func (l *Link) Dials() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dials
}

// Partition parts the two sides: neither hears of the other any more, and Dial waits.
func (l *Link) Partition() {
	l.Up.SetPartition(true)
	l.Down.SetPartition(true)
}

// Heal ends the partitions of both directions: what was sent meanwhile arrives.
func (l *Link) Heal() {
	l.Up.SetPartition(false)
	l.Down.SetPartition(false)
}

// Reset resets the connections that are open: all that was sent and not yet read is lost, and both
// sides learn it at once, through every delay and partition.
func (l *Link) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, up := range l.open.list() {
		up.Reset()
		l.open.remove(up)
	}
}
