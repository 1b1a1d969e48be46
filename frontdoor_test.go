package flyrpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// Without TLS a client is told, if it can be, and cut off, and the log says what to do.
func TestPlainIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, text := newLogText()
		srv := quietServer(t, &ServerOpts{TLS: newTLSWorld(t).server, Logger: log})
		srv.OnMessage("/x", func() { t.Error("a handler ran") })
		cli := NewClientConn(far(srv), quietOpts(nil))
		defer cli.Close()
		err := cli.Connect(context.Background())
		wantErr(t, err, BadRequest, NotProcessed)
		wantText(t, err.Error(), "this server speaks TLS: dial tls:// instead")
		time.Sleep(time.Minute)
		wantText(t, text.String(), "level=WARN", "connection refused", "doesn't speak TLS: its first byte is 0x4", "AllowPlain")

		w := newWireEnd(t, far(srv)) // version 1
		w.request(7, "/x", "")
		if p := w.wantAnswer(7, BadRequest, "dial tls://"); p.Flag != FlagResponse {
			t.Errorf("got %+v", p)
		}
		w.wantEnd()
	})
}

// What is no request gets no answer.
func TestGarbageAtTheDoor(t *testing.T) {
	for name, sent := range map[string]string{
		"http":       "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"message":    "\x00\x00\x00/x\x00\x00",
		"half":       "\x40\x00\x01/x",
		"long code":  "\x40\x00\x01" + strings.Repeat("x", 10_000),
		"long hello": "\x42\x00\x01fly.hello\x00\xff\xff\xff\xff",
		"no TLS":     "\x16 but no TLS",
		"nothing":    "",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, &ServerOpts{TLS: newTLSWorld(t).server})
				near := far(srv)
				defer near.Close()
				begun := time.Now()
				go func() { _, _ = io.WriteString(near, sent) }()
				got, err := io.ReadAll(near)
				if name == "no TLS" { // an alert is TLS's answer
					got = bytes.TrimPrefix(got, []byte{0x15, 3, 1, 0, 2, 2, 70})
				}
				if len(got) > 0 || err != nil && !errors.Is(err, os.ErrClosed) && !strings.Contains(err.Error(), "reset") {
					t.Errorf("read %q, %v", got, err)
				}
				if took := time.Since(begun); took > DefaultHelloTimeout+2*lingerFor {
					t.Errorf("cut after %v", took)
				}
			})
		})
	}
}

// AllowPlain lets those in that speak packets, beside those that speak TLS.
func TestAllowPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newTLSWorld(t)
		srv := quietServer(t, &ServerOpts{TLS: world.server, AllowPlain: true})
		srv.OnMessage("/tls", func(ctx *Context) bool {
			if time.Since(ctx.ReceivedAt()) != 0 {
				t.Errorf("a packet came %v ago", time.Since(ctx.ReceivedAt()))
			}
			return ctx.Conn().TLS() != nil
		})
		plain := NewClientConn(far(srv), quietOpts(nil))
		defer plain.Close()
		secure := connectTLS(t, far(srv), world.client, nil)
		for cli, want := range map[*Client]bool{plain: false, secure: true} {
			if got, err := Call[bool](context.Background(), cli, "/tls", nil); got != want || err != nil {
				t.Errorf("%v, %v; want %v", got, err, want)
			}
		}
		w := newWireEnd(t, far(srv)) // version 1
		w.request(2, "/tls", "")
		w.wantAnswer(2, "", "false")
		w = newWireEnd(t, far(srv)) // byte by byte
		b, err := AppendPacket(nil, &Packet{Flag: FlagWait, Sequence: 3, Code: "/tls"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			if _, err := w.conn.Write(b[i : i+1]); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		w.wantAnswer(3, "", "false")
		silent := newWireEnd(t, far(srv)) // is cut, since it may want to speak TLS
		begun := time.Now()
		silent.wantEnd()
		if took := time.Since(begun); took != DefaultHelloTimeout {
			t.Errorf("a silent client was cut after %v", took)
		}
	})
}

// Local connections may be plain, and those that wait to be pushed to are.
func TestLocalMayBePlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newTLSWorld(t)
		srv := quietServer(t, &ServerOpts{TLS: world.server})
		srv.OnMessage("/tls", func(ctx *Context) bool { return ctx.Conn().TLS() != nil })
		srv.OnConnect(func(ctx *Context) error { return ctx.SendMessage("/news", nil) })
		for cli, want := range map[*Client]bool{
			connectPipe(t, srv, nil):                         false,
			connectTLS(t, servePipe(srv), world.client, nil): true,
		} {
			if got, err := Call[bool](context.Background(), cli, "/tls", nil); got != want || err != nil {
				t.Errorf("%v, %v; want %v", got, err, want)
			}
		}
		w := wireTo(t, srv)
		if p := w.recv(); p.Code != "/news" {
			t.Errorf("got %+v", p)
		}
	})
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if !isLocal(a) || isLocal(noAddr{a}) || isLocal(farConn{}) {
		t.Error("which connections are local is wrong")
	}
}

type noAddr struct{ net.Conn }

func (noAddr) LocalAddr() net.Addr { return nil }

// TLS within TLS is refused, and so is TLS where it isn't configured or comes too late.
func TestTLSWhereItIsNot(t *testing.T) {
	world := newTLSWorld(t)
	for _, c := range []struct {
		name string
		opts ServerOpts
		open func(t *testing.T, srv *Server) net.Conn
		says string
	}{
		{"within TLS", ServerOpts{TLS: world.server}, func(t *testing.T, srv *Server) net.Conn {
			return tls.Client(far(srv), world.client)
		}, "TLS once more within TLS"},
		{"not configured", ServerOpts{}, func(t *testing.T, srv *Server) net.Conn { return far(srv) }, "ServerOpts.TLS is not set"},
		{"late", ServerOpts{TLS: world.server}, func(t *testing.T, srv *Server) net.Conn {
			near := servePipe(srv)
			time.Sleep(time.Second)
			return near
		}, "began TLS later than 250ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, text := newLogText()
				c.opts.Logger = log
				c.opts.TLS = withClock(c.opts.TLS)
				srv := quietServer(t, &c.opts)
				conn := c.open(t, srv)
				if secure, ok := conn.(*tls.Conn); ok {
					conn = tls.Client(secure.NetConn(), withClock(world.client))
				}
				cli := tlsClient(t, conn, withClock(world.client), nil)
				if err := cli.Connect(context.Background()); err == nil {
					t.Error("Connect succeeded")
				}
				synctest.Wait()
				wantText(t, text.String(), c.says)
			})
		})
	}
}

// withClock returns cfg, which may be nil, for certificates that were made outside a bubble.
func withClock(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return nil
	}
	cfg = cfg.Clone()
	cfg.InsecureSkipVerify = true
	return cfg
}

// A client that says nothing, or stops amid the handshake, is cut and holds nobody up.
func TestSlowAtTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newTLSWorld(t)
		log, text := newLogText()
		srv := quietServer(t, &ServerOpts{TLS: world.server, Logger: log, HelloTimeout: 5 * time.Second})
		srv.OnMessage("/x", func() string { return "y" })
		silent, half := far(srv), far(srv)
		defer silent.Close()
		defer half.Close()
		if _, err := half.Write([]byte{firstTLS, 3, 1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(srv.Conns()); n != 0 || len(srv.all()) != 0 || atTheDoor(srv) != 2 {
			t.Errorf("%d connections, %d at the door", n, atTheDoor(srv))
		}
		begun := time.Now()
		cli := connectTLS(t, far(srv), world.client, nil)
		if got, err := Call[string](context.Background(), cli, "/x", nil); got != "y" || err != nil || time.Since(begun) != 0 {
			t.Errorf("%q, %v after %v", got, err, time.Since(begun))
		}
		for _, nc := range []net.Conn{silent, half} {
			if _, err := io.Copy(io.Discard, nc); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took != 5*time.Second {
				t.Errorf("cut after %v", took)
			}
		}
		synctest.Wait()
		if len(srv.Conns()) != 1 || atTheDoor(srv) != 0 {
			t.Errorf("%d connections, %d at the door", len(srv.Conns()), atTheDoor(srv))
		}
		time.Sleep(time.Minute)
		refused := strings.Count(text.String(), "level=WARN")
		if refused != 1 { // the second one within a second is left out
			t.Errorf("%d refusals are logged:\n%s", refused, text)
		}
	})
}

// atTheDoor returns how many connections are at the front door.
func atTheDoor(srv *Server) int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.entrants)
}

// The end of the server is that of those at the door, and ServeConn returns.
func TestServerEndsAtTheDoor(t *testing.T) {
	for name, end := range map[string]func(*Server){
		"Close":    func(srv *Server) { srv.Close() },
		"Shutdown": func(srv *Server) { _ = srv.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := newTLSWorld(t)
				log, text := newLogText()
				srv := quietServer(t, &ServerOpts{TLS: world.server, Logger: log})
				served := make(chan struct{}, 3)
				var ends []net.Conn
				for i := range cap(served) {
					near, conn := transport.Pipe(nil)
					ends = append(ends, near)
					var nc net.Conn = farConn{conn}
					if i == 2 {
						nc = transport.TLSServer(conn, world.server)
					}
					go func() { srv.ServeConn(nc); served <- struct{}{} }()
				}
				if _, err := ends[1].Write([]byte{firstTLS, 3, 1}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				begun := time.Now()
				end(srv)
				for range cap(served) {
					within(t, served)
				}
				if took := time.Since(begun); took != 0 || atTheDoor(srv) != 0 {
					t.Errorf("it took %v, %d are left", took, atTheDoor(srv))
				}
				if text.String() != "" {
					t.Errorf("the log has %s", text)
				}
				near := far(srv) // too late
				if _, err := near.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("after the end: %v", err)
				}
			})
		})
	}
}

// Refusals are logged so rarely that nobody floods the log.
func TestRefusalsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, text := newLogText()
		var r refusals
		for range 1000 {
			r.warn(log, "refused", "peer", "x")
		}
		time.Sleep(refusalPause)
		r.warn(log, "refused", "peer", "y")
		if got := strings.Count(text.String(), "level=WARN"); got != 2 || !strings.Contains(text.String(), "peer=y others=999") {
			t.Errorf("logged %d times:\n%.300s", got, text)
		}
	})
}

// The connection that is let in is the transport's own where nothing has to be put before it.
func TestAllowPlainKeepsTheSocket(t *testing.T) {
	srv := quietServer(t, &ServerOpts{TLS: newTLSWorld(t).server, AllowPlain: true})
	cli, err := Dial(t.Context(), "tcp://"+listenOn(t, srv, "tcp://127.0.0.1:0"), quietOpts(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if !eventually(func() bool { return len(srv.Conns()) == 1 }) { // its hello may be answered before it is there
		t.Fatal("the server has no connection")
	}
	if _, ok := srv.Conns()[0].proto.conn.(*net.TCPConn); !ok || srv.Conns()[0].proto.in.conn != srv.Conns()[0].proto.conn {
		t.Errorf("the connection is a %T", srv.Conns()[0].proto.conn)
	}
}
