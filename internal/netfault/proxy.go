// Package netfault has a TCP proxy for tests that does to connections what networks do. It
// stands between real sockets on loopback; for connections in memory, and time that a test
// moves, package flyrpctest has Link.
package netfault

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Faults are what a Proxy does to the connections that are open, and to those that come. The zero value is a network
// without faults. Up is from the client to the target, down the other way.
type Faults struct {
	// Latency is how much later everything arrives, in each direction. At most 64 reads of 16 KiB are under way;
	// whoever sends more waits.
	Latency time.Duration
	// Slice is how many bytes are written at once at most. Between two slices is a pause of 50 µs or, as the system has it, a little
	// more. Default: as they come.
	Slice int
	// Hold keeps everything until it is taken back: then it arrives, in order.
	Hold bool
	// LoseUp and LoseDown throw away what arrives in one direction, the end of the connection included: with one of them it is half open. TCP never
	// goes on after a gap, so a direction that has lost something loses all that follows, whatever Set says later.
	LoseUp, LoseDown bool
	// BlackHole is both, and new connections don't even reach the target.
	BlackHole bool
	// Refuse has new connections refused, as if nobody listened. Those that are open go on.
	Refuse bool
}

// Proxy carries connections from its own address to a target. All methods may be called concurrently.
type Proxy struct {
	addr string
	ctx  context.Context // ends when the Proxy is closed
	stop context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	target  string
	faults  Faults
	changed chan struct{} // closed when faults change
	l       net.Listener  // nil while it refuses
	pairs   map[*pair]struct{}
	lost    int
}

// Listen starts a Proxy on a free port of 127.0.0.1, that carries to target, a host:port. Close must be called.
func Listen(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("netfault: %w", err)
	}
	p := &Proxy{addr: l.Addr().String(), target: target, changed: make(chan struct{}), pairs: map[*pair]struct{}{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.serve(l)
	return p, nil
}

// Addr returns the host:port that clients dial. It stays the same.
func (p *Proxy) Addr() string { return p.addr }

// SetTarget has the connections that come carried to another host:port, as that of a server that was started again.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Conns returns how many connections are open: neither closed by both ends nor reset.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs)
}

// Lost returns how many bytes were thrown away so far.
func (p *Proxy) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// lose notes that n bytes were thrown away.
func (p *Proxy) lose(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost += n
}

// Set replaces the faults by f. It fails only if the port can't be had back after Refuse, since somebody else
// has taken it; then it still refuses, and the rest of f holds.
func (p *Proxy) Set(f Faults) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
	close(p.changed)
	p.changed = make(chan struct{})
	switch {
	case p.ctx.Err() != nil:
		return nil
	case f.Refuse && p.l != nil:
		p.l.Close()
		p.l = nil
	case !f.Refuse && p.l == nil:
		l, err := relisten(p.ctx, p.addr)
		if err != nil {
			p.faults.Refuse = true
			return fmt.Errorf("netfault: listening again: %w", err)
		}
		p.serve(l)
	}
	return nil
}

// Heal is Set without faults. Directions that have lost something stay silent.
func (p *Proxy) Heal() error { return p.Set(Faults{}) }

// Reset resets all connections that are open: both ends of each get an RST, and what was under way is lost.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.reset()
	}
}

// Close resets all connections and stops listening. It waits until all is done, and returns nil.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.stop()
	if p.l != nil {
		p.l.Close()
	}
	for c := range p.pairs {
		c.reset()
	}
	p.mu.Unlock()
	p.work.Wait()
	return nil
}

// relisten listens at an address that was given up a while ago. It insists for a second.
func relisten(ctx context.Context, addr string) (l net.Listener, err error) {
	for range 100 {
		if l, err = net.Listen("tcp", addr); err == nil {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil, err
}

// serve accepts connections until l is closed. It is called with the lock held, or before anybody else knows p.
func (p *Proxy) serve(l net.Listener) {
	p.l = l
	p.work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.carry(near.(*net.TCPConn)) })
		}
	})
}

// now returns the faults there are now, and what is closed when they change.
func (p *Proxy) now() (Faults, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.changed
}

// carry has the bytes of one connection carried until it has ended.
func (p *Proxy) carry(near *net.TCPConn) {
	c := &pair{p: p, near: near}
	c.ctx, c.end = context.WithCancel(p.ctx)
	defer c.end()
	defer near.Close()
	p.mu.Lock()
	p.pairs[c] = struct{}{}
	target, hole := p.target, p.faults.BlackHole
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.pairs, c)
	}()
	if hole {
		c.swallow()
		return
	}
	var d net.Dialer
	far, err := d.DialContext(p.ctx, "tcp", target) // a dial that c's end cut short could leave the target an EOF where it is to have an RST
	if err != nil {
		c.reset()
		return
	}
	c.both(far.(*net.TCPConn))
}
