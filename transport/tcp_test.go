package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

// connect returns the two ends of a connection through table: the dialed and the
// accepted one. Both are closed when the test ends.
func connect(t testing.TB, table *Table, addr string) (dialed, accepted net.Conn) {
	t.Helper()
	l, err := table.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err = table.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close() })
	accepted, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return dialed, accepted
}

func newTable(t testing.TB, extra ...Transport) *Table {
	t.Helper()
	table, err := NewTable(extra...)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTCPRoundTrip(t *testing.T) {
	a, b := connect(t, newTable(t), "tcp://127.0.0.1:0")
	for _, c := range []net.Conn{a, b} {
		if _, ok := c.(*net.TCPConn); !ok {
			t.Errorf("a connection of type %T", c)
		}
	}
	if a.RemoteAddr().String() != b.LocalAddr().String() {
		t.Errorf("connected to %v, accepted at %v", a.RemoteAddr(), b.LocalAddr())
	}
	send(t, a, "question")
	expect(t, b, "question")
	send(t, b, "answer")
	expect(t, a, "answer")
}

func TestTCPContext(t *testing.T) {
	table := newTable(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table.Dial(ctx, "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("dial with an ended context: %v", err)
	}
}

func TestTCPContextAfterwards(t *testing.T) {
	table := newTable(t)
	ctx, cancel := context.WithCancel(t.Context())
	l, err := table.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := table.Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	cancel()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	send(t, a, "still there")
	expect(t, b, "still there")
}

func send(t testing.TB, c io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(c, text); n != len(text) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(text), err)
	}
}

// expect reads exactly text.
func expect(t testing.TB, c io.Reader, text string) {
	t.Helper()
	b := make([]byte, len(text))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("read %q: %v, want %q", b[:n], err, text)
	}
}

// expectEnd reads until the end, and wants nothing but text before it and that
// error, nil for io.EOF.
func expectEnd(t testing.TB, c io.Reader, text string, want error) {
	t.Helper()
	b, err := io.ReadAll(c)
	if string(b) != text || !errors.Is(err, want) {
		t.Fatalf("read %q: %v, want %q and %v", b, err, text, want)
	}
}

func TestServerName(t *testing.T) {
	for addr, want := range map[string]string{
		"tls://:1": "localhost", "tls://example.com.:1": "example.com", "tls://[fe80::1%25eth0]:1": "fe80::1", "tls://10.0.0.1:1": "10.0.0.1",
	} {
		u, err := ParseAddr(addr)
		must(t, err)
		if got := serverName(u); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}
