//go:build unix

package flyrpc

import (
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// parkedPeer returns a server that has parked the connection of a bare version 2 client.
func parkedPeer(t *testing.T, opts ServerOpts, shared bool, set func(*Server)) (*Server, *Conn, *wireEnd) {
	t.Helper()
	opts.Logger = new(pairLog).logger()
	srv := NewServer(&opts)
	srv.OnMessage("echo", func(b []byte) []byte { return b })
	if set != nil {
		set(srv)
	}
	if shared {
		crowd(srv.ep)
	}
	near, far := tcpPair(t)
	served := make(chan struct{})
	go func() { defer close(served); srv.ServeConn(far) }()
	t.Cleanup(func() { srv.Close(); await1(t, served, "ServeConn"); wantNoneParked(t, srv.ep) })
	w := newWireEnd(t, near)
	w.hello(plainHello)
	if !eventually(func() bool { return len(srv.Conns()) == 1 }) {
		t.Fatal("no connection")
	}
	c := srv.Conns()[0]
	parked := func() bool {
		srv.ep.parking.tick()
		srv.ep.parking.mu.Lock()
		defer srv.ep.parking.mu.Unlock()
		return srv.ep.parking.shared[c.id] != nil || srv.ep.parking.alone%fewParked == 1
	}
	if !eventually(parked) {
		t.Fatal("not parked")
	}
	return srv, c, w
}

// eachWay runs a test with a connection that is parked alone, and with one that shares a goroutine.
func eachWay(t *testing.T, f func(t *testing.T, shared bool)) {
	for _, shared := range []bool{false, true} {
		name := "alone"
		if shared {
			name = "shared"
		}
		t.Run(name, func(t *testing.T) { f(t, shared) })
	}
}

// TestParkedPeerIsDead: the timer of a connection goes on while it is parked.
func TestParkedPeerIsDead(t *testing.T) {
	eachWay(t, func(t *testing.T, shared bool) {
		_, c, w := parkedPeer(t, ServerOpts{KeepaliveTime: 200 * time.Millisecond, KeepaliveInterval: 900 * time.Millisecond}, shared, nil)
		p := w.recv() // is not answered
		if p.Code != pingPath {
			t.Errorf("got %+v", p)
		}
		await1(t, c.ended, "the dead end to be found")
		wantText(t, c.Err().Error(), "the other end is dead")
	})
}

// TestParkedPeerAnswersPings: who answers pings isn't dead, whether it is parked when they come or not.
func TestParkedPeerAnswersPings(t *testing.T) {
	eachWay(t, func(t *testing.T, shared bool) {
		srv, c, w := parkedPeer(t, ServerOpts{KeepaliveTime: 30 * time.Millisecond, KeepaliveInterval: time.Second}, shared, nil)
		for range 20 {
			p := w.recv()
			if p.Code != pingPath {
				t.Fatalf("got %+v", p)
			}
			srv.ep.parking.tick()
			w.send(Packet{Flag: FlagResponse, Sequence: p.Sequence, Payload: p.Payload})
			srv.ep.parking.tick()
			srv.ep.parking.tick()
		}
		if c.Err() != nil {
			t.Error(c.Err())
		}
	})
}

// TestParkedConnectionIsIdleOrOld: IdleTimeout and MaxConnAge end parked connections in order.
func TestParkedConnectionIsIdleOrOld(t *testing.T) {
	for name, opts := range map[string]ServerOpts{
		"idle": {IdleTimeout: 400 * time.Millisecond, KeepaliveTime: -1},
		"old":  {MaxConnAge: 400 * time.Millisecond, KeepaliveTime: -1},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, shared bool) {
				_, c, w := parkedPeer(t, opts, shared, nil)
				begin := time.Now()
				if p := w.recv(); p.Code != byePath {
					t.Fatalf("got %+v", p)
				}
				w.wantPingsAndEnd()
				w.conn.Close()
				await1(t, c.ended, "the connection to end")
				if !c.inOrder() || time.Since(begin) > 5*time.Second {
					t.Errorf("%v after %v", c.Err(), time.Since(begin))
				}
			})
		})
	}
}

// cpu returns how much processor time this process has taken.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestParkedConnectionsTakeNoTime: nothing is done for them while they are silent.
func TestParkedConnectionsTakeNoTime(t *testing.T) {
	h := newHall(t, 3*fewParked)
	parkAll(t, h.srv.ep, len(h.ends))
	time.Sleep(100 * time.Millisecond)
	runtime.GC()
	before := cpu(t)
	time.Sleep(time.Second)
	if used := cpu(t) - before; used > 200*time.Millisecond {
		t.Errorf("%v of processor time in a second", used)
	}
	h.echo(t)
}

// TestParkedSilentPeer has version 1 peers be silent until OnConnect has run.
func TestParkedSilentPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(&ServerOpts{Logger: new(pairLog).logger()})
	srv.OnMessage("echo", func(b []byte) []byte { return b })
	connected := make(chan *Conn, 40)
	srv.OnConnect(func(ctx *Context) error {
		connected <- ctx.Conn()
		return ctx.Conn().SendMessage(ctx, "pushed", []byte("hi"))
	})
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); await1(t, served, "Serve"); wantNoneParked(t, srv.ep) })
	var ends []*wireEnd
	for range 2 * fewParked {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, newWireEnd(t, nc))
	}
	parkWhile([]*endpoint{srv.ep}, func() {
		for _, e := range ends {
			if p := e.recv(); p.Code != "pushed" {
				t.Errorf("got %+v", p)
			}
		}
		for range ends {
			await1(t, connected, "OnConnect")
		}
		for round := range 5 {
			for i, e := range ends {
				e.request(uint16(i+1), "echo", "x")
			}
			for i, e := range ends {
				e.wantAnswer(uint16(i+1), "", "x")
			}
			time.Sleep(time.Duration(round) * time.Millisecond)
		}
	})
	parkAll(t, srv.ep, len(ends))
	if err := srv.Shutdown(bounded(t)); err != nil {
		t.Error(err)
	}
	for _, e := range ends {
		if _, err := e.next(); err != io.EOF {
			t.Errorf("the end: %v", err)
		}
	}
}
