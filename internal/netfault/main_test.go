package netfault_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come; soon, for what must not.
const (
	patience = 10 * time.Second
	soon     = 50 * time.Millisecond
)

// target listens, and hands over what it accepts.
type target struct {
	addr  string
	conns chan *net.TCPConn
}

// newTarget returns a target that stops listening when the test ends.
func newTarget(t *testing.T) *target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &target{l.Addr().String(), make(chan *net.TCPConn, 16)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.conns <- conn.(*net.TCPConn)
		}
	}()
	return s
}

// accept returns the target's end of the next connection.
func (s *target) accept(t *testing.T) *net.TCPConn {
	t.Helper()
	select {
	case conn := <-s.conns:
		t.Cleanup(func() { conn.Close() })
		return conn
	case <-time.After(patience):
		t.Fatal("the target gets no connection")
		return nil
	}
}

// newProxy returns a Proxy that is closed when the test ends.
func newProxy(t *testing.T, target string) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// dial connects to a Proxy.
func dial(t *testing.T, p *netfault.Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// connected returns a Proxy with the two ends of one connection.
func connected(t *testing.T) (p *netfault.Proxy, client, server *net.TCPConn) {
	t.Helper()
	s := newTarget(t)
	p = newProxy(t, s.addr)
	client = dial(t, p)
	return p, client, s.accept(t)
}

// set sets faults.
func set(t *testing.T, p *netfault.Proxy, f netfault.Faults) {
	t.Helper()
	if err := p.Set(f); err != nil {
		t.Fatal(err)
	}
}

// send writes a text.
func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// comes checks that a text is read next.
func comes(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(text))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got[:n], err, text)
	}
}

// silent checks that nothing comes, not even the end.
func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(soon))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
}

// ends checks that the connection ends as told, with nothing before.
func ends(t *testing.T, conn net.Conn, want error) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, want) {
		t.Fatalf("read %d bytes, %v; want %v", n, err, want)
	}
}

// loses waits until the Proxy has thrown away n bytes altogether.
func loses(t *testing.T, p *netfault.Proxy, n int) {
	t.Helper()
	for end := time.Now().Add(patience); p.Lost() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are lost, want %d", p.Lost(), n)
		}
	}
}
