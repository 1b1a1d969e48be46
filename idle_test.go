package flyrpc

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// TestIdleTimeout: a connection with calls now and then stays, one without is closed in order.
func TestIdleTimeout(t *testing.T) {
	const idle = 20 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		lost := make(chan error, 1)
		ended := make(chan error, 1)
		p := newPair(t, &ServerOpts{IdleTimeout: idle, OnLostConn: func(_ net.Addr, err error) { lost <- err }}, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/hi", func() string { return "hi" })
			srv.OnMessage("/note", func() {})
			srv.OnDisconnect(func(_ *Context, err error) { ended <- err })
			cli.OnMessage("/push", func() {})
		})
		for range 5 {
			for _, f := range []func() error{
				func() error { return p.cc.Call(t.Context(), "/hi", nil, nil) },
				func() error { return p.cc.SendMessage(t.Context(), "/note", nil) },
				func() error { return p.sc.SendMessage(t.Context(), "/push", nil) },
				func() error { return p.sc.Call(t.Context(), "/push", nil, nil) },
				func() error { // an unknown path is a call too
					if err := p.cc.Call(t.Context(), "/nothing", nil, nil); Outcome(err) != NotProcessed {
						return err
					}
					return nil
				},
			} {
				time.Sleep(idle - time.Second)
				if err := f(); err != nil {
					t.Fatal(err)
				}
			}
		}
		synctest.Wait()
		last := time.Now()
		go func() {
			for p.cc.Err() == nil { // which don't count
				_, _ = p.cc.Ping(10, time.Second)
				time.Sleep(time.Minute)
			}
		}()
		<-p.sc.Done()
		if d := time.Since(last); d < idle || d > idle+idle/4+time.Second {
			t.Errorf("closed after %v", d)
		}
		if err := <-ended; err != nil {
			t.Errorf("it ended otherwise than in order: %v", err)
		}
		<-p.cc.Done()
		wantFailed(t, p.cc.Call(t.Context(), "/hi", nil, nil), Unavailable, NotSent)
		wantText(t, p.cc.bye.Load().Error(), "idle for 20m")
		time.Sleep(2 * time.Minute)
		if len(lost) > 0 {
			t.Errorf("it is lost: %v", <-lost)
		}
	})
}

// TestIdleIsNotBusy: what is open keeps a connection, in either direction, however long nothing moves.
func TestIdleIsNotBusy(t *testing.T) {
	const idle = time.Minute
	for name, open := range map[string]func(p *pair, ctx context.Context) *Pending{
		"a call":            func(p *pair, ctx context.Context) *Pending { return p.cc.Go(ctx, "/wait", nil, nil) },
		"one to the client": func(p *pair, ctx context.Context) *Pending { return p.sc.Go(ctx, "/wait", nil, nil) },
		"a stream": func(p *pair, ctx context.Context) *Pending {
			s, err := p.cc.OpenStream(ctx, "/items", nil)
			pending := &Pending{done: make(chan struct{}), err: err}
			go func() {
				<-ctx.Done()
				if err == nil {
					s.Close()
				}
				close(pending.done)
			}()
			return pending
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, &ServerOpts{IdleTimeout: idle}, nil, func(srv *Server, cli *Client) {
					for _, r := range []Registrar{srv, cli} {
						r.registrar().OnMessage("/wait", func(ctx *Context) { <-ctx.Done() })
					}
					srv.OnMessage("/items", func(s *Stream) error {
						var v any
						return s.Recv(&v)
					})
				})
				ctx, cancel := context.WithCancel(t.Context())
				call := open(p, ctx)
				time.Sleep(100 * idle)
				if err := p.sc.Err(); err != nil {
					t.Fatal(err)
				}
				cancel()
				<-call.Done()
				time.Sleep(2 * idle)
				if p.sc.Err() == nil {
					t.Error("it isn't closed")
				}
			})
		})
	}
}

// TestIdleByeOnTheWire: bye comes first, and what the client has sent before it read that is served.
func TestIdleByeOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newLogServer(t, &ServerOpts{IdleTimeout: 10 * time.Second})
		srv.OnMessage("/slow", func() string { time.Sleep(time.Second); return "done" })
		peer := rawClient(t, srv, textHello)
		begin := time.Now()
		if bye := peer.recv(); bye.Code != "fly.bye" || bye.Flag != 0 || string(bye.Payload) != `{"code":"UNAVAILABLE","message":"the connection was idle for 10s"}` {
			t.Fatalf("%+v %s", bye, bye.Payload)
		}
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("after %v", d)
		}
		peer.send(rawRequest(7, "/slow", ""))
		answered := false
		for {
			q, err := peer.next()
			if err == io.EOF {
				break
			}
			switch {
			case err != nil:
				t.Fatal(err)
			case q.Code == "fly.ping":
				peer.send(rawAnswer(q.Sequence, ""))
			case q.Sequence == 7 && string(q.Payload) == "done":
				answered = true
			default:
				t.Fatalf("%+v", q)
			}
		}
		if !answered {
			t.Error("the call that crossed the bye is lost")
		}
	})
}

// TestIdleAmidPieces: a request of which only pieces have come is open.
func TestIdleAmidPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newLogServer(t, &ServerOpts{IdleTimeout: time.Second, KeepaliveTime: -1})
		srv.OnMessage("/len", func(s string) int { return len(s) })
		peer := rawClient(t, srv, textHello)
		peer.send(Packet{Flag: FlagStream | FlagWait, Sequence: 1, Code: "+", Payload: []byte(`"abc`)})
		time.Sleep(time.Hour)
		peer.send(rawRequest(1, "/len", `def"`))
		for {
			if a := peer.recv(); a.Flag == FlagResponse && string(a.Payload) == "6" {
				break
			} else if a.Code != creditCode {
				t.Fatalf("%+v", a)
			}
		}
		peer.send(Packet{Flag: FlagStream | FlagWait, Sequence: 2, Code: "+"})
		time.Sleep(time.Hour)
		peer.send(rawCancel(2))
		for bye := false; !bye; {
			bye = peer.recv().Code == "fly.bye"
		}
		peer.conn.Close()
	})
}

// TestIdleSilent: who never says anything, and a version 1 peer, are closed as well, without a bye.
func TestIdleSilent(t *testing.T) {
	for _, greet := range []bool{false, true} {
		for _, v1 := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, &ServerOpts{IdleTimeout: time.Minute})
				srv.OnMessage("/x", func() string { return "y" })
				if greet {
					srv.OnConnect(func(*Context) error { return nil })
				}
				begin := time.Now()
				w := wireTo(t, srv)
				if v1 {
					time.Sleep(30 * time.Second)
					w.request(1, "/x", "null")
					w.wantAnswer(1, "", "y")
					begin = time.Now()
				}
				_ = w.conn.SetReadDeadline(time.Time{})
				if n, err := w.conn.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("%d, %v", n, err)
				}
				if d := time.Since(begin); d < time.Minute || d > 75*time.Second {
					t.Errorf("closed after %v", d)
				}
			})
		}
	}
}

// TestIdleClient: an idle client closes its connection in order and dials again for the next call.
func TestIdleClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{OnLostConn: func(_ net.Addr, err error) { t.Error(err) }})
		srv.OnMessage("/hi", func() string { return "hi" })
		dials := 0
		cli := NewClient("", quietOpts(&ClientOpts{
			IdleTimeout: time.Minute, OnLostConn: func(_ net.Addr, err error) { t.Error(err) },
			DialFunc: func(context.Context, string) (net.Conn, error) {
				dials++
				near, far := transport.Pipe(nil)
				go srv.ServeConn(far)
				return near, nil
			},
		}))
		defer cli.Close()
		for range 3 {
			for range 10 {
				if err := cli.Call(t.Context(), "/hi", nil, nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Second)
			}
			time.Sleep(time.Minute)
			if err := cli.Conn().Err(); err == nil || len(srv.Conns()) > 0 {
				t.Fatalf("%v, %d connections", err, len(srv.Conns()))
			}
		}
		if len(cli.lone.old) > 1 {
			t.Errorf("%d connections are still being closed", len(cli.lone.old))
		}
		if dials != 3 {
			t.Errorf("dialled %d times", dials)
		}
	})
}

// TestIdleClientDialsMeanwhile: a call while the idle connection is being closed goes over a new one, and Close ends both at once.
func TestIdleClientDialsMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := make(chan *wireEnd, 3)
		cli := NewClient("", quietOpts(&ClientOpts{
			IdleTimeout: 20 * time.Second, KeepaliveTime: -1,
			DialFunc: func(context.Context, string) (net.Conn, error) {
				near, far := transport.Pipe(nil)
				w := newWireEnd(t, far)
				go func() {
					w.serverHello(`{"flyrpc":2,"serializers":["json"]}`)
					peers <- w
				}()
				return near, nil
			},
		}))
		defer cli.Close()
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		first, w := cli.Conn(), <-peers
		for w.recv().Code != "fly.bye" {
		}
		call := make(chan error, 1)
		go func() { call <- cli.Call(t.Context(), "/x", nil, nil) }() // the first connection waits for its ping
		w = <-peers
		q := w.recv()
		w.send(Packet{Flag: FlagResponse, Sequence: q.Sequence})
		if err := <-call; err != nil || first.Err() != nil || cli.Conn() == first {
			t.Fatal(err, first.Err())
		}
		begin := time.Now()
		cli.Close()
		if first.Err() == nil || cli.Conn().Err() == nil || time.Since(begin) > 0 {
			t.Error("Close doesn't close both")
		}
		synctest.Wait()
	})
}
