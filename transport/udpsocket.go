package transport

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// udpReadBuffer is how many bytes the system is asked to hold of what has come to a listener's socket.
	udpReadBuffer = 4 << 20
	// udpBacklog is how many sessions wait for Accept at most.
	udpBacklog = 128
	// maxSessionQueue is how many packets wait for a session's Read at most, and maxSocketQueue for all of a socket's.
	maxSessionQueue, maxSocketQueue = 1024, 16384
	// spentPart is the part of the sessions that may be ended ones of one address.
	spentPart = 1.0 / 16
	// leastSpent is how many these are at least.
	leastSpent = 16
	// cookieLife is for how long after a session was opened its cookie may still be good.
	cookieLife = 2 * cookieWindow
	// udpFaultPause is how long a socket waits after a read that failed.
	udpFaultPause = 5 * time.Millisecond
)

// udpSocket is a socket that listens. One goroutine reads it and gives each session what is for it.
type udpSocket struct {
	owner *UDP
	conn  *net.UDPConn
	born  time.Time
	bufs  sync.Pool // *udpPacket

	cookies cookies       // of the goroutine that reads, as is what follows
	in      [1 << 16]byte // some systems fail to read a part of a datagram
	out     [maxDatagram]byte

	mu       sync.Mutex
	listener *udpListener // nil while there is none
	sessions map[udpKey]*udpSession
	spent    map[udpKey]time.Duration // sessions that have ended, until their cookies have
	spentOf  map[netip.Addr]int       // how many of these each address has
	queued   atomic.Int64             // packets that wait for Reads
}

// udpKey tells sessions apart.
type udpKey struct {
	from netip.AddrPort
	id   udpID
}

// udpPacket is a packet that waits for a Read.
type udpPacket struct {
	b [maxDatagram]byte
	n int
}

func newUDPSocket(u *UDP, conn *net.UDPConn) *udpSocket {
	return &udpSocket{
		owner: u, conn: conn, born: time.Now(),
		bufs:     sync.Pool{New: func() any { return new(udpPacket) }},
		sessions: map[udpKey]*udpSession{}, spent: map[udpKey]time.Duration{}, spentOf: map[netip.Addr]int{},
	}
}

// listen returns a listener, or nil if there is one already.
func (s *udpSocket) listen() *udpListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	s.listener = &udpListener{socket: s, backlog: make(chan *udpSession, udpBacklog), done: make(chan struct{})}
	return s.listener
}

// isAt reports whether the socket has an address.
func (s *udpSocket) isAt(at *net.UDPAddr) bool {
	own := s.conn.LocalAddr().(*net.UDPAddr)
	anyIP := func(a *net.UDPAddr) bool { return len(a.IP) == 0 || a.IP.IsUnspecified() }
	return own.Port == at.Port && own.Zone == at.Zone && (own.IP.Equal(at.IP) || anyIP(own) && anyIP(at))
}

// unused reports whether there is neither a listener nor a session.
func (s *udpSocket) unused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener == nil && len(s.sessions) == 0
}

// run reads datagrams until the socket is closed.
func (s *udpSocket) run() {
	every := s.idleTimeout() / 4
	every = min(max(every, time.Millisecond), cookieWindow)
	for next := time.Now(); ; {
		if now := time.Now(); !now.Before(next) {
			s.sweep(now.Sub(s.born))
			next = now.Add(every)
			if s.conn.SetReadDeadline(next) != nil {
				return
			}
		}
		n, from, err := s.conn.ReadFromUDPAddrPort(s.in[:])
		switch {
		case err == nil:
			s.take(time.Since(s.born), from, s.in[:n])
		case errors.Is(err, net.ErrClosed):
			return
		case !errors.Is(err, os.ErrDeadlineExceeded): // of a datagram sent before, on some systems
			time.Sleep(udpFaultPause)
		}
	}
}

// take takes a datagram that has come after age.
func (s *udpSocket) take(age time.Duration, from netip.AddrPort, b []byte) {
	d, ok := parseDatagram(b)
	if !ok {
		return
	}
	switch d.kind {
	case udpOpen:
		if s.takes() {
			answer := datagram{kind: udpCookie, nonce: d.nonce, cookie: s.cookies.make(age, from, d.nonce)}
			_, _ = s.conn.WriteToUDPAddrPort(answer.append(s.out[:0]), from)
		}
	case udpFirst:
		key := udpKey{from, d.id}
		c := s.session(key)
		if c == nil && s.cookies.check(age, from, d.nonce, d.cookie) {
			c = s.accept(age, key)
		}
		if c != nil {
			c.put(age, d.packet)
		}
	case udpData:
		if c := s.session(udpKey{from, d.id}); c != nil {
			c.put(age, d.packet)
		}
	case udpEnd:
		if c := s.session(udpKey{from, d.id}); c != nil {
			c.end()
		}
	}
}

// session returns a session, or nil.
func (s *udpSocket) session(key udpKey) *udpSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[key]
}

// takes reports whether somebody listens.
func (s *udpSocket) takes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener != nil
}

// accept makes the session of a cookie that is good, or returns nil: it had one, there are too many, or nobody takes them.
func (s *udpSocket) accept(age time.Duration, key udpKey) *udpSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, was := s.spent[key]; was || s.listener == nil || len(s.sessions)+len(s.spent) >= s.maxSessions() {
		return nil
	}
	if s.spentOf[networkOf(key)] >= max(leastSpent, int(spentPart*float64(s.maxSessions()))) {
		return nil
	}
	c := &udpSession{socket: s, key: key, begun: age}
	c.heard.Store(int64(age))
	c.arrived.L = &c.mu
	select {
	case s.listener.backlog <- c:
		s.sessions[key] = c
		return c
	default:
		return nil
	}
}

// forget takes a session that has ended off the books. Its cookie opens no other.
func (s *udpSocket) forget(c *udpSession) {
	s.mu.Lock()
	delete(s.sessions, c.key)
	if until := c.begun + cookieLife; time.Since(s.born) <= until {
		s.spent[c.key] = until
		s.countSpent(c.key, 1)
	}
	s.mu.Unlock()
	s.owner.release(s)
}

// countSpent counts n more ended sessions of an address. It is called with the lock held.
func (s *udpSocket) countSpent(key udpKey, n int) {
	at := networkOf(key)
	if s.spentOf[at] += n; s.spentOf[at] == 0 {
		delete(s.spentOf, at)
	}
}

// networkOf returns the address of a session's client, or of IPv6 the network that one host usually has.
func networkOf(key udpKey) netip.Addr {
	addr := key.from.Addr().Unmap()
	if addr.Is4() {
		return addr
	}
	p, _ := addr.Prefix(64) // it has so many bits
	return p.Addr()
}

// sweep ends sessions of which nothing comes, and forgets those whose cookies are no good any more.
func (s *udpSocket) sweep(age time.Duration) {
	var idle []*udpSession
	s.mu.Lock()
	for key, until := range s.spent {
		if age > until {
			delete(s.spent, key)
			s.countSpent(key, -1)
		}
	}
	for _, c := range s.sessions {
		if age-time.Duration(c.heard.Load()) >= s.idleTimeout() {
			idle = append(idle, c)
		}
	}
	s.mu.Unlock()
	for _, c := range idle {
		c.expire()
	}
}

// maxSessions returns UDP.MaxSessions with its default.
func (s *udpSocket) maxSessions() int {
	if s.owner.MaxSessions > 0 {
		return s.owner.MaxSessions
	}
	return DefaultUDPSessions
}

// idleTimeout returns UDP.IdleTimeout with its default.
func (s *udpSocket) idleTimeout() time.Duration {
	if s.owner.IdleTimeout > 0 {
		return s.owner.IdleTimeout
	}
	return DefaultUDPIdle
}

// mayQueue counts one more packet of a session of which some wait, or reports that there are too many: an eighth of what
// there is still room for, so that those who don't read leave some to the others. Only the goroutine that reads counts up.
func (s *udpSocket) mayQueue(waiting int) bool {
	room := maxSocketQueue - int(s.queued.Load())
	if waiting >= min(maxSessionQueue, room/8) {
		return false
	}
	s.queued.Add(1)
	return true
}

// unqueue counts n packets less.
func (s *udpSocket) unqueue(n int) { s.queued.Add(int64(-n)) }

// udpListener accepts the sessions of a socket.
type udpListener struct {
	socket  *udpSocket
	backlog chan *udpSession
	done    chan struct{}
	once    sync.Once
}

// Accept waits for a session whose client has returned its cookie.
func (l *udpListener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, l.closed("accept")
	default:
	}
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, l.closed("accept")
	}
}

func (l *udpListener) closed(op string) error {
	return udpError(op, nil, l.Addr(), net.ErrClosed)
}

// Close ends Accepts, and sessions that none has returned.
func (l *udpListener) Close() error {
	err := l.closed("close")
	l.once.Do(func() {
		err = nil
		s := l.socket
		s.mu.Lock()
		s.listener = nil
		s.mu.Unlock()
		close(l.done)
		for len(l.backlog) > 0 {
			select {
			case c := <-l.backlog:
				c.Close()
			default: // an Accept has it
			}
		}
		s.owner.release(s)
	})
	return err
}

// Addr returns the socket's address.
func (l *udpListener) Addr() net.Addr { return l.socket.conn.LocalAddr() }
