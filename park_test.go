//go:build unix

package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// TestSilentConnectionsAreParked leaves it to the timer.
func TestSilentConnectionsAreParked(t *testing.T) {
	before := runtime.NumGoroutine()
	const n = 200
	h := newHall(t, n)
	if !eventually(func() bool { return parkedOf(h.srv.ep) == n }) {
		t.Fatalf("%d of %d connections are parked", parkedOf(h.srv.ep), n)
	}
	h.srv.ep.parking.mu.Lock()
	listed, set := len(h.srv.ep.parking.listed), h.srv.ep.parking.set
	h.srv.ep.parking.mu.Unlock()
	if listed != 0 {
		t.Errorf("%d parked connections are looked at", listed)
	}
	if set == nil {
		t.Skip("this system waits with a goroutine each")
	}
	few := func() bool { return runtime.NumGoroutine()-before < n/2 }
	if start := time.Now(); !eventually(few) || time.Since(start) > 4*time.Second { // idle workers end after five
		t.Errorf("%d goroutines for %d connections that are parked", runtime.NumGoroutine()-before, n)
	}
	h.echo(t)
}

// TestParkedConnectionsWakeAtOnce also looks how much stack they have.
func TestParkedConnectionsWakeAtOnce(t *testing.T) {
	before := stackInUse()
	const n = 2000
	h := newHall(t, n)
	for range 2 {
		parkAll(t, h.srv.ep, n)
		small := func() bool { return stackInUse() < before+n*512 } // once the workers have gone, too, that ran handlers
		if runtime.GOOS == "linux" && !eventually(small) {
			t.Errorf("more than 512 bytes of stack for a connection that is parked")
		}
		h.echo(t)
	}
	parkAll(t, h.srv.ep, n)
}

// eachParking runs a test with connections that are parked alone and with a goroutine that they share.
func eachParking(t *testing.T, test func(t *testing.T, p *pair)) {
	for _, shared := range []bool{false, true} {
		name := "alone"
		if shared {
			name = "shared"
		}
		t.Run(name, func(t *testing.T) {
			p := newTCPPair(t, func(srv *Server, cli *Client) {
				srv.OnMessage("echo", func(b []byte) []byte { return b })
				cli.OnMessage("echo", func(b []byte) []byte { return b })
			})
			if shared {
				crowd(p.srv.ep)
				crowd(p.cli.ep)
			}
			t.Cleanup(func() {
				p.cli.Close()
				p.srv.Close()
				wantNoneParked(t, p.srv.ep)
				wantNoneParked(t, p.cli.ep)
			})
			test(t, p)
		})
	}
}

// park parks both ends.
func (p *pair) park(t *testing.T) {
	t.Helper()
	for _, c := range []*Conn{p.sc, p.cc} {
		isParked := func() bool {
			c.ep.parking.tick()
			c.ep.parking.mu.Lock()
			defer c.ep.parking.mu.Unlock()
			return c.ep.parking.shared[c.id] != nil || c.ep.parking.alone%fewParked == 1
		}
		if !eventually(isParked) {
			t.Fatal("a silent connection isn't parked")
		}
	}
}

func TestParkedEndsCallEachOther(t *testing.T) {
	eachParking(t, func(t *testing.T, p *pair) {
		for range 5 {
			for name, c := range map[string]*Conn{"client": p.cc, "server": p.sc} {
				p.park(t)
				for range 2 * loneAfter {
					got, err := Call[[]byte](bounded(t), c, "echo", []byte("hello"))
					if err != nil || string(got) != "hello" {
						t.Fatalf("call of the %s: %q, %v", name, got, err)
					}
				}
			}
		}
		p.park(t)
		if _, err := p.sc.Ping(0, patience); err != nil {
			t.Errorf("ping: %v", err)
		}
		p.park(t)
		large := bytes.Repeat([]byte("large"), 200_000)
		if got, err := Call[[]byte](bounded(t), p.cc, "echo", large); err != nil || !bytes.Equal(got, large) {
			t.Errorf("a large call: %d bytes, %v", len(got), err)
		}
	})
}

// A caller that gives up leaves the connection as it was.
func TestParkedCallerGivesUp(t *testing.T) {
	eachParking(t, func(t *testing.T, p *pair) {
		release := make(chan struct{})
		p.srv.OnMessage("wait", func(*Context) { <-release })
		defer close(release)
		p.park(t)
		ctx, cancel := context.WithCancel(bounded(t))
		called := make(chan error, 1)
		go func() { called <- p.cc.Call(ctx, "wait", nil, nil) }()
		p.park(t) // the answer is awaited meanwhile
		cancel()
		if err := await1(t, called, "the call"); !errors.Is(err, context.Canceled) {
			t.Errorf("the call: %v", err)
		}
		if got, err := Call[[]byte](bounded(t), p.cc, "echo", []byte("x")); err != nil || string(got) != "x" {
			t.Errorf("the next call: %q, %v", got, err)
		}
	})
}

func TestParkedConnectionsEnd(t *testing.T) {
	ends := map[string]func(t *testing.T, p *pair){
		"server closes": func(_ *testing.T, p *pair) { p.srv.Close() },
		"client closes": func(_ *testing.T, p *pair) { p.cli.Close() },
		"connection closes": func(_ *testing.T, p *pair) {
			p.sc.Close()
		},
		"server shuts down": func(t *testing.T, p *pair) {
			if err := p.srv.Shutdown(bounded(t)); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			eachParking(t, func(t *testing.T, p *pair) {
				p.park(t)
				end(t, p)
				await1(t, p.sc.ended, "the server's reader to end")
				await1(t, p.cc.ended, "the client's reader to end")
				if name == "server shuts down" && !(p.sc.inOrder() && p.cc.inOrder()) {
					t.Errorf("out of order: %v, %v", p.sc.Err(), p.cc.Err())
				}
			})
		})
	}
}

// A connection that is reset while it is parked doesn't look as if it had ended in order.
func TestParkedConnectionIsReset(t *testing.T) {
	eachParking(t, func(t *testing.T, p *pair) {
		p.park(t)
		if err := p.cc.proto.conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		p.cli.Close()
		await1(t, p.sc.ended, "the server's reader to end")
		if !errors.Is(p.sc.Err(), syscall.ECONNRESET) {
			t.Errorf("the connection ended with %v, want ECONNRESET", p.sc.Err())
		}
	})
}

// TestParkingRaces parks connections all the time while small and large messages come on them.
func TestParkingRaces(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := new(pairLog)
	srv := NewServer(&ServerOpts{Logger: log.logger()})
	srv.OnMessage("echo", func(b []byte) []byte { return b })
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(l) }()
	defer func() { srv.Close(); await1(t, served, "Serve"); wantNoneParked(t, srv.ep) }()
	var clients []*Client
	eps := []*endpoint{srv.ep}
	for range fewParked + 4 {
		cli, err := Dial(bounded(t), l.Addr().String(), &ClientOpts{Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { cli.Close(); await1(t, cli.Conn().ended, "a client's reader"); wantNoneParked(t, cli.ep) }()
		clients, eps = append(clients, cli), append(eps, cli.ep)
	}
	sizes := []int{0, 100, 20 << 10, 100, 300 << 10}
	some := parkWhile(eps, func() {
		var wg sync.WaitGroup
		for i, cli := range clients {
			wg.Go(func() {
				for j := range 40 {
					message := bytes.Repeat([]byte{byte(i)}, sizes[(i+j)%len(sizes)])
					got, err := Call[[]byte](bounded(t), cli, "echo", message)
					if err != nil || !bytes.Equal(got, message) {
						t.Errorf("client %d, call %d: %d bytes of %d, %v", i, j, len(got), len(message), err)
						return
					}
					time.Sleep(time.Duration(j%4) * 100 * time.Microsecond)
				}
			})
		}
		wg.Wait()
	})
	if !some {
		t.Error("no connection was ever parked")
	}
}

// TestHalfAPacketIsNotParked sends packets byte by byte while connections are parked all the time: a reader that was asked to
// park within a packet would lose it.
func TestHalfAPacketIsNotParked(t *testing.T) {
	h := newHall(t, 2)
	packet, err := AppendPacket(nil, &Packet{Flag: FlagWait, Sequence: 9, Code: "echo", Payload: []byte("slowly")})
	if err != nil {
		t.Fatal(err)
	}
	large, err := AppendPacket(nil, &Packet{Flag: FlagWait, Sequence: 10, Code: "echo", Payload: make([]byte, 2*largeBody)})
	if err != nil {
		t.Fatal(err)
	}
	tooLarge, err := AppendPacket(nil, &Packet{Flag: FlagWait, Sequence: 11, Code: "echo", Payload: bytes.Repeat([]byte{0xFF}, DefaultMaxMessage+1<<20)})
	if err != nil {
		t.Fatal(err)
	}
	e := h.ends[0]
	parkWhile([]*endpoint{h.srv.ep}, func() {
		for _, b := range packet {
			e.write([]byte{b})
			time.Sleep(time.Millisecond)
		}
		if p := e.recv(); string(p.Payload) != "slowly" {
			t.Errorf("got %+v", p)
		}
		for _, b := range [][]byte{large[:100], large[100:20_000], large[20_000:]} {
			e.write(b)
			time.Sleep(5 * time.Millisecond)
		}
		if p := e.recv(); p.Sequence != 10 || len(p.Payload) != 2*largeBody {
			t.Errorf("got %d bytes, sequence %d", len(p.Payload), p.Sequence)
		}
		for _, b := range [][]byte{tooLarge[:100_000], tooLarge[100_000:200_000], tooLarge[200_000:]} { // is skipped
			e.write(b)
			time.Sleep(5 * time.Millisecond)
		}
		if p := e.recv(); p.Code != string(TooLong) {
			t.Errorf("got %+v", p)
		}
	})
	h.echo(t)
}

// TestParkWithoutSet parks a connection that can't be waited for together with others. Its reader finds out why.
func TestParkWithoutSet(t *testing.T) {
	cli := NewClient("", &ClientOpts{Logger: new(pairLog).logger()})
	near, _ := tcpPair(t)
	c := newConn(cli.ep, near) // the test has the turn
	crowd(cli.ep)
	near.Close()
	c.loneRequests = loneAfter + 1
	c.park()
	await1(t, c.ended, "the reader to end")
	if !errors.Is(c.Err(), net.ErrClosed) {
		t.Errorf("the connection ended with %v", c.Err())
	}
	if c.loneRequests != 0 {
		t.Errorf("a lone caller's connection counts from %d after it was parked", c.loneRequests)
	}
	wantNoneParked(t, cli.ep)
	cli.Close()
}

// TestSetFails has the goroutine that waits for parked connections fail.
func TestSetFails(t *testing.T) {
	h := newHall(t, 2*fewParked)
	parkAll(t, h.srv.ep, len(h.ends))
	p := &h.srv.ep.parking
	p.mu.Lock()
	set := p.set
	p.mu.Unlock()
	if set == nil {
		t.Skip("this system waits with a goroutine each")
	}
	if p.unpark(new(transport.ReadSet), nil, errors.New("of one that was in use before")) || parkedOf(h.srv.ep) != len(h.ends) {
		t.Error("a set that isn't in use any more unparks connections")
	}
	if p.unpark(set, nil, errors.New("no more")) || parkedOf(h.srv.ep) != fewParked {
		t.Errorf("%d connections are parked after the set has failed", parkedOf(h.srv.ep))
	}
	h.echo(t)
	parkAll(t, h.srv.ep, len(h.ends))
	h.echo(t)
}
