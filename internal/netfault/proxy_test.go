package netfault_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
)

func TestCarries(t *testing.T) {
	p, client, server := connected(t)
	send(t, client, "up")
	comes(t, server, "up")
	send(t, server, "down")
	comes(t, client, "down")
	long := strings.Repeat("0123456789", 100_000)
	go func() { _, _ = io.WriteString(client, long); _ = client.CloseWrite() }()
	comes(t, server, long)
	ends(t, server, io.EOF)
	send(t, server, "the other half")
	comes(t, client, "the other half")
	server.Close()
	ends(t, client, io.EOF)
	for end := time.Now().Add(patience); p.Conns() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a connection that was closed is still carried")
		}
	}
}

func TestLatency(t *testing.T) {
	p, client, server := connected(t)
	set(t, p, netfault.Faults{Latency: soon})
	begun := time.Now()
	send(t, client, "a")
	time.Sleep(soon / 10)
	send(t, client, "b")
	comes(t, server, "ab")
	send(t, server, "c")
	comes(t, client, "c")
	if took := time.Since(begun); took < 2*soon {
		t.Errorf("there and back took %v, with %v in each direction", took, soon)
	}
}

func TestSlice(t *testing.T) {
	p, client, server := connected(t)
	set(t, p, netfault.Faults{Slice: 5})
	text := strings.Repeat("0123456789", 100)
	begun := time.Now()
	send(t, client, text)
	comes(t, server, text)
	// How many reads it takes is up to whoever reads. Of 200 slices there are 199 pauses at most, and fewer if what was sent came in parts.
	if took, least := time.Since(begun), 190*50*time.Microsecond; took < least {
		t.Errorf("it took %v, want %v at least", took, least)
	}
}

func TestHold(t *testing.T) {
	p, client, server := connected(t)
	set(t, p, netfault.Faults{Hold: true})
	send(t, client, "patient")
	silent(t, server)
	set(t, p, netfault.Faults{Hold: true, Slice: 1})
	silent(t, server)
	set(t, p, netfault.Faults{})
	comes(t, server, "patient")
}

// What one direction has lost isn't seen by its receiver, now or later, and the other direction goes on.
func TestLoseDown(t *testing.T) {
	p, client, server := connected(t)
	set(t, p, netfault.Faults{LoseDown: true})
	send(t, client, "question")
	comes(t, server, "question")
	send(t, server, "answer")
	loses(t, p, len("answer"))
	silent(t, client)
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	send(t, server, "more")
	send(t, client, "still there?")
	comes(t, server, "still there?")
	server.Close()
	silent(t, client)
	send(t, client, "hello?")
	silent(t, client)
	p.Reset()
	ends(t, client, syscall.ECONNRESET)
}

func TestLoseUp(t *testing.T) {
	p, client, server := connected(t)
	set(t, p, netfault.Faults{LoseUp: true})
	send(t, client, "question")
	loses(t, p, len("question"))
	client.Close()
	silent(t, server)
	set(t, p, netfault.Faults{})
	silent(t, server)
	if n := p.Conns(); n != 1 {
		t.Errorf("%d connections are open, and one half of one is", n)
	}
}

// A fault that comes and goes while nothing is sent does no harm.
func TestLoseNothing(t *testing.T) {
	p, client, server := connected(t)
	set(t, p, netfault.Faults{LoseUp: true, LoseDown: true})
	set(t, p, netfault.Faults{})
	send(t, client, "up")
	comes(t, server, "up")
	send(t, server, "down")
	comes(t, client, "down")
}

func TestBlackHole(t *testing.T) {
	s := newTarget(t)
	p := newProxy(t, s.addr)
	before := dial(t, p)
	server := s.accept(t)
	set(t, p, netfault.Faults{BlackHole: true})
	in := dial(t, p)
	for _, client := range []net.Conn{before, in} {
		send(t, client, "hello?")
		silent(t, client)
	}
	loses(t, p, 2*len("hello?"))
	silent(t, server)
	send(t, server, "hello?")
	loses(t, p, 3*len("hello?"))
	silent(t, before)
	if len(s.conns) != 0 {
		t.Error("the target gets connections that are swallowed")
	}
	set(t, p, netfault.Faults{})
	silent(t, before)
	silent(t, in)
	healed := dial(t, p)
	send(t, healed, "a")
	comes(t, s.accept(t), "a")
}

func TestRefuse(t *testing.T) {
	s := newTarget(t)
	p := newProxy(t, s.addr)
	before := dial(t, p)
	server := s.accept(t)
	set(t, p, netfault.Faults{Refuse: true})
	if conn, err := net.Dial("tcp", p.Addr()); err == nil {
		conn.Close()
		t.Error("a connection was not refused")
	}
	send(t, before, "goes on")
	comes(t, server, "goes on")
	set(t, p, netfault.Faults{})
	dial(t, p)
	s.accept(t)
}

// Whoever has taken the port meanwhile keeps it.
func TestRefuseAndLose(t *testing.T) {
	s := newTarget(t)
	p := newProxy(t, s.addr)
	set(t, p, netfault.Faults{Refuse: true})
	l, err := net.Listen("tcp", p.Addr())
	if err != nil {
		t.Fatal(err) // it was the proxy's just now
	}
	if err := p.Heal(); err == nil {
		t.Error("Heal has the port back, and it is taken")
	}
	l.Close()
	set(t, p, netfault.Faults{})
	dial(t, p)
	s.accept(t)
}

func TestReset(t *testing.T) {
	p, client, server := connected(t)
	set(t, p, netfault.Faults{Hold: true})
	send(t, client, "lost")
	p.Reset()
	ends(t, client, syscall.ECONNRESET)
	ends(t, server, syscall.ECONNRESET)
	p.Reset()
}

// How the target ends a connection arrives at the client, in time.
func TestTargetEnds(t *testing.T) {
	p, client, server := connected(t)
	send(t, server, "is carried")
	comes(t, client, "is carried")
	set(t, p, netfault.Faults{Latency: soon})
	begun := time.Now()
	_ = server.SetLinger(0)
	server.Close()
	ends(t, client, syscall.ECONNRESET)
	if took := time.Since(begun); took < soon {
		t.Errorf("the reset took %v, and the latency is %v", took, soon)
	}
}

func TestSetTarget(t *testing.T) {
	first := newTarget(t)
	p := newProxy(t, first.addr)
	set(t, p, netfault.Faults{Hold: true}) // holds no connection up that is made
	client := dial(t, p)
	first.accept(t)
	second := newTarget(t)
	p.SetTarget(second.addr)
	dial(t, p)
	second.accept(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	p.SetTarget(gone.Addr().String())
	set(t, p, netfault.Faults{})
	leadsNowhere(t, p)
	silent(t, client)
}

func TestClose(t *testing.T) {
	for _, f := range []netfault.Faults{{}, {Hold: true}, {Latency: time.Hour}, {BlackHole: true}, {LoseUp: true}} {
		s := newTarget(t)
		p := newProxy(t, s.addr)
		before := dial(t, p)
		s.accept(t)
		set(t, p, f)
		in := dial(t, p)
		send(t, before, "lost")
		send(t, in, "lost")
		time.Sleep(soon / 10) // so that it is under way
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		ends(t, before, syscall.ECONNRESET)
		ends(t, in, syscall.ECONNRESET)
		set(t, p, netfault.Faults{Refuse: true})
		set(t, p, netfault.Faults{})
		if conn, err := net.Dial("tcp", p.Addr()); err == nil {
			conn.Close()
			t.Error("a closed Proxy takes a connection")
		}
		p.Close()
	}
}

func TestNoSuchTarget(t *testing.T) { leadsNowhere(t, newProxy(t, "no such target")) }

// leadsNowhere checks that a connection is reset, at once or as soon as it is made.
func leadsNowhere(t *testing.T, p *netfault.Proxy) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer conn.Close()
		ends(t, conn, syscall.ECONNRESET)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("dialling: %v", err)
	}
}
