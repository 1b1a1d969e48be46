package flyrpc

import (
	"context"
	"iter"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// TestMaxConnAge: connections are closed in order at their age, give or take 10%, and not all together.
func TestMaxConnAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age, n = time.Hour, 100
		srv, log := newLogServer(t, &ServerOpts{MaxConnAge: age, OnLostConn: func(_ net.Addr, err error) { t.Error(err) }})
		begin := time.Now()
		ends := make(chan time.Duration, n)
		for i := range n {
			opts := &ClientOpts{KeepaliveTime: time.Duration(i+1) * time.Second}
			conn := connectPipe(t, srv, opts).Conn()
			go func() {
				<-conn.Done()
				ends <- time.Since(begin)
			}()
		}
		seen := map[time.Duration]bool{}
		for range n {
			d := <-ends
			if seen[d] = true; d < age*9/10 || d > age*11/10 {
				t.Errorf("closed at the age of %v", d)
			}
		}
		if len(seen) < n/2 {
			t.Errorf("%d ends came at %d times", n, len(seen))
		}
		if text := log.String(); text != "" {
			t.Errorf("the log says %s", text)
		}
	})
}

// TestMaxConnAgeOfBusy: at its age a connection takes no new calls and lets the open ones end.
func TestMaxConnAgeOfBusy(t *testing.T) {
	for _, v := range []struct {
		name string
		left time.Duration // what the call takes after the age
		ok   bool
	}{{"ends in time", retireGrace - 2*time.Second, true}, {"doesn't end", 10 * time.Minute, false}} {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const age = time.Hour
				p := newPair(t, &ServerOpts{MaxConnAge: age}, nil, func(srv *Server, cli *Client) {
					srv.OnMessage("/work", func(ctx *Context) string {
						select {
						case <-ctx.Conn().retiringForTest():
							time.Sleep(v.left)
						case <-ctx.Done():
						}
						return "done"
					})
				})
				call := p.cc.Go(t.Context(), "/work", nil, nil)
				for p.cc.bye.Load() == nil {
					time.Sleep(time.Second)
				}
				bye := time.Now()
				wantFailed(t, p.cc.Call(t.Context(), "/work", nil, nil), Unavailable, NotSent)
				<-call.Done()
				d := time.Since(bye)
				if v.ok {
					if err := call.Err(); err != nil || d > v.left+time.Second {
						t.Errorf("%v after %v", err, d)
					}
				} else {
					wantFailed(t, call.Err(), Unavailable, Answered)
					if d < retireGrace-time.Second || d > retireGrace {
						t.Errorf("cut after %v", d)
					}
				}
				<-p.sc.Done()
				if !p.sc.inOrder() || time.Since(bye) > retireGrace+2*time.Second {
					t.Errorf("%v after %v", p.sc.Err(), time.Since(bye))
				}
				time.Sleep(20 * time.Minute)
			})
		})
	}
}

// retiringForTest returns a channel that is closed when the connection is about to be closed in order.
func (c *Conn) retiringForTest() <-chan struct{} {
	ch := make(chan struct{})
	go func() {
		defer close(ch)
		for !c.retiring.Load() && c.Err() == nil {
			time.Sleep(time.Second)
		}
	}()
	return ch
}

// TestMaxConnAgeUnderLoad: a client that calls without a pause loses no call: each is served, or was not sent.
func TestMaxConnAgeUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newLogServer(t, &ServerOpts{MaxConnAge: time.Minute})
		srv.OnMessage("/hi", func() string { time.Sleep(30 * time.Millisecond); return "hi" })
		for range 5 {
			near, far := transport.Pipe(nil)
			go srv.ServeConn(far)
			near.SetDelay(20 * time.Millisecond)
			far.SetDelay(20 * time.Millisecond)
			cli := NewClientConn(near, quietOpts(nil))
			served := make(chan int, 8)
			for range 8 {
				go func() {
					n := 0
					for ; ; n++ {
						if err := cli.Call(t.Context(), "/hi", nil, nil); err != nil {
							wantFailed(t, err, Unavailable, NotSent)
							break
						}
					}
					served <- n
				}()
			}
			for range 8 {
				if n := <-served; n < 100 {
					t.Errorf("%d calls were served", n)
				}
			}
			cli.Close()
		}
	})
}

// TestMaxConnAgeOfVersion1: a version 1 client, which knows no bye, is closed when nothing is open.
func TestMaxConnAgeOfVersion1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxConnAge: time.Minute})
		srv.OnMessage("/slow", func() string { time.Sleep(70 * time.Second); return "done" })
		w := wireTo(t, srv)
		w.request(1, "/slow", "null")
		_ = w.conn.SetReadDeadline(time.Time{})
		begin := time.Now()
		time.Sleep(65 * time.Second)
		w.wantAnswer(1, "", "done")
		if d := time.Since(begin); d != 70*time.Second {
			t.Errorf("answered after %v", d)
		}
		w.wantEnd()
	})
}

// TestRetireDuringShutdown: both may end a connection at the same time.
func TestRetireDuringShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, &ServerOpts{IdleTimeout: time.Minute}, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/wait", func() { time.Sleep(10 * time.Second) })
		})
		p.up.SetDelay(100 * time.Millisecond)
		p.down.SetDelay(100 * time.Millisecond)
		for p.cc.bye.Load() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		if err := p.srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := p.sc.Err(); err == nil || !p.sc.inOrder() {
			t.Error(err)
		}
	})
}

// TestMaxConnAgeAmidPieces: at its age a connection waits for the rest of a request, or for its cancellation.
func TestMaxConnAgeAmidPieces(t *testing.T) {
	for _, cancel := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			srv, _ := newLogServer(t, &ServerOpts{MaxConnAge: time.Minute, KeepaliveTime: -1})
			srv.OnMessage("/x", func(s string) string { return s })
			peer := rawClient(t, srv, textHello)
			part := Packet{Flag: FlagStream | FlagWait, Sequence: 1, Code: "+", Payload: []byte(`"abc`)}
			peer.send(part)
			var bye time.Time
			for {
				q, err := peer.nextOf(2 * time.Minute)
				if err != nil {
					if d := time.Since(bye); d < 5*time.Second || d > 7*time.Second {
						t.Errorf("closed after %v, %v", d, err)
					}
					return
				}
				switch {
				case q.Code == "fly.bye":
					bye = time.Now()
					time.AfterFunc(5*time.Second, func() {
						if cancel {
							peer.send(rawCancel(1))
						} else {
							peer.send(rawRequest(1, "/x", `def"`))
						}
					})
				case q.Code == "fly.ping":
					peer.send(rawAnswer(q.Sequence, ""))
				case q.Sequence == 1 && q.Flag&FlagResponse != 0 && q.Code != creditCode:
					if cancel != (q.Code == string(Canceled)) || !cancel && string(q.Payload) != "abcdef" {
						t.Errorf("%+v", q)
					}
				}
			}
		})
	}
}

// nextOf is next that waits so long.
func (p *rawPeer) nextOf(d time.Duration) (Packet, error) {
	for {
		pkt, n, err := ParsePacket(p.buf, 64<<20)
		if err == nil {
			p.buf = p.buf[n:]
			return pkt, nil
		}
		_ = p.conn.SetReadDeadline(time.Now().Add(d))
		b := make([]byte, 32<<10)
		if n, err = p.conn.Read(b); err != nil {
			return pkt, err
		}
		p.buf = append(p.buf, b[:n]...)
	}
}

// TestLostWhileRetiring: a connection that is lost amid a call has not ended in order, though it was about to.
func TestLostWhileRetiring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost, gone := make(chan error, 2), make(chan error, 2)
		p := newPair(t, &ServerOpts{MaxConnAge: time.Minute, OnLostConn: func(_ net.Addr, err error) { lost <- err }}, nil,
			func(srv *Server, _ *Client) {
				srv.OnMessage("/work", func(ctx *Context) { <-ctx.Done() })
				srv.OnDisconnect(func(_ *Context, err error) { gone <- err })
			})
		call := p.cc.Go(t.Context(), "/work", nil, nil)
		for p.cc.bye.Load() == nil {
			time.Sleep(time.Second)
		}
		time.Sleep(retireGrace / 2)
		p.up.Reset()
		wantFailed(t, call.Err(), Unavailable, Unknown)
		if err := <-gone; err == nil {
			t.Error("OnDisconnect was told that it ended in order")
		}
		if synctest.Wait(); len(lost) != 1 {
			t.Errorf("OnLostConn was called %d times", len(lost))
		}
		p.log.want(t, "level=WARN")
	})
}

// TestDeadWhileRetiring: a client that vanishes while a connection that is old waits for its call, or for the rest of it, is found
// as any other, and before the time is over that its call would have.
func TestDeadWhileRetiring(t *testing.T) {
	for _, part := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const silence, interval = 5 * time.Second, 2 * time.Second
			opts := &ServerOpts{MaxConnAge: time.Minute, KeepaliveTime: silence, KeepaliveInterval: interval}
			p := newPair(t, opts, &ClientOpts{KeepaliveTime: silence, KeepaliveInterval: interval}, func(srv *Server, _ *Client) {
				srv.OnMessage("/work", func(ctx *Context) { <-ctx.Done() })
				srv.OnMessage("/upload", func(_ *Context, parts iter.Seq2[int, error]) {
					for range parts {
						continue
					}
				})
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				if !part {
					_ = p.cc.Call(ctx, "/work", nil, nil)
					return
				}
				_, _ = Upload[any](ctx, p.cc, "/upload", nil, func(yield func(int) bool) {
					yield(1)
					<-ctx.Done()
				})
			}()
			for p.cc.bye.Load() == nil {
				time.Sleep(time.Second)
			}
			bye := time.Now()
			p.up.SetPartition(true) // the end of the connection doesn't come either
			p.cc.Close()
			select {
			case <-p.sc.Done():
			case <-time.After(silence + interval + time.Second):
				t.Fatalf("the server still has the connection %v after its bye", time.Since(bye))
			}
			wantText(t, p.sc.Err().Error(), "UNAVAILABLE", "dead", "5s", "2s")
			if p.sc.inOrder() {
				t.Error("its end is said to be in order")
			}
		})
	}
}

// TestRetiringIsKeptAlive: a connection that is old and waits for a call is pinged on, and the call ends well.
func TestRetiringIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = retireGrace - 5*time.Second
		opts := &ServerOpts{MaxConnAge: time.Minute, KeepaliveTime: time.Second, KeepaliveInterval: time.Second}
		p := newPair(t, opts, &ClientOpts{KeepaliveTime: time.Second}, func(srv *Server, _ *Client) {
			srv.OnMessage("/work", func(ctx *Context) string {
				<-ctx.Conn().retiringForTest()
				time.Sleep(takes)
				return "done"
			})
		})
		if s, err := Call[string](t.Context(), p.cc, "/work", nil); err != nil || s != "done" {
			t.Error(s, err)
		}
		<-p.sc.Done()
		if !p.sc.inOrder() {
			t.Error(p.sc.Err())
		}
	})
}

// TestMaxConnAgeOfLongLink: the same over a link on which all takes seconds: what was sent before the client heard is served.
func TestMaxConnAgeOfLongLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, &ServerOpts{MaxConnAge: time.Minute}, nil, func(srv *Server, _ *Client) {
			srv.OnMessage("/hi", func() {})
		})
		p.up.SetDelay(2 * time.Second)
		p.down.SetDelay(2 * time.Second)
		ends := make(chan error, 8)
		for i := range cap(ends) {
			go func() {
				var err error
				time.Sleep(time.Duration(i) * time.Second / 2)
				for err == nil {
					err = p.cc.Call(t.Context(), "/hi", nil, nil)
				}
				ends <- err
			}()
		}
		for range cap(ends) {
			wantFailed(t, <-ends, Unavailable, NotSent)
		}
	})
}
