package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listenUDP listens on a free port of the loopback interface until the test ends.
func listenUDP(t testing.TB, u *UDP) *udpListener {
	t.Helper()
	l, err := u.Listen(context.Background(), &url.URL{Scheme: "udp", Host: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*udpListener)
}

// rawUDP returns a socket that sends to l, from a port of its own.
func rawUDP(t testing.TB, l net.Listener) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, l.Addr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// cookieFor has the server at l make a cookie for conn's address, and returns what opens a session by it.
func cookieFor(t testing.TB, conn *net.UDPConn, nonce udpNonce) datagram {
	t.Helper()
	open := datagram{kind: udpOpen, nonce: nonce}
	if _, err := conn.Write(open.append(nil)); err != nil {
		t.Fatal(err)
	}
	d := readDatagram(t, conn)
	if d.kind != udpCookie || d.nonce != nonce {
		t.Fatalf("answered %+v", d)
	}
	d.kind = udpFirst
	return *d
}

// readDatagram returns what comes next, which something has to.
func readDatagram(t testing.TB, conn *net.UDPConn) *datagram {
	t.Helper()
	d := datagramWithin(t, conn, 10*time.Second)
	if d == nil {
		t.Fatal("nothing came")
	}
	return d
}

// datagramWithin returns what comes within a time, or nil if nothing does.
func datagramWithin(t testing.TB, conn *net.UDPConn, wait time.Duration) *datagram {
	t.Helper()
	b := make([]byte, 2000)
	_ = conn.SetReadDeadline(time.Now().Add(wait))
	n, err := conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	d, ok := parseDatagram(b[:n])
	if !ok {
		t.Fatalf("%x came", b[:n])
	}
	return &d
}

// state returns how many sessions, spent ones included, and packets there are.
func (s *udpSocket) state() (sessions int, packets int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions) + len(s.spent), s.queued.Load()
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Whoever hasn't returned a cookie makes no state, and gets no more bytes than it has sent: 5,000 addresses and ports.
func TestUDPSpoofed(t *testing.T) {
	l := listenUDP(t, new(UDP))
	s := l.socket
	to := l.Addr().(*net.UDPAddr)
	before := heap()
	bad := datagrams()
	sent, came := 0, 0
	const sources = 50
	for i := range sources {
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, byte(1+i/250), byte(1+i%250))}, to)
		if err != nil {
			t.Fatal(err)
		}
		for j := range 100 {
			b := bad[j%len(bad)].append(nil)
			if _, err := conn.Write(b[:len(b)-j/50]); err != nil {
				t.Fatal(err)
			}
			sent += len(b) - j/50
		}
		b := make([]byte, 2000)
		for {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			n, err := conn.Read(b)
			if err != nil {
				break
			}
			if b[0] != udpCookie {
				t.Fatalf("something else than a cookie is sent: %x", b[:n])
			}
			came += n
		}
		conn.Close()
	}
	if came == 0 || came*20 > sent {
		t.Errorf("%d bytes were sent, %d came back", sent, came)
	}
	if sessions, packets := s.state(); sessions != 0 || packets != 0 || len(l.backlog) != 0 {
		t.Errorf("%d sessions, %d packets, %d to be accepted", sessions, packets, len(l.backlog))
	}
	if after := heap(); after > before+64<<10 {
		t.Errorf("the heap has grown from %d to %d bytes", before, after)
	}
}

// Each kind of datagram is answered, before the cookie, with fewer bytes than it has, or not at all.
func TestUDPAmplification(t *testing.T) {
	l := listenUDP(t, new(UDP))
	for _, d := range datagrams() {
		conn := rawUDP(t, l)
		b := d.append(nil)
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		if d.kind == udpOpen {
			if got := readDatagram(t, conn); got.kind != udpCookie || len(got.append(nil)) >= len(b) {
				t.Errorf("what opens a session is answered %+v", got)
			}
		} else if got := datagramWithin(t, conn, 200*time.Millisecond); got != nil {
			t.Errorf("%#x is answered %+v", d.kind, got)
		}
	}
}

func TestUDPCookieOpensOneSession(t *testing.T) {
	l := listenUDP(t, new(UDP))
	conn := rawUDP(t, l)
	first := cookieFor(t, conn, udpNonce{1})
	first.packet = []byte("hello")
	for range 3 { // the network repeats it
		if _, err := conn.Write(first.append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, UDPMaxPacket)
	for range 3 {
		if n, err := c.Read(b); string(b[:n]) != "hello" || err != nil {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}
	c.Close()
	if d := readDatagram(t, conn); d.kind != udpEnd || d.id != first.id {
		t.Fatalf("the end is told by %+v", d)
	}
	if _, err := conn.Write(first.append(nil)); err != nil {
		t.Fatal(err)
	}
	second := cookieFor(t, conn, udpNonce{2}) // so what was sent before has been looked at
	if sessions, _ := l.socket.state(); sessions != 1 || len(l.backlog) != 0 {
		t.Errorf("%d sessions, %d to be accepted: the cookie has opened another one", sessions, len(l.backlog))
	}
	second.packet = []byte("again")
	if _, err := conn.Write(second.append(nil)); err != nil {
		t.Fatal(err)
	}
	if c, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	l.socket.sweep(time.Since(l.socket.born) + cookieLife + time.Second)
	if sessions, _ := l.socket.state(); sessions != 0 {
		t.Errorf("%d sessions are remembered for ever", sessions)
	}
}

// Packets of another address, or with another id, are of no session.
func TestUDPForeignPackets(t *testing.T) {
	l := listenUDP(t, new(UDP))
	conn, other := rawUDP(t, l), rawUDP(t, l)
	first := cookieFor(t, conn, udpNonce{1})
	first.packet = []byte("first")
	if _, err := conn.Write(first.append(nil)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wrong := datagram{kind: udpData, id: udpID{9}, packet: []byte("wrong id")}
	right := datagram{kind: udpData, id: first.id, packet: []byte("right")}
	end := datagram{kind: udpEnd, id: first.id}
	for _, b := range [][]byte{right.append(nil), end.append(nil), first.append(nil)} {
		if _, err := other.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	cookieFor(t, other, udpNonce{3}) // so those were looked at
	for _, b := range [][]byte{wrong.append(nil), right.append(nil), end.append(nil)} {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 100)
	for _, want := range []string{"first", "right"} {
		if n, err := c.Read(b); string(b[:n]) != want || err != nil {
			t.Fatalf("%q, %v, want %q", b[:n], err, want)
		}
	}
	for range 2 {
		if _, err := c.Read(b); err != io.EOF {
			t.Fatalf("after the end: %v", err)
		}
	}
}

func TestUDPLimits(t *testing.T) {
	l := listenUDP(t, &UDP{MaxSessions: 2, IdleTimeout: 100 * time.Millisecond})
	var conns []net.Conn
	for i := range 3 {
		conn := rawUDP(t, l)
		first := cookieFor(t, conn, udpNonce{byte(i)})
		first.packet = []byte("x")
		if _, err := conn.Write(first.append(nil)); err != nil {
			t.Fatal(err)
		}
		cookieFor(t, conn, udpNonce{byte(10 + i)})
		if want := min(i+1, 2); len(l.backlog)+len(conns) != want {
			t.Fatalf("%d sessions, want %d", len(l.backlog)+len(conns), want)
		}
	}
	for range 2 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	b := make([]byte, 10)
	for _, c := range conns {
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(b)
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "nothing has come of the session for 100ms") {
			t.Fatalf("an idle session: %v", err)
		}
		c.Close()
	}
}

// What nobody reads is dropped, and doesn't pile up.
func TestUDPUnread(t *testing.T) {
	s := newUDPSocket(new(UDP), listenUDP(t, new(UDP)).socket.conn)
	s.listen()
	c := s.accept(0, udpKey{from: netip.MustParseAddrPort("192.0.2.1:1")})
	for range 2 * maxSessionQueue {
		c.put(0, []byte("x"))
	}
	if _, packets := s.state(); packets != maxSessionQueue {
		t.Errorf("%d packets are queued", packets)
	}
	for i := range maxSocketQueue/maxSessionQueue + 2 {
		d := s.accept(0, udpKey{from: netip.MustParseAddrPort(fmt.Sprintf("192.0.2.1:%d", 2+i))})
		for range 2 * maxSessionQueue {
			d.put(0, []byte("x"))
		}
	}
	if _, packets := s.state(); packets > maxSocketQueue*9/10 {
		t.Errorf("%d packets are queued for those who don't read", packets)
	}
	other := s.accept(0, udpKey{from: netip.MustParseAddrPort("198.51.100.1:1")})
	for range 100 {
		other.put(0, []byte("x"))
	}
	if n := len(other.in); n != 100 {
		t.Errorf("of 100 packets of a session %d are taken, since others don't read", n)
	}
	for i := range 2 * udpBacklog {
		s.accept(0, udpKey{from: netip.MustParseAddrPort(fmt.Sprintf("192.0.2.1:%d", 1000+i))})
	}
	if sessions, _ := s.state(); sessions != udpBacklog { // the socket is another one's, and nothing of it runs
		t.Errorf("%d sessions wait for Accept, want %d", sessions, udpBacklog)
	}
}

func TestUDPDialNobody(t *testing.T) {
	l := listenUDP(t, new(UDP))
	l.Close()
	addr := &url.URL{Scheme: "udp", Host: l.Addr().String()}
	c, err := new(UDP).Dial(context.Background(), addr)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), addr.Host) {
		t.Errorf("where nobody listens: %v", err)
	}
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	addr = &url.URL{Scheme: "udp", Host: silent.LocalAddr().String()}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err = new(UDP).Dial(ctx, addr); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("where nobody answers: %v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	dialled := make(chan error, 1)
	go func() { _, err := new(UDP).Dial(ctx, addr); dialled <- err }()
	defer func() {
		cancel()
		if err := <-dialled; !errors.Is(err, context.Canceled) {
			t.Errorf("when it is given up: %v", err)
		}
	}()
	_ = silent.SetReadDeadline(time.Now().Add(9 * time.Second))
	for i := range 3 { // that of the first, and it asks again
		b := make([]byte, 2000)
		if n, _, err := silent.ReadFrom(b); n != maxDatagram || err != nil {
			t.Errorf("datagram %d: %d bytes, %v", i, n, err)
		}
	}
	if _, err := new(UDP).Dial(context.Background(), &url.URL{Scheme: "udp", Host: "no-such-host.invalid:1"}); err == nil {
		t.Error("a host that doesn't exist was dialled")
	}
}

// A host name is dialled at the address where somebody listens.
func TestUDPDialName(t *testing.T) {
	l := listenUDP(t, new(UDP))
	port := l.Addr().(*net.UDPAddr).Port
	c, err := new(UDP).Dial(context.Background(), &url.URL{Scheme: "udp", Host: fmt.Sprintf("localhost:%d", port)})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestUDPListenTwice(t *testing.T) {
	u := new(UDP)
	l := listenUDP(t, u)
	for _, other := range []*UDP{u, new(UDP)} {
		if _, err := other.Listen(context.Background(), &url.URL{Scheme: "udp", Host: l.Addr().String()}); err == nil {
			t.Error("an address is listened on twice")
		}
	}
	if _, err := u.Listen(context.Background(), &url.URL{Scheme: "udp", Host: "no-such-host.invalid:1"}); err == nil {
		t.Error("listening on a host that doesn't exist")
	}
	l.Close()
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
	if len(u.sockets) != 0 {
		t.Errorf("%d sockets are left", len(u.sockets))
	}
	if _, err := l.socket.conn.Write(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket is left: %v", err)
	}
}

// Sessions that nobody has accepted end with the listener.
func TestUDPCloseUnaccepted(t *testing.T) {
	u := new(UDP)
	l := listenUDP(t, u)
	conn := rawUDP(t, l)
	first := cookieFor(t, conn, udpNonce{1})
	first.packet = []byte("x")
	if _, err := conn.Write(first.append(nil)); err != nil {
		t.Fatal(err)
	}
	cookieFor(t, conn, udpNonce{2})
	l.Close()
	if d := readDatagram(t, conn); d.kind != udpEnd {
		t.Errorf("the client is told %+v", d)
	}
	if len(u.sockets) != 0 {
		t.Error("the socket is left")
	}
}
