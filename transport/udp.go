package transport

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"
)

const schemeUDP = "udp"

const (
	// DefaultUDPSessions is the most sessions of a UDP listener, unless UDP.MaxSessions says otherwise.
	DefaultUDPSessions = 65536
	// DefaultUDPIdle is how long a UDP listener keeps a session from which nothing comes, unless UDP.IdleTimeout says
	// otherwise.
	DefaultUDPIdle = 5 * time.Minute
)

// UDP is the Transport for "udp://host:port". Its connections carry packets of at most UDPMaxPacket bytes, each in one
// datagram: see PacketConn. They are neither encrypted nor protected against who can read them.
//
// A client opens a session with a datagram of 1,200 bytes, is answered a cookie, and returns it with its first packet. Until then
// the server keeps nothing of it, and it sends no more bytes to an address than have come from there. The session belongs to the
// client's address: when that changes, as some routers change it after a silence, the client has to dial again.
// The server's answers come from the address that its system chooses: on a system with several, listen at one of them.
//
// The zero value is ready. Closing a listener leaves its connections alone: they share its socket, which goes with the last of
// them, and another listener of the same UDP may take over its address meanwhile. All methods may run concurrently. A UDP must
// not be copied.
type UDP struct {
	// MaxSessions is the most sessions that a listener's socket has at the same time; what would open more is dropped.
	// A session that ends within 20 s counts for as long; of one IP address (of IPv6: of 64 bits of it) no new one is taken while a
	// sixteenth of MaxSessions, or 16 if that is more, are such. Default: DefaultUDPSessions.
	MaxSessions int
	// IdleTimeout is how long nothing may come of a session before a listener's socket ends it, up to a quarter later: a Read fails then with an error that
	// matches os.ErrDeadlineExceeded. FlyRPC's keepalive has something come more often. Default: DefaultUDPIdle.
	IdleTimeout time.Duration

	mu      sync.Mutex
	sockets []*udpSocket // that listen, or have sessions
}

// PacketConn is a connection that carries packets: a Write is one of them, and a Read takes one, whose buffer should have room
// for MaxPacket bytes; what it hasn't room for is lost. Packets may get lost, arrive twice and overtake each other, and so may the word that
// the other end has closed. FlyRPC sends calls over such a connection again until they are answered, has each run once at most,
// and sends neither streams nor messages that are larger than a packet. A Write waits for nobody but the system.
type PacketConn interface {
	net.Conn
	// MaxPacket returns the most bytes of a packet. It is always the same. A Write of more fails and sends nothing.
	MaxPacket() int
}

// Schemes returns "udp".
func (*UDP) Schemes() []string { return []string{schemeUDP} }

// Dial opens a session with the server at addr's host and port; without a host on the local system. It waits for the
// server's cookie until ctx ends, or for 10 s. Of a host name's addresses the first is used where somebody listens.
func (*UDP) Dial(ctx context.Context, addr *url.URL) (net.Conn, error) {
	if _, err := tcpHostPort(addr); err != nil {
		return nil, err
	}
	hosts := []string{addr.Hostname()}
	if hosts[0] != "" {
		found, err := net.DefaultResolver.LookupHost(ctx, hosts[0])
		if err != nil {
			return nil, err
		}
		hosts = found
	}
	var failed error
	for _, host := range hosts {
		c, err := dialUDP(ctx, net.JoinHostPort(host, addr.Port()), addr.Host)
		if err == nil {
			return c, nil
		}
		if failed == nil {
			failed = err
		}
		if !errors.Is(err, syscall.ECONNREFUSED) { // else another address may be served
			break
		}
	}
	return nil, failed
}

// Listen listens on addr's host and port; without a host on all interfaces, with port 0 on a free port that the listener's
// Addr tells.
func (u *UDP) Listen(ctx context.Context, addr *url.URL) (net.Listener, error) {
	hostPort, err := tcpHostPort(addr)
	if err != nil {
		return nil, err
	}
	at, err := net.ResolveUDPAddr("udp", hostPort)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.sockets {
		if s.isAt(at) {
			if l := s.listen(); l != nil {
				return l, nil
			}
		}
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", hostPort)
	if err != nil {
		return nil, err
	}
	conn := pc.(*net.UDPConn)
	_ = conn.SetReadBuffer(udpReadBuffer) // as much as the system allows
	s := newUDPSocket(u, conn)
	u.sockets = append(u.sockets, s)
	l := s.listen()
	go s.run()
	return l, nil
}

// release closes a socket that has neither a listener nor sessions.
func (u *UDP) release(s *udpSocket) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !s.unused() {
		return
	}
	u.sockets = slices.DeleteFunc(u.sockets, func(o *udpSocket) bool { return o == s })
	s.conn.Close()
}

// udpError is an error of a connection over UDP.
func udpError(op string, local, remote net.Addr, err error) error {
	return &net.OpError{Op: op, Net: schemeUDP, Source: local, Addr: remote, Err: err}
}
