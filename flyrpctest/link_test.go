package flyrpctest

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/transport"
)

// took checks how long a call takes.
func took(t testing.TB, c flyrpc.Caller, path string, want time.Duration) {
	t.Helper()
	begin := time.Now()
	if err := c.Call(t.Context(), path, nil, nil); err != nil || time.Since(begin) != want {
		t.Errorf("%s took %v, want %v: %v", path, time.Since(begin), want, err)
	}
}

// reconnect waits for the client's connection to be lost and connects again.
func reconnect(t testing.TB, c *Client) {
	t.Helper()
	<-c.Conn().Done()
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Delays and rates hold for connections that come later too.
func TestLinkSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAdder(t)
		srv.OnMessage("/text", Reply(strings.Repeat("x", 10_000)))
		cli := NewClient(t, srv, &flyrpc.ClientOpts{HelloTimeout: time.Minute})
		cli.Link.Up.SetDelay(time.Second)
		cli.Link.Down.SetDelay(2 * time.Second)
		took(t, cli, "/add", 3*time.Second)
		cli.Link.Reset()
		begin := time.Now()
		reconnect(t, cli)
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("hello took %v", d)
		}
		took(t, cli, "/add", 3*time.Second)
		cli.Link.Up.SetDelay(0)
		cli.Link.Down.SetDelay(0)
		took(t, cli, "/add", 0)

		cli.Link.Down.SetRate(1000)
		begin = time.Now()
		text, err := flyrpc.Call[string](t.Context(), cli, "/text", nil)
		if d := time.Since(begin).Round(100 * time.Millisecond); err != nil || len(text) != 10_000 || d != 10*time.Second {
			t.Errorf("%d bytes in %v, %v", len(text), d, err)
		}
		cli.Link.Down.SetRate(0)
		cli.Link.Down.SetChunk(1)
		if text, err := flyrpc.Call[string](t.Context(), cli, "/text", nil); len(text) != 10_000 || err != nil {
			t.Errorf("%d bytes, byte for byte, %v", len(text), err)
		}
	})
}

// A cut counts the bytes of one direction, of the connection that is open or of the next one.
func TestLinkCloseAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newAdder(t)
		rec := new(Recorder)
		srv.Use(rec.Middleware)
		srv.OnMessage("/text", Reply(strings.Repeat("x", 1000)))
		cli := NewClient(t, srv, nil)
		cli.Link.Down.CloseAfter(100)
		wantErr(t, cli.Call(t.Context(), "/text", nil, nil), flyrpc.Unavailable, flyrpc.Unknown)
		cli.Link.Up.CloseAfter(5) // the next one, in the middle of hello
		wantErr(t, cli.Connect(t.Context()), flyrpc.Unavailable, flyrpc.NotSent)
		reconnect(t, cli)
		cli.Link.Up.CloseAfter(3)
		wantErr(t, cli.Call(t.Context(), "/text", nil, nil), flyrpc.Unavailable, flyrpc.Unknown)
		reconnect(t, cli)
		cli.Link.Up.CloseAfter(3)
		cli.Link.Up.CloseAfter(-1)
		wantSum(t, cli)
		if list := rec.Records("/text"); len(list) != 1 {
			t.Errorf("handled: %v", list)
		}
	})
}

// A connection that is lost, and that nobody has closed yet, isn't the one to be cut.
func TestLinkCloseAfterLost(t *testing.T) {
	host := Serve(t, newAdder(t))
	link := host.NewLink()
	dial := func() net.Conn {
		nc, err := link.Dial(t.Context(), &url.URL{Scheme: "mem", Host: "server"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return nc
	}
	dial()
	host.Stop()
	host.Start(nil)
	link.Up.CloseAfter(1)
	if n, err := dial().Write([]byte("xy")); n != 1 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	third := dial()
	_ = third.SetWriteDeadline(time.Unix(1, 0))
	link.Up.CloseAfter(0) // cuts the third one, whatever its deadline is
	if _, err := dial().Write([]byte("xy")); err != nil {
		t.Error(err)
	}
}

// In a partition nothing comes through, nor does Dial; what was sent arrives when it is healed.
func TestLinkPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewServer(t, &flyrpc.ServerOpts{KeepaliveTime: -1}) // which would notice
		srv.OnMessage("/add", add)
		cli := NewClient(t, srv, &flyrpc.ClientOpts{KeepaliveTime: -1})
		cli.Link.Partition()
		call := cli.Go(t.Context(), "/add", sum{1, 1}, nil)
		other, err := flyrpc.NewClient(cli.Host.Addr(), &flyrpc.ClientOpts{Transports: []transport.Transport{cli.Link}}), make(chan error, 1)
		defer other.Close()
		go func() { err <- other.Connect(t.Context()) }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, dialErr := cli.Link.Dial(ctx, &url.URL{Scheme: "mem", Host: "server"})
		if !errors.Is(dialErr, context.DeadlineExceeded) {
			t.Error(dialErr)
		}
		time.Sleep(time.Hour)
		select {
		case <-call.Done():
			t.Error("answered in a partition")
		case e := <-err:
			t.Errorf("connected in a partition: %v", e)
		default:
		}
		cli.Link.Up.SetPartition(false)
		synctest.Wait()
		if len(srv.Conns()) != 1 {
			t.Error("connected while one direction is parted")
		}
		cli.Link.Heal()
		if err := call.Err(); err != nil {
			t.Error(err)
		}
		if err := <-err; err != nil {
			t.Error(err)
		}
		wantSum(t, other)
	})
}

func TestLinkRefuseDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli := NewClient(t, newAdder(t), nil)
		cli.Link.RefuseDials(syscall.EHOSTUNREACH)
		cli.Link.Reset()
		<-cli.Conn().Done()
		err := cli.Connect(t.Context())
		wantErr(t, err, flyrpc.Unavailable, flyrpc.NotSent)
		if !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Error(err)
		}
		cli.Link.RefuseDials(nil)
		reconnect(t, cli)
		wantSum(t, cli)
		if n := cli.Link.Dials(); n != 2 {
			t.Errorf("%d dials", n)
		}
	})
}

// A Link as the server's transport, in memory.
func TestLinkListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := transport.NewMem()
		link := NewLink(t, mem)
		srv := NewServer(t, &flyrpc.ServerOpts{Transports: []transport.Transport{link}, KeepaliveTime: -1})
		srv.OnMessage("/add", add)
		served := make(chan error, 1)
		go func() { served <- srv.Listen("mem://here") }()
		synctest.Wait()
		cli, err := flyrpc.Dial(t.Context(), "mem://here", &flyrpc.ClientOpts{Transports: []transport.Transport{mem}, KeepaliveTime: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		link.Up.SetDelay(time.Hour)
		took(t, cli, "/add", time.Hour)
		if _, err := link.Listen(t.Context(), &url.URL{Scheme: "mem", Host: "here"}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Error(err)
		}
		srv.Close()
		if err := <-served; err != flyrpc.ErrServerClosed {
			t.Error(err)
		}
	})
}

// tcpServer serves sums at a socket, over link if that isn't nil, and returns the address.
func tcpServer(t *testing.T, link *Link) (*flyrpc.Server, string) {
	srv := newAdder(t)
	srv.OnMessage("/text", Reply(strings.Repeat("x", 100_000)))
	var table transport.Transport = transport.TCP{}
	if link != nil {
		table = link
	}
	l, err := table.Listen(t.Context(), &url.URL{Scheme: "tcp", Host: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	return srv, "tcp://" + l.Addr().String()
}

// tcpClient dials over a Link.
func tcpClient(t *testing.T, link *Link, addr string) *flyrpc.Client {
	cli, err := flyrpc.Dial(t.Context(), addr, &flyrpc.ClientOpts{Transports: []transport.Transport{link}, Logger: NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

// Over a real socket a Link injects the same faults.
func TestLinkTCP(t *testing.T) {
	srv, addr := tcpServer(t, nil)
	link := NewLink(t, transport.TCP{})
	cli := tcpClient(t, link, addr)
	if got := cli.Conn().RemoteAddr().String(); "tcp://"+got != addr {
		t.Errorf("connected to %s, want %s", got, addr)
	}
	wantSum(t, cli)
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	link.Down.CloseAfter(1000)
	wantErr(t, cli.Call(ctx, "/text", nil, nil), flyrpc.Unavailable, flyrpc.Unknown)
	<-cli.Conn().Done()
	if err := cli.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	wantSum(t, cli)
	link.Up.SetChunk(1)
	wantSum(t, cli)
	link.Reset()
	<-cli.Conn().Done()
	if !errors.Is(cli.Conn().Err(), syscall.ECONNRESET) {
		t.Errorf("reset: %v", cli.Conn().Err())
	}
	if err := cli.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	if err := srv.Shutdown(ctx); err != nil { // closes in order, by halves
		t.Error(err)
	}
	<-cli.Conn().Done()
	wantErr(t, cli.Connect(ctx), flyrpc.Unavailable, flyrpc.NotSent)
}

// The listening side of a real socket.
func TestLinkTCPListen(t *testing.T) {
	link := NewLink(t, transport.TCP{})
	srv, addr := tcpServer(t, link)
	cli, err := flyrpc.Dial(t.Context(), addr, &flyrpc.ClientOpts{Logger: NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	wantSum(t, cli)
	ended := srv.Conns()[0].Done()
	link.Down.CloseAfter(1000)
	err = cli.Call(t.Context(), "/text", nil, nil)
	wantErr(t, err, flyrpc.Unavailable, flyrpc.Unknown)
	<-ended
}

// What was sent before Close arrives, and a connection that is never closed ends with the test.
func TestBridge(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := &fakeTB{TB: t}
	wantText(t, f.run(func(ft testing.TB) {
		link := NewLink(ft, transport.TCP{})
		for i, last := range []string{"bye", ""} {
			nc, err := link.Dial(t.Context(), &url.URL{Scheme: "tcp", Host: l.Addr().String()})
			if err != nil {
				t.Error(err)
				return
			}
			far, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer far.Close()
			if i > 0 {
				continue // left open
			}
			_, _ = nc.Write([]byte(last))
			nc.Close()
			b := make([]byte, 10)
			if n, err := far.Read(b); string(b[:n]) != last || err != nil {
				t.Errorf("got %q, %v", b[:n], err)
			}
			if _, err := far.Read(b); err == nil {
				t.Error("not closed")
			}
		}
	}))
	if _, err := NewLink(t, transport.TCP{}).Dial(t.Context(), &url.URL{Scheme: "tcp", Host: "127.0.0.1"}); err == nil {
		t.Error("dialled without a port")
	}
}
