// Package netfault has networks with faults for tests: proxies between real sockets.
package netfault

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// DatagramFaults are what a DatagramProxy does to the datagrams of each direction. The shares are from 0 to 1, and
// independent of each other.
type DatagramFaults struct {
	Lose     float64       // the share of datagrams that are lost
	Repeat   float64       // of those that arrive twice
	Late     float64       // of those that arrive up to LateBy later, and so may be overtaken
	LateBy   time.Duration // default 20 ms
	Truncate float64       // of those of which only a part arrives
	Seed     uint64        // of all chance
	// Sees sees each datagram before any fault, and says whether it may pass. It may be nil, and runs for one datagram at a
	// time. The bytes are its own.
	Sees func(toServer bool, b []byte) bool
}

// DatagramProxy passes UDP datagrams between clients and a server, each client by a socket of its own, as a router does. All
// methods may run concurrently.
type DatagramProxy struct {
	server *net.UDPAddr
	conn   *net.UDPConn

	mu      sync.Mutex
	faults  DatagramFaults
	chance  *rand.Rand
	clients map[netip.AddrPort]*net.UDPConn
	seen    [2]traffic // from the server, and to it
	closed  bool
	running sync.WaitGroup
}

// traffic counts the datagrams of one direction.
type traffic struct {
	bytes, datagrams int // that have come
	passed           int // datagrams that are sent on, or will be
}

// NewDatagramProxy returns a proxy on a free port of the loopback interface, for the server at an address there.
func NewDatagramProxy(server string, faults DatagramFaults) (*DatagramProxy, error) {
	addr, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	p := &DatagramProxy{server: addr, conn: conn, clients: map[netip.AddrPort]*net.UDPConn{}}
	p.SetFaults(faults)
	p.running.Go(p.fromClients)
	return p, nil
}

// Addr returns the address that clients dial.
func (p *DatagramProxy) Addr() string { return p.conn.LocalAddr().String() }

// SetFaults has other faults happen from now on.
func (p *DatagramProxy) SetFaults(f DatagramFaults) {
	if f.LateBy <= 0 {
		f.LateBy = 20 * time.Millisecond
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
	p.chance = rand.New(rand.NewPCG(f.Seed, 1))
}

// Bytes returns how many bytes of datagrams have come from clients and from the server, lost ones included.
func (p *DatagramProxy) Bytes() (toServer, toClients int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[1].bytes, p.seen[0].bytes
}

// Rebind gives each client another address towards the server, as a router does that has forgotten them.
func (p *DatagramProxy) Rebind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for from, conn := range p.clients {
		conn.Close()
		delete(p.clients, from)
	}
}

// Close ends the proxy. It returns when nothing of it runs any more, but for datagrams that are late.
func (p *DatagramProxy) Close() error {
	p.mu.Lock()
	p.closed = true
	err := p.conn.Close()
	p.mu.Unlock()
	p.Rebind()
	p.running.Wait()
	return err
}

// fromClients passes on what clients send.
func (p *DatagramProxy) fromClients() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if to := p.client(from); to != nil {
			p.pass(true, b[:n], func(b []byte) { _, _ = to.Write(b) })
		}
	}
}

// client returns the socket of a client, or nil if there can be none.
func (p *DatagramProxy) client(from netip.AddrPort) *net.UDPConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if conn := p.clients[from]; conn != nil || p.closed {
		return conn
	}
	conn, err := net.DialUDP("udp", nil, p.server)
	if err != nil {
		return nil
	}
	p.clients[from] = conn
	p.running.Go(func() { p.fromServer(conn, from) })
	return conn
}

// fromServer passes on what the server sends to a client.
func (p *DatagramProxy) fromServer(conn *net.UDPConn, to netip.AddrPort) {
	b := make([]byte, 1<<16)
	for {
		n, err := conn.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.pass(false, b[:n], func(b []byte) { _, _ = p.conn.WriteToUDPAddrPort(b, to) })
		}
	}
}

// pass sends a datagram on, with faults.
func (p *DatagramProxy) pass(toServer bool, b []byte, send func([]byte)) {
	for _, c := range p.copies(toServer, b) {
		if c.late == 0 {
			send(c.b)
			continue
		}
		time.AfterFunc(c.late, func() { send(c.b) })
	}
}

// passing is a datagram that is sent on.
type passing struct {
	b    []byte
	late time.Duration
}

// copies returns what becomes of a datagram.
func (p *DatagramProxy) copies(toServer bool, b []byte) []passing {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, f := &p.seen[0], &p.faults
	if toServer {
		seen = &p.seen[1]
	}
	seen.bytes += len(b)
	seen.datagrams++
	if f.Sees != nil && !f.Sees(toServer, append([]byte(nil), b...)) || p.happens(f.Lose) {
		return nil
	}
	n := 1
	if p.happens(f.Repeat) {
		n++
	}
	seen.passed += n
	all := make([]passing, 0, n)
	for range n {
		c := passing{b: append([]byte(nil), b...)}
		if p.happens(f.Truncate) {
			c.b = c.b[:p.chance.IntN(len(c.b)+1)]
		}
		if p.happens(f.Late) {
			c.late = 1 + time.Duration(p.chance.Int64N(int64(f.LateBy)))
		}
		all = append(all, c)
	}
	return all
}

// happens reports whether something happens that has a share of all.
func (p *DatagramProxy) happens(share float64) bool { return share > 0 && p.chance.Float64() < share }
