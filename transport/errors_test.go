package transport

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// makePair makes the two ends of a connection, which are closed with the test.
type makePair func(t testing.TB) (a, b net.Conn)

func TestErrorsTCP(t *testing.T) {
	conformance(t, func(t testing.TB) (a, b net.Conn) {
		return connect(t, newTable(t), "127.0.0.1:0")
	})
}

func TestErrorsMem(t *testing.T) {
	conformance(t, func(t testing.TB) (a, b net.Conn) {
		return connect(t, newTable(t, NewMem()), "mem://name")
	})
}

// conformance checks what package transporttest doesn't ask of every transport: errors as those of
// package net, and addresses that fit each other.
func conformance(t *testing.T, pair makePair) {
	for _, c := range []struct {
		name string
		test func(*testing.T, net.Conn, net.Conn)
	}{
		{"AfterClose", testAfterClose},
		{"PeerClose", testPeerClose},
		{"HalfClose", testHalfClose},
		{"Addresses", testAddresses},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := pair(t)
			c.test(t, a, b)
		})
	}
}

func wantTimeout(t testing.TB, what string, err error) {
	t.Helper()
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("%s: %v, want os.ErrDeadlineExceeded", what, err)
	}
}

func wantClosed(t testing.TB, what string, err error) {
	t.Helper()
	var op *net.OpError
	if !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) {
		t.Errorf("%s: %v, want net.ErrClosed in a *net.OpError", what, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// forever writes until that fails.
func forever(c net.Conn) error {
	b := make([]byte, 1<<16)
	for {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

func testAfterClose(t *testing.T, a, _ net.Conn) {
	must(t, a.Close())
	_, err := a.Read(make([]byte, 1))
	wantClosed(t, "read", err)
	_, err = a.Write([]byte("x"))
	wantClosed(t, "write", err)
	wantClosed(t, "SetDeadline", a.SetDeadline(time.Now()))
	wantClosed(t, "SetReadDeadline", a.SetReadDeadline(time.Now()))
	wantClosed(t, "SetWriteDeadline", a.SetWriteDeadline(time.Now()))
	wantClosed(t, "CloseWrite", a.(closeWriter).CloseWrite())
	wantClosed(t, "Close", a.Close())
}

type closeWriter interface{ CloseWrite() error }

// What was written before Close is read, then the end; writing back fails.
func testPeerClose(t *testing.T, a, b net.Conn) {
	send(t, a, "last words")
	must(t, a.Close())
	expectEnd(t, b, "last words", nil)
	if err := forever(b); !isBroken(err) {
		t.Errorf("write to a closed peer: %v", err)
	}
}

func testHalfClose(t *testing.T, a, b net.Conn) {
	send(t, a, "question")
	must(t, a.(closeWriter).CloseWrite())
	if _, err := a.Write([]byte("x")); !isBroken(err) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	expectEnd(t, b, "question", nil)
	send(t, b, "answer")
	must(t, b.Close())
	expectEnd(t, a, "answer", nil)
}

func testAddresses(t *testing.T, a, b net.Conn) {
	for _, c := range []net.Conn{a, b} {
		if c.LocalAddr().Network() == "" || c.LocalAddr().String() == "" {
			t.Errorf("local address %v", c.LocalAddr())
		}
	}
	if a.LocalAddr().String() != b.RemoteAddr().String() || a.RemoteAddr().String() != b.LocalAddr().String() {
		t.Errorf("%v-%v on one end, %v-%v on the other", a.LocalAddr(), a.RemoteAddr(), b.RemoteAddr(), b.LocalAddr())
	}
}
