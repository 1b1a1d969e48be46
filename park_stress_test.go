//go:build unix

package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestParkingStress parks connections all the time while callers of both ends share them, give up, send items, and close them.
func TestParkingStress(t *testing.T) {
	var answered atomic.Int64
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { parkingStress(t, network, &answered) })
	}
	if answered.Load() == 0 {
		t.Error("no call was answered")
	}
}

// parkingStress is TestParkingStress over one kind of socket.
func parkingStress(t *testing.T, network string, answered *atomic.Int64) {
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = t.TempDir() + "/s"
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	log := new(pairLog)
	srv := NewServer(&ServerOpts{Logger: log.logger()})
	srv.OnMessage("echo", func(b []byte) []byte { return b })
	srv.OnMessage("slow", func(ctx *Context) { sleepUpTo(3 * time.Millisecond) })
	srv.OnMessage("back", func(ctx *Context, b []byte) ([]byte, error) { return Call[[]byte](ctx, ctx.Conn(), "echo", b) })
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(l) }()
	defer func() { srv.Close(); await1(t, served, "Serve"); wantNoneParked(t, srv.ep) }()
	clients := stressClients(t, log, l.Addr())
	eps := []*endpoint{srv.ep}
	for _, cli := range clients {
		eps = append(eps, cli.ep)
	}
	end := time.Now().Add(time.Second)
	parkWhile(eps, func() {
		var wg sync.WaitGroup
		for i, cli := range clients {
			for range 1 + i%3 {
				wg.Go(func() {
					for time.Now().Before(end) {
						stressCall(t, cli, answered)
						sleepUpTo(2 * time.Millisecond)
					}
				})
			}
		}
		wg.Go(func() { stressPush(t, srv, end) })
		wg.Go(func() { // children inherit nothing
			for time.Now().Before(end) {
				_ = exec.Command("/bin/true").Run()
				sleepUpTo(10 * time.Millisecond)
			}
		})
		wg.Wait()
	})
	for _, cli := range clients {
		conn := cli.Conn()
		cli.Close()
		await1(t, conn.ended, "a client's reader")
		wantNoneParked(t, cli.ep)
	}
}

// stressClients returns clients that are connected, of which every other one shares a goroutine.
func stressClients(t *testing.T, log *pairLog, addr net.Addr) (clients []*Client) {
	for i := range fewParked + 8 {
		cli := NewClient("", &ClientOpts{Logger: log.logger(), DialFunc: func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, addr.Network(), addr.String())
		}})
		cli.OnMessage("echo", func(b []byte) []byte { return b })
		if err := cli.Connect(bounded(t)); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			crowd(cli.ep)
		}
		clients = append(clients, cli)
	}
	return clients
}

// stressPush calls all clients, one after the other, until end.
func stressPush(t *testing.T, srv *Server, end time.Time) {
	for time.Now().Before(end) {
		for _, c := range srv.Conns() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			got, err := Call[[]byte](ctx, c, "echo", []byte("pushed"))
			if ctx.Err() != nil {
				t.Errorf("a push hangs: %v", err)
			} else if err == nil && string(got) != "pushed" {
				t.Errorf("pushed %q", got)
			}
			cancel()
		}
		sleepUpTo(time.Millisecond)
	}
}

// sleepUpTo sleeps for up to d, or not at all.
func sleepUpTo(d time.Duration) {
	if n := rand.N(d); n > d/4 {
		time.Sleep(n)
	}
}

// stressCall makes one call, of some kind.
func stressCall(t *testing.T, cli *Client, answered *atomic.Int64) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn := cli.Conn()
	var err error
	switch rand.N(12) {
	case 0:
		short, stop := context.WithTimeout(ctx, rand.N(2*time.Millisecond))
		err = cli.Call(short, "slow", nil, nil)
		stop()
	case 1:
		_, err = conn.Ping(0, patience)
	case 2:
		var got []byte
		got, err = Call[[]byte](ctx, cli, "back", []byte("b"))
		if err == nil && string(got) != "b" {
			err = fmt.Errorf("got %q", got)
			t.Error(err)
		}
	case 3:
		big := bytes.Repeat([]byte("x"), 1+rand.N(200_000))
		var got []byte
		got, err = Call[[]byte](ctx, cli, "echo", big)
		if err == nil && !bytes.Equal(got, big) {
			t.Error("large echo")
		}
	case 4:
		if rand.N(20) == 0 {
			conn.Close()
		} else {
			err = cli.Call(context.Background(), "slow", nil, nil)
		}
	case 5:
		var r io.Reader
		if err = cli.Call(ctx, "echo", bytes.NewReader(make([]byte, 5000)), &r); err == nil {
			_, err = io.Copy(io.Discard, r)
		}
	case 6:
		p := conn.Go(ctx, "echo", []byte("go"), nil)
		err = p.Err()
	default:
		var got []byte
		got, err = Call[[]byte](ctx, cli, "echo", []byte("e"))
		if err == nil && string(got) != "e" {
			t.Errorf("got %q", got)
		}
	}
	if ctx.Err() != nil {
		t.Errorf("a call hangs: %v", err)
	}
	if err == nil {
		answered.Add(1)
	} else if errors.Is(err, Internal) || errors.Is(err, os.ErrDeadlineExceeded) { // a deadline was left
		t.Error(err)
	}
}

// TestAskedReaderGetsAPacket has a packet come when the reader was asked to park and has no deadline yet: it must not be left with it.
func TestAskedReaderGetsAPacket(t *testing.T) {
	p := newTCPPair(t, func(srv *Server, _ *Client) {
		srv.OnMessage("echo", func(b []byte) []byte { return b })
	})
	for range 3 {
		c := p.sc
		c.ep.parking.asking.Lock()
		asked := func() bool {
			n := c.rest.n.Load()
			return n&1 == 1 && c.rest.n.CompareAndSwap(n, n+1)
		}
		if !eventually(asked) {
			t.Fatal("the reader doesn't wait")
		}
		called := make(chan error, 1)
		go func() { called <- p.cc.Call(bounded(t), "echo", []byte("x"), nil) }()
		time.Sleep(20 * time.Millisecond)
		_ = c.proto.conn.SetReadDeadline(time.Unix(1, 0))
		c.ep.parking.asking.Unlock()
		if err := await1(t, called, "the call"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		if err := c.Err(); err != nil {
			t.Fatalf("the connection has ended: %v", err)
		}
	}
}
