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
}

// admit counts the connection nc, or refuses it. It reports false if it has to be closed at once.
func (s *Server) admit(nc net.Conn) (p pass, ok bool) {
	if s.opts.MaxConnsPerAddr > 0 {
		p.addr = remoteIP(nc.RemoteAddr())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.admission
	switch {
	case a.n >= s.maxConns():
		p.refusal = Errorf(Busy, "the server takes at most %d connections: try again later", s.maxConns())
	case p.addr.IsValid() && a.addrs[p.addr] >= s.opts.MaxConnsPerAddr:
		p.refusal = Errorf(Busy, "the server takes at most %d connections of %v", s.opts.MaxConnsPerAddr, p.addr)
	default:
		a.n++
		if p.addr.IsValid() {
			if a.addrs == nil {
				a.addrs = map[netip.Addr]int{}
			}
			a.addrs[p.addr]++
		}
		return p, true
	}
	s.logRefused(nc, p.refusal)
	if a.refusing >= maxRefusing {
		return p, false
	}
	a.refusing++
	return p, true
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
	if p.refusal != nil {
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

// logRefused says that connections are refused, unless it did so just now. It is called with the lock held.
func (s *Server) logRefused(nc net.Conn, why *Error) {
	a := &s.admission
	a.unlogged++
	now := time.Now()
	if !a.logged.IsZero() && now.Sub(a.logged) < refusedLog {
		return
	}
	s.ep.log.Warn("flyrpc: connections refused", "peer", addrString(nc.RemoteAddr()), "reason", why.Message, "count", a.unlogged)
	a.unlogged, a.logged = 0, now
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
