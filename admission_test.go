package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// addrConn is a connection from an address of the test's choice.
type addrConn struct {
	net.Conn
	addr net.Addr
}

func (c addrConn) RemoteAddr() net.Addr { return c.addr }

// textAddr is an address that is not package net's.
type textAddr string

func (a textAddr) Network() string { return "text" }
func (a textAddr) String() string  { return string(a) }

// dialFrom connects a client to srv from an address, which may be nil.
func dialFrom(t testing.TB, srv *Server, addr net.Addr) (*Client, error) {
	near, far := transport.Pipe(nil)
	var conn net.Conn = far
	if addr != nil {
		conn = addrConn{far, addr}
	}
	go srv.ServeConn(conn)
	cli := NewClientConn(near, quietOpts(nil))
	t.Cleanup(func() { cli.Close() })
	return cli, cli.Connect(t.Context())
}

// TestMaxConns: as many connections as that are served, one more is told BUSY, and when one has ended there is room.
func TestMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 3
		var lost atomic.Int32
		srv, log := newLogServer(t, &ServerOpts{MaxConns: most, OnLostConn: func(_ net.Addr, err error) {
			if errors.Is(err, Busy) {
				lost.Add(1)
			}
		}})
		srv.OnMessage("/hi", func() string { return "hi" })
		var clients []*Client
		for range most {
			cli, err := dialFrom(t, srv, nil)
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, cli)
		}
		for range 5 {
			_, err := dialFrom(t, srv, nil)
			wantFailed(t, err, Busy, NotProcessed)
			wantText(t, err.Error(), "at most 3 connections")
		}
		w := wireTo(t, srv) // a version 1 client
		w.request(4, "/hi", "null")
		w.wantAnswer(4, Busy, "at most 3")
		w.wantEnd()
		synctest.Wait()
		if n := len(srv.Conns()); n != most {
			t.Errorf("%d connections are open", n)
		}
		for i, cli := range clients {
			if err := cli.Call(t.Context(), "/hi", nil, nil); err != nil {
				t.Error(i, err)
			}
		}
		clients[0].Close()
		time.Sleep(2 * time.Second)
		if _, err := dialFrom(t, srv, nil); err != nil {
			t.Error("there is room again:", err)
		}
		if n := lost.Load(); n != 6 {
			t.Errorf("%d of 6 refused connections are reported as lost", n)
		}
		if n := strings.Count(log.String(), "level="); n != 1 {
			t.Errorf("the log has %d lines:\n%s", n, log)
		}
	})
}

// TestMaxConnsFlood: what is spent on telling clients that there are too many is bounded, in memory, time and log lines.
func TestMaxConnsFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, log := newLogServer(t, &ServerOpts{MaxConns: 1, HelloTimeout: 2 * time.Second})
		first, err := dialFrom(t, srv, nil)
		if err != nil {
			t.Fatal(err)
		}
		var silent []*wireEnd
		for range maxRefusing {
			silent = append(silent, wireTo(t, srv))
		}
		synctest.Wait()
		for range 1000 {
			begin := time.Now()
			wireTo(t, srv).wantEnd() // at once, without a word
			if time.Since(begin) > 0 {
				t.Fatal("it isn't closed at once")
			}
		}
		srv.mu.Lock()
		if n := len(srv.conns); n != 1+maxRefusing {
			t.Errorf("%d connections are kept", n)
		}
		srv.mu.Unlock()
		begin := time.Now()
		for _, w := range silent {
			w.wantEnd()
		}
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("who says nothing was kept for %v", d)
		}
		for range 30 {
			time.Sleep(time.Second)
			_, err := dialFrom(t, srv, nil)
			wantFailed(t, err, Busy, NotProcessed)
		}
		if _, err := first.Ping(1, time.Minute); err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "connections refused"); n < 3 || n > 4 {
			t.Errorf("the log has %d lines about %d connections:\n%s", n, maxRefusing+1000+30, log)
		}
		wantText(t, log.String(), "count=1071") // since the first one was logged
	})
}

// TestMaxConnsPerAddr: each IP address has its own bound, whatever its port and form, and who has none is bounded by MaxConns alone.
func TestMaxConnsPerAddr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newLogServer(t, &ServerOpts{MaxConnsPerAddr: 2, MaxConns: 9})
		tcp := func(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
		clients := map[net.Addr]*Client{}
		for _, addr := range []net.Addr{
			tcp("10.0.0.1", 1), tcp("::ffff:10.0.0.1", 2), tcp("10.0.0.2", 1), tcp("2001:db8::1", 1), textAddr("[2001:db8::1]:7"),
			textAddr("@"), textAddr("@"), textAddr("@"),
		} {
			cli, err := dialFrom(t, srv, addr)
			if err != nil {
				t.Fatalf("%v: %v", addr, err)
			}
			clients[addr] = cli
		}
		for _, addr := range []net.Addr{tcp("10.0.0.1", 3), textAddr("10.0.0.1:9"), textAddr("[2001:db8::1]:8")} {
			_, err := dialFrom(t, srv, addr)
			wantFailed(t, err, Busy, NotProcessed)
			wantText(t, err.Error(), "at most 2 connections of ")
		}
		if _, err := dialFrom(t, srv, tcp("10.0.0.2", 5)); err != nil {
			t.Error(err)
		}
		_, err := dialFrom(t, srv, tcp("10.0.0.3", 1))
		wantFailed(t, err, Busy, NotProcessed)
		wantText(t, err.Error(), "at most 9 connections")
		for addr, cli := range clients {
			if cli.Close(); strings.HasPrefix(addr.String(), "10.0.0.1:") {
				time.Sleep(2 * time.Second)
				if _, err := dialFrom(t, srv, tcp("10.0.0.1", 77)); err != nil {
					t.Error("there is room again:", err)
				}
				break
			}
		}
		srv.Close()
		synctest.Wait()
		srv.mu.Lock()
		defer srv.mu.Unlock()
		if a := &srv.admission; a.n != 0 || a.refusing != 0 || len(a.addrs) != 0 {
			t.Errorf("%d, %d and %v are left", a.n, a.refusing, a.addrs)
		}
	})
}

// TestMaxConnsWhenStopping: a server that stops counts nothing.
func TestMaxConnsWhenStopping(t *testing.T) {
	srv := quietServer(t, &ServerOpts{MaxConnsPerAddr: 1})
	srv.Close()
	_, far := transport.Pipe(nil)
	srv.ServeConn(addrConn{far, textAddr("10.0.0.1:1")})
	if a := &srv.admission; a.n != 0 || len(a.addrs) != 0 {
		t.Errorf("%d and %v are left", a.n, a.addrs)
	}
}

// TestOnLostConn: it is called once for each connection that ends otherwise than in order, also before hello.
func TestOnLostConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := make(chan error, 10)
		addrs := make(chan net.Addr, 10)
		on := func(addr net.Addr, err error) {
			lost <- err
			addrs <- addr
		}
		srv := quietServer(t, &ServerOpts{OnLostConn: on, HelloTimeout: time.Second, NoHTTP: true, Auth: func(_ context.Context, c *Credentials) (any, error) {
			var name string
			if len(c.Auth) > 2 {
				return name, errors.New("wrong name")
			}
			return name, nil
		}})
		want := func(what, text string) {
			t.Helper()
			time.Sleep(time.Minute)
			if len(lost) != 1 {
				t.Fatalf("%s: %d calls", what, len(lost))
			}
			if err := <-lost; err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v", what, err)
			}
			if addr := <-addrs; addr == nil || addr.Network() != "mem" {
				t.Errorf("%s: address %v", what, addr)
			}
		}
		wireTo(t, srv)
		want("silence", "first packet")
		wireTo(t, srv).write([]byte("GET / HTTP/1.1\r\n\r\n\x00\x00\x01"))
		want("garbage", "")
		wireTo(t, srv).request(1, "fly.hello", `{"flyrpc":2,"serializers":["json"],"auth":{"name":"x"}}`)
		want("refused", "wrong name")
		w := wireTo(t, srv)
		w.hello(plainHello)
		w.write([]byte{0x40})
		w.conn.Close()
		want("cut", io.ErrUnexpectedEOF.Error())

		w = wireTo(t, srv) // and in order
		w.hello(plainHello)
		w.conn.Close()
		w = wireTo(t, srv)
		w.hello(plainHello)
		synctest.Wait()
		srv.Close()
		time.Sleep(time.Minute)
		if len(lost) > 0 {
			t.Errorf("in order: %v", <-lost)
		}
	})
}

// TestOnLostConnOfClient: a client is told of a connection that Connect has returned.
func TestOnLostConnOfClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := make(chan error, 2)
		opts := &ClientOpts{OnLostConn: func(_ net.Addr, err error) {
			lost <- err
			panic("at the disco")
		}}
		peer, cli, log := rawServer(t, opts, jsonAnswer(4))
		if _, err := peer.conn.Write([]byte{0x80}); err != nil {
			t.Fatal(err)
		}
		peer.conn.Close()
		<-cli.Conn().Done()
		synctest.Wait()
		if len(lost) != 1 || !errors.Is(<-lost, io.ErrUnexpectedEOF) {
			t.Error("not told once")
		}
		log.want(t, "OnLostConn panicked")
		near, far := transport.Pipe(nil)
		cli = NewClientConn(near, opts)
		far.Close()
		if err := cli.Connect(t.Context()); err == nil {
			t.Error("connected")
		}
		synctest.Wait()
		if len(lost) > 0 {
			t.Errorf("Connect's own error: %v", <-lost)
		}
	})
}

// TestFirstConnTimeout: Serve gives up when no client comes in time. One that has come, though it has left, is enough.
func TestFirstConnTimeout(t *testing.T) {
	const limit = time.Minute
	for _, c := range []struct {
		name  string
		visit func(w *wireEnd)
		want  error
	}{
		{"nobody", nil, ErrNoClient},
		{"who says nothing", func(*wireEnd) {}, ErrNoClient},
		{"who knows no FlyRPC", func(w *wireEnd) { w.write([]byte("\r\n\r\n\x00\x00")) }, ErrNoClient},
		{"a client", func(w *wireEnd) { w.hello(plainHello); w.conn.Close() }, ErrServerClosed},
		{"a version 1 client", func(w *wireEnd) { w.request(1, "/x", "null"); w.recv() }, ErrServerClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := transport.NewMem()
				srv := quietServer(t, &ServerOpts{FirstConnTimeout: limit, Transports: []transport.Transport{mem}})
				begin := time.Now()
				served := make(chan error, 1)
				go func() { served <- srv.Listen("mem://first") }()
				time.Sleep(limit - time.Second)
				if c.visit != nil {
					addr, _ := transport.ParseAddr("mem://first")
					conn, err := mem.Dial(t.Context(), addr)
					if err != nil {
						t.Fatal(err)
					}
					c.visit(newWireEnd(t, conn))
				}
				if c.want == ErrServerClosed {
					time.Sleep(100 * limit)
					if len(served) > 0 {
						t.Fatal(<-served)
					}
					srv.Close()
				}
				err := <-served
				if !errors.Is(err, c.want) {
					t.Error(err)
				}
				if c.want == ErrNoClient {
					wantText(t, err.Error(), "1m0s", "mem://first")
					if d := time.Since(begin); d != limit {
						t.Errorf("after %v", d)
					}
				}
			})
		})
	}
}

// TestDribbledHello: a first packet that doesn't come to its end in time is cut though bytes come, with and without Auth and
// OnConnect, in either version.
func TestDribbledHello(t *testing.T) {
	const limit = 4 * time.Second
	hello := Packet{Flag: FlagWait, Sequence: 65535, Code: "fly.hello", Payload: []byte(plainHello)}
	large := Packet{Flag: FlagWait, Sequence: 1, Code: "fly.hello", Payload: []byte(strings.Repeat(" ", maxHello))}
	for _, first := range []Packet{hello, large, rawRequest(1, "/version/one", strings.Repeat("1", 100)), {Code: "/note", Payload: make([]byte, 100)}} {
		for _, auth := range []bool{false, true} {
			for _, greet := range []bool{false, true} {
				for _, early := range []time.Duration{0, time.Second} { // before and after OnConnect runs for a silent client
					t.Run(fmt.Sprintf("%s/%d/auth=%v/greet=%v/%v", first.Code, len(first.Payload), auth, greet, early), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							opts := &ServerOpts{HelloTimeout: limit, AllowV1: true}
							if auth {
								opts.Auth = func(context.Context, *Credentials) (any, error) { t.Error("Auth ran"); return nil, nil }
							}
							srv := quietServer(t, opts)
							if greet {
								srv.OnConnect(func(*Context) error { return nil })
							}
							peer := &rawPeer{t: t, conn: servePipe(srv)}
							defer peer.conn.Close()
							time.Sleep(early)
							begin := time.Now()
							if auth {
								begin = begin.Add(-early) // then silence counts too
							}
							n := dribble(peer, packetBytes(t, first), 1, 100*time.Millisecond)
							want := limit + 100*time.Millisecond // from the first byte on
							if auth {
								want = limit
							}
							if d := time.Since(begin); d < want || d > want+200*time.Millisecond || n > int(limit/(100*time.Millisecond))+2 {
								t.Errorf("cut after %v and %d bytes", d, n)
							}
						})
					})
				}
			}
		}
	}
}
