package flyrpc

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// packetEnd is one end of a connection of packets in memory, for bubbles of testing/synctest.
type packetEnd struct {
	name    transport.MemAddr
	peer    *packetEnd
	arrived chan []byte // nil for the end
	closed  chan struct{}
	closing sync.Once

	mu      sync.Mutex
	timer   *time.Timer
	expired chan struct{}
	// fate says for each packet that this end sends when each copy of it arrives: none if it is lost. nil means at once.
	fate func(b []byte) []time.Duration
}

// packetPipe returns the two ends of a connection of packets.
func packetPipe() (a, b *packetEnd) {
	end := func(name transport.MemAddr) *packetEnd {
		return &packetEnd{name: name, arrived: make(chan []byte, 1<<14), closed: make(chan struct{}), expired: make(chan struct{})}
	}
	a, b = end("a"), end("b")
	a.peer, b.peer = b, a
	return a, b
}

// setFate sets what becomes of what is sent from now on.
func (e *packetEnd) setFate(f func([]byte) []time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fate = f
}

func (e *packetEnd) MaxPacket() int       { return transport.UDPMaxPacket }
func (e *packetEnd) LocalAddr() net.Addr  { return e.name }
func (e *packetEnd) RemoteAddr() net.Addr { return e.peer.name }

func (e *packetEnd) Read(b []byte) (int, error) {
	e.mu.Lock()
	expired := e.expired
	e.mu.Unlock()
	select {
	case <-e.closed:
		return 0, net.ErrClosed
	case <-expired:
		return 0, os.ErrDeadlineExceeded
	default:
	}
	select {
	case p := <-e.arrived:
		if p == nil {
			return 0, io.EOF
		}
		return copy(b, p), nil
	case <-e.closed:
		return 0, net.ErrClosed
	case <-expired:
		return 0, os.ErrDeadlineExceeded
	}
}

func (e *packetEnd) Write(b []byte) (int, error) {
	select {
	case <-e.closed:
		return 0, net.ErrClosed
	default:
	}
	if len(b) == 0 || len(b) > e.MaxPacket() {
		return 0, os.ErrInvalid
	}
	e.mu.Lock()
	fate := e.fate
	e.mu.Unlock()
	copies := []time.Duration{0}
	if fate != nil {
		copies = fate(append([]byte(nil), b...))
	}
	for _, late := range copies {
		p := append([]byte(nil), b...)
		if late == 0 {
			e.arrive(p)
			continue
		}
		time.AfterFunc(late, func() { e.arrive(p) })
	}
	return len(b), nil
}

// arrive has the other end read p, unless too much waits there.
func (e *packetEnd) arrive(p []byte) {
	select {
	case e.peer.arrived <- p:
	default:
	}
}

func (e *packetEnd) Close() error {
	e.closing.Do(func() {
		close(e.closed)
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.fate == nil || len(e.fate(nil)) > 0 {
			e.arrive(nil)
		}
	})
	return nil
}

func (e *packetEnd) SetDeadline(t time.Time) error    { return e.SetReadDeadline(t) }
func (e *packetEnd) SetWriteDeadline(time.Time) error { return nil }

func (e *packetEnd) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	select {
	case <-e.expired:
		e.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return nil
	}
	expired := e.expired
	expire := sync.OnceFunc(func() { close(expired) })
	if d := time.Until(t); d > 0 {
		e.timer = time.AfterFunc(d, expire)
	} else {
		expire()
	}
	return nil
}

// packetPair has srv serve a client over packets in memory. Both are closed with the test; end is the client's end.
func packetPair(t testing.TB, srv *Server, opts *ClientOpts) (cli *Client, end *packetEnd) {
	t.Helper()
	a, b := packetPipe()
	served := make(chan struct{})
	go func() { defer close(served); srv.ServeConn(b) }()
	cli = NewClientConn(a, opts)
	t.Cleanup(func() { cli.Close(); srv.Close(); <-served })
	return cli, a
}

// lossy returns the fate of packets of which a share is lost, and the others come up to late later, in any order, some of them
// twice.
func lossy(seed uint64, share float64, late time.Duration) func([]byte) []time.Duration {
	var mu sync.Mutex
	chance := rand.New(rand.NewPCG(seed, 1))
	return func([]byte) []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		var copies []time.Duration
		for chance.Float64() >= share && len(copies) < 2 {
			copies = append(copies, time.Duration(chance.Int64N(int64(late)+1)))
			if chance.Float64() < 0.8 {
				break
			}
		}
		return copies
	}
}

// lost is the fate of what never arrives.
func lost([]byte) []time.Duration { return nil }
