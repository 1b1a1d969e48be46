package flyrpc

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// maxRefusing is how many connections beyond MaxConns are told so at the same time; others are closed at once.
	maxRefusing = 64
	// refusedLog is how often the log says, at most, that connections are refused.
	refusedLog = 10 * time.Second
)

// ErrNoClient is what Listen and Serve return, wrapped, when no client has connected within ServerOpts.FirstConnTimeout.
var ErrNoClient = errors.New("flyrpc: no client has connected within FirstConnTimeout")

// admission counts a Server's connections. Its lock is the Server's.
type admission struct {
	n        int                // admitted
	addrs    map[netip.Addr]int // admitted of each address, if MaxConnsPerAddr is set
	refusing int                // refused, and being told so

	unlogged int       // refused since the log has said so
	logged   time.Time // when it has
}

// pass is what a connection has come in by.
type pass struct {
	addr    netip.Addr // counted in admission.addrs
	refusal *Error     // it is one too many, and told so; nil if it is admitted
	free    bool       // it was never counted: it comes by another one
}

// admit counts the connection nc, or refuses it. It reports false if it has to be closed at once.
func (s *Server) admit(nc net.Conn) (p pass, ok bool) {
	if s.opts.MaxConnsPerAddr > 0 {
		p.addr = remoteIP(nc.RemoteAddr())
	}
	unlogged := 0
	s.mu.Lock()
	if p.refusal = s.tooMany(p.addr); p.refusal == nil {
		s.admission.count(p.addr)
		ok = true
	} else {
		unlogged = s.admission.toLog(time.Now())
		if ok = s.admission.refusing < maxRefusing; ok {
			s.admission.refusing++
		}
	}
	s.mu.Unlock()
	if unlogged > 0 { // without the lock: the log is the program's
		s.ep.log.Warn("flyrpc: connections refused", "peer", addrString(nc.RemoteAddr()), "reason", p.refusal.Message, "count", unlogged)
	}
	return p, ok
}

// tooMany says why one more connection, of addr, is one too many, or returns nil. It is called with the lock held.
func (s *Server) tooMany(addr netip.Addr) *Error {
	a := &s.admission
	switch {
	case a.n >= s.maxConns():
		return Errorf(Busy, "the server takes at most %d connections: try again later", s.maxConns())
	case addr.IsValid() && a.addrs[addr] >= s.opts.MaxConnsPerAddr:
		return Errorf(Busy, "the server takes at most %d connections of %v", s.opts.MaxConnsPerAddr, addr)
	}
	return nil
}

// count counts a connection of addr.
func (a *admission) count(addr netip.Addr) {
	a.n++
	if !addr.IsValid() {
		return
	}
	if a.addrs == nil {
		a.addrs = map[netip.Addr]int{}
	}
	a.addrs[addr]++
}

// toLog counts a refused connection and returns how many the log is to be told of now: none, if it was told of some just
// before.
func (a *admission) toLog(now time.Time) (unlogged int) {
	a.unlogged++
	if !a.logged.IsZero() && now.Sub(a.logged) < refusedLog {
		return 0
	}
	unlogged, a.unlogged, a.logged = a.unlogged, 0, now
	return unlogged
}

// maxConns returns MaxConns with its default.
func (s *Server) maxConns() int {
	n := s.opts.MaxConns
	setDefault(&n, DefaultMaxConns)
	return n
}

// leave undoes admit, for a connection that has ended. It is called with the lock held.
func (s *Server) leave(p *pass) {
	a := &s.admission
	switch {
	case p.free:
		return
	case p.refusal != nil:
		a.refusing--
		return
	}
	a.n--
	if !p.addr.IsValid() {
		return
	}
	if a.addrs[p.addr]--; a.addrs[p.addr] == 0 {
		delete(a.addrs, p.addr)
	}
}

// remoteIP returns the IP address in addr, or the zero Addr if there is none.
func remoteIP(addr net.Addr) netip.Addr {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	ap, err := netip.ParseAddrPort(addrString(addr))
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// firstConn closes a listener whose server has no client in time.
type firstConn struct {
	timer *time.Timer
	late  atomic.Bool
}

// awaitFirst begins to wait for the server's first client, for FirstConnTimeout.
func (s *Server) awaitFirst(l net.Listener) *firstConn {
	f := new(firstConn)
	if d := s.opts.FirstConnTimeout; d > 0 && !s.met.Load() {
		f.timer = time.AfterFunc(d, func() {
			if !s.met.Load() {
				f.late.Store(true)
				l.Close()
			}
		})
	}
	return f
}

// stop ends the waiting.
func (f *firstConn) stop() {
	if f.timer != nil {
		f.timer.Stop()
	}
}
