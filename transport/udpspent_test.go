package transport

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// One host that opens and ends sessions doesn't keep others out.
func TestUDPSpentOfOneAddress(t *testing.T) {
	s := newUDPSocket(new(UDP), listenUDP(t, new(UDP)).socket.conn)
	l := s.listen()
	open := func(from string, id int) bool {
		c := s.accept(time.Since(s.born), udpKey{netip.MustParseAddrPort(from), udpID{byte(id), byte(id >> 8), byte(id >> 16)}})
		if c == nil {
			return false
		}
		accepted, err := l.Accept()
		if err != nil || accepted != net.Conn(c) {
			t.Fatal(accepted, err)
		}
		s.forget(c)
		return true
	}
	n := 0
	for open("192.0.2.1:1", n) {
		n++
	}
	if n != DefaultUDPSessions/16 || open("192.0.2.1:2", 0) || open("[::ffff:192.0.2.1]:3", 0) {
		t.Errorf("one address has ended %d sessions", n)
	}
	if !open("192.0.2.2:1", 0) {
		t.Error("another address is kept out")
	}
	for n = 0; open(fmt.Sprintf("[2001:db8::%x]:1", 1+n%1000), n); n++ {
	}
	if n != DefaultUDPSessions/16 || !open("[2001:db8:0:1::1]:1", 0) {
		t.Errorf("one network has ended %d sessions, or another one is kept out", n)
	}
	s.sweep(time.Since(s.born) + cookieLife + time.Second)
	if len(s.spent)+len(s.spentOf) != 0 || !open("192.0.2.1:1", 0) {
		t.Errorf("%d ended sessions of %d addresses are remembered", len(s.spent), len(s.spentOf))
	}
}
