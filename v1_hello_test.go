package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// v1Silent is v1Pipe in a bubble, with a peer that says nothing while the server is
// ready.
func v1Silent(t *testing.T, srv *Server) *v1Peer {
	p := v1Pipe(t, srv)
	synctest.Wait()
	return p
}

// wantSilence checks that nothing comes for d.
func (p *v1Peer) wantSilence(d time.Duration) {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		p.t.Fatal(err)
	}
	if b, err := p.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("got %q, %v; want silence for %v", b, err, d)
	}
}

// hello says hello and returns the answer.
func (p *v1Peer) hello() v1Packet {
	p.t.Helper()
	p.request(0xFFFF, "fly.hello", `{"flyrpc":2,"serializers":["json"]}`)
	return p.recv()
}

// TestV1Accept is the accepting side with clients that don't say hello, or late.
func TestV1Accept(t *testing.T) {
	t.Run("hello after other packets is CONFLICT", func(t *testing.T) {
		p := v1Listen(t, quietServer(t, nil))
		p.wantLife()
		for range 2 {
			if got := p.hello(); got.code != "CONFLICT" || got.flag != v1Response {
				t.Errorf("got %v", got)
			}
			p.wantLife()
		}
	})
	t.Run("hello from the wrong end is CONFLICT", func(t *testing.T) {
		_, p := v1ClientPipe(t, nil)
		if got := p.hello(); got.code != "CONFLICT" {
			t.Errorf("got %v", got)
		}
		p.wantLife()
	})
	t.Run("OnConnect runs for a silent client after 250 ms", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, nil)
			begin := time.Now()
			srv.OnConnect(func(ctx *Context) error {
				if d := time.Since(begin); d != 250*time.Millisecond {
					t.Errorf("OnConnect ran after %v", d)
				}
				return ctx.SendMessage("/welcome", "hi")
			})
			p := v1Silent(t, srv)
			p.wantSilence(249 * time.Millisecond)
			p.wantMessage("/welcome", "hi")
			p.wantSilence(time.Hour)
			p.wantLife()
			if n := len(srv.Conns()); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	})
	t.Run("OnConnect calls a silent client, whose answer is its first packet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, nil)
			name := make(chan string, 1)
			srv.OnConnect(func(ctx *Context) error {
				var s string
				err := ctx.Call("/name", nil, &s)
				name <- s
				return err
			})
			p := v1Silent(t, srv)
			long := strings.Repeat("Ada", 10_000)
			p.answer(p.wantRequest("/name", "null"), "", long)
			if got := within(t, name); got != long {
				t.Errorf("got %.20q", got)
			}
			p.wantLife()
		})
	})
	t.Run("after a push a late hello is not answered with version 2", func(t *testing.T) {
		for name, push := range map[string]func(*Context) error{
			"SendMessage": func(ctx *Context) error { return ctx.SendMessage("/x", 1) },
			"SendPacket": func(ctx *Context) error {
				return ctx.Conn().SendPacket(&Packet{Code: "/x", Payload: []byte("1")})
			},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := quietServer(t, nil)
					srv.OnConnect(push)
					p := v1Silent(t, srv)
					p.wantMessage("/x", "1")
					if got := p.hello(); strings.Contains(got.payload, "flyrpc\":2") || got.code == "" || got.seq != 0xFFFF {
						t.Errorf("got %v", got)
					}
					p.wantLife()
				})
			})
		}
	})
	t.Run("where nothing was said a late hello is version 2", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, nil)
			ran := make(chan struct{}, 2)
			srv.OnConnect(func(*Context) error { ran <- struct{}{}; return nil })
			p := v1Silent(t, srv)
			p.wantSilence(time.Second)
			within(t, ran)
			if got := p.hello(); !strings.Contains(got.payload, `"flyrpc":2`) || got.code != "" {
				t.Errorf("got %v", got)
			}
			p.request(1, "/alive", "7")
			if got := p.recv(); got.payload != "7" {
				t.Errorf("got %v", got)
			}
			if len(ran) != 0 {
				t.Error("OnConnect ran twice")
			}
		})
	})
	t.Run("the first packet waits for OnConnect", func(t *testing.T) { v1Gate(t) })
	t.Run("OnConnect's refusal is the answer", func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnConnect(func(*Context) error { return errors.New("not today") })
		p := v1Listen(t, srv)
		p.request(1, "/alive", "1")
		p.wantError(1, "not today")
		p.wantEnd()
	})
	t.Run("OnConnect's refusal of a silent client says nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, nil)
			srv.OnConnect(func(*Context) error { return Forbidden })
			v1Silent(t, srv).wantEnd()
		})
	})
}

// v1Gate checks that OnConnect has run before the handlers of what comes first, which keep
// their order.
func v1Gate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		order := make(chan string, 10)
		begin := time.Now()
		srv.OnConnect(func(ctx *Context) error {
			time.Sleep(time.Second)
			order <- fmt.Sprint("OnConnect ", time.Since(begin))
			return ctx.SendMessage("/welcome", nil)
		})
		srv.OnMessage("/note", func(s string) { order <- s }, Ordered)
		srv.OnMessage("/inline", func(s string) { order <- s }, Inline)
		p := v1Silent(t, srv)
		p.message("/note", "a")
		p.message("/note", "b")
		p.request(5, "/note", "c")
		p.wantMessage("/welcome", "null")
		p.wantAnswer(5, "null")
		p.request(6, "/inline", "d")
		p.wantAnswer(6, "null")
		close(order)
		var got []string
		for s := range order {
			got = append(got, s)
		}
		if s := strings.Join(got, ","); s != "OnConnect 1s,a,b,c,d" {
			t.Errorf("the order was %s", s)
		}
	})
}

// TestV1Auth is a server with authentication and clients that have nothing to show.
func TestV1Auth(t *testing.T) {
	seen := make(chan *Credentials, 10)
	auth := func(_ context.Context, c *Credentials) (any, error) {
		seen <- c
		if len(seen) > 5 {
			return nil, errors.New("enough")
		}
		return "somebody", nil
	}
	t.Run("they are UNAUTHENTICATED and Auth isn't asked", func(t *testing.T) {
		connect := func() *v1Peer {
			srv := quietServer(t, &ServerOpts{Auth: auth})
			srv.OnMessage("/secret", func() { t.Error("the handler ran") })
			srv.OnConnect(func(*Context) error { t.Error("OnConnect ran"); return nil })
			return v1Listen(t, srv)
		}
		for _, first := range [][]byte{
			v1Bytes(v1Wants, 3, "/secret", "1"),
			v1Bytes(v1Wants, 3, "fly.ping", "1"),
			v1Bytes(v1Wants, 3, "/unknown", "1"),
			v1Bytes(v1Wants, 3, "/secret", strings.Repeat("x", 40_000)),
		} {
			p := connect()
			p.write(append(first, v1Bytes(0, 0, "/secret", "1")...))
			p.wantError(3, "UNAUTHENTICATED")
			p.wantEnd()
		}
		p := connect()
		p.message("/secret", "1")
		p.wantEnd()
		if len(seen) != 0 {
			t.Errorf("Auth was asked: %+v", <-seen)
		}
	})
	t.Run("AllowV1 asks Auth", func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{Auth: auth, AllowV1: true})
		srv.OnMessage("/who", func(ctx *Context) string { return fmt.Sprint(ctx.Conn().Identity()) })
		p := v1Listen(t, srv)
		p.request(1, "/who", "1")
		p.wantAnswer(1, "somebody")
		if c := within(t, seen); c.Version != 1 || len(c.Auth) != 0 || c.RemoteAddr == nil {
			t.Errorf("the credentials are %+v", c)
		}
		p.wantLife()
	})
	t.Run("AllowV1 and Auth refuses", func(t *testing.T) {
		refuse := func(context.Context, *Credentials) (any, error) { return nil, errors.New("not you") }
		p := v1Listen(t, quietServer(t, &ServerOpts{Auth: refuse, AllowV1: true}))
		p.request(1, "/alive", "1")
		p.wantError(1, "UNAUTHENTICATED")
		p.wantEnd()
	})
	t.Run("a silent client has HelloTimeout and no OnConnect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, &ServerOpts{Auth: auth, AllowV1: true})
			srv.OnConnect(func(*Context) error { t.Error("OnConnect ran"); return nil })
			p := v1Silent(t, srv)
			p.wantSilence(DefaultHelloTimeout - time.Millisecond)
			p.wantEnd()
		})
	})
}

// TestV1SpareFlags sends what no version 1 peer sends. The connection is closed, and the log
// says why.
func TestV1SpareFlags(t *testing.T) {
	for name, flag := range map[string]byte{"STREAM": 0x20, "META": 0x10, "ZIPCODE": 0x08, "ZIPPAYLOAD": 0x04} {
		for _, kind := range []byte{0, v1Wants, v1Response} {
			packet := v1Bytes(flag|kind, 1, "/alive", "\x00")
			what := fmt.Sprintf("%s %#02x", name, kind)
			t.Run("first "+what, func(t *testing.T) {
				log, text := newLogText()
				p := v1Listen(t, quietServer(t, &ServerOpts{Logger: log, NoHTTP: true}))
				p.write(packet)
				p.wantEnd()
				wantLog(t, text, "level=WARN", "first packet is neither hello nor version 1", fmt.Sprintf("%#x", flag|kind))
			})
			t.Run("later "+what, func(t *testing.T) {
				log, text := newLogText()
				p := v1Listen(t, quietServer(t, &ServerOpts{Logger: log, NoHTTP: true}))
				p.wantLife()
				p.write(packet)
				p.wantEnd()
				wantLog(t, text, "level=WARN", "version 1", fmt.Sprintf("%#x", flag|kind))
			})
			t.Run("from a server "+what, func(t *testing.T) {
				log, text := newLogText()
				cli, p := v1Dial(t, &ClientOpts{Logger: log}, notFound)
				p.write(packet)
				p.wantEnd()
				wantLog(t, text, "level=WARN", "version 1", fmt.Sprintf("%#x", flag|kind))
				wantErr(t, cli.Call(v1Context(t), "/x", 1, nil), Unavailable, NotSent)
			})
		}
	}
}

// wantLog checks that the log gets to have all parts.
func wantLog(t *testing.T, text *logText, parts ...string) {
	t.Helper()
	for end := time.Now().Add(v1Wait); time.Now().Before(end); {
		missing := false
		for _, part := range parts {
			missing = missing || !strings.Contains(text.String(), part)
		}
		if !missing {
			return
		}
		<-time.After(time.Millisecond)
	}
	wantText(t, text.String(), parts...)
}
