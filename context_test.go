package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// badError is an error whose nil pointer panics when it is asked for its text.
type badError struct{ text string }

func (e *badError) Error() string { return e.text }

// TestPanics: a panic, or the end of the goroutine, ends the call alone; its text and stack are
// logged and stay here.
func TestPanics(t *testing.T) {
	for name, opt := range map[string]RouteOption{"worker": 0, "Ordered": Ordered, "Inline": Inline} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
				srv.OnMessage("/panic", func() { panicWithSecret() }, opt)
				srv.OnMessage("/nil", func() { panic(error(nil)) }, opt)
				srv.OnMessage("/error", func() error { return (*badError)(nil) }, opt)
				srv.OnMessage("/ok", func(i int) int { return i }, opt)
			})
			for _, path := range []string{"/panic", "/nil", "/error"} {
				err := p.cli.Call(bounded(t), path, nil, nil)
				wantFailed(t, err, HandlerPanic, Answered)
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Errorf("the panic's text is on the wire: %v", err)
				}
				if err := p.cli.SendMessage(bounded(t), path, nil); err != nil {
					t.Error(err)
				}
				if got, err := Call[int](bounded(t), p.cli, "/ok", 5); got != 5 || err != nil {
					t.Fatalf("after %s: %d, %v", path, got, err)
				}
			}
			p.log.want(t, "secret")
			p.log.want(t, "panicWithSecret")
			p.log.want(t, "path=/panic")
			wantEmpty(t, "server", p.sc)
			wantEmpty(t, "client", p.cc)
		})
	}
}

func panicWithSecret() { panic("secret") }

// TestPanicNotOnTheWire looks at the bytes.
func TestPanicNotOnTheWire(t *testing.T) {
	srv, _ := newLogServer(t, nil)
	srv.OnMessage("/panic", func() { panicWithSecret() })
	peer := rawClient(t, srv, textHello)
	peer.send(rawRequest(1, "/panic", ""))
	a := peer.recv()
	if a.Code != string(HandlerPanic) || len(a.Payload) == 0 || bytes.Contains(a.Payload, []byte("secret")) ||
		bytes.Contains(a.Payload, []byte(".go")) || len(a.Meta) != 0 {
		t.Errorf("%+v", a)
	}
}

// TestGoexit: a handler that ends its goroutine is answered for, and nothing is left.
func TestGoexit(t *testing.T) {
	p := newPair(t, &ServerOpts{MaxCalls: 2}, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/exit", func() { runtime.Goexit() })
		srv.OnMessage("/reply", func(ctx *Context) error {
			defer runtime.Goexit()
			return ctx.Reply("", []byte("before"))
		})
	})
	for range 50 {
		wantFailed(t, p.cli.Call(bounded(t), "/exit", nil, nil), HandlerPanic, Answered)
		if got, err := Call[string](bounded(t), p.cli, "/reply", nil); got != "before" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if err := p.cli.SendMessage(bounded(t), "/exit", nil); err != nil {
			t.Fatal(err)
		}
	}
	p.log.want(t, "runtime.Goexit")
	wantEmpty(t, "server", p.sc)
}

// TestReply: any code and any payload, once, and what the handler returns is dropped.
func TestReply(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/own", func(ctx *Context, code string) (string, error) {
			if err := ctx.Reply(Code(code), []byte("payload \x00\xFF")); err != nil {
				return "", err
			}
			if err := ctx.Reply("", nil); !errors.Is(err, Conflict) {
				t.Errorf("the second Reply: %v", err)
			}
			return "dropped", errors.New("dropped")
		})
		srv.OnMessage("/bad", func(ctx *Context) string {
			for _, code := range []Code{"a\x00b", Code(strings.Repeat("x", maxCodeLen+1))} {
				if err := ctx.Reply(code, nil); !errors.Is(err, BadRequest) {
					t.Errorf("%q: %v", code[:3], err)
				}
			}
			return "still to be answered"
		})
		srv.OnMessage("/message", func(ctx *Context) {
			if err := ctx.Reply("", nil); !errors.Is(err, Conflict) {
				t.Errorf("the Reply to a message: %v", err)
			}
			cli.Close()
		})
	})
	var got []byte
	if err := p.cli.Call(bounded(t), "/own", "", &got); err != nil || string(got) != "payload \x00\xFF" {
		t.Errorf("%q, %v", got, err)
	}
	for _, code := range []string{"MY_CODE", "žluť 🐎", strings.Repeat("x", maxCodeLen)} {
		err := p.cli.Call(bounded(t), "/own", code, &got)
		var e *Error
		if !errors.As(err, &e) || string(e.Code) != code || e.Message != "payload \x00\xFF" || !e.Remote() || Outcome(err) != Answered {
			t.Errorf("%.20s: %v", code, err)
		}
	}
	if got, err := Call[string](bounded(t), p.cli, "/bad", nil); err != nil || got != "still to be answered" {
		t.Errorf("%q, %v", got, err)
	}
	if err := p.cli.SendMessage(bounded(t), "/message", nil); err != nil {
		t.Fatal(err)
	}
	await1(t, p.cc.Done(), "the handler of the message")
}

// TestReplyFreesTheSlot: a call that is answered early is over, while its handler goes on; as
// many such handlers as calls may run, no more.
func TestReplyFreesTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, &ServerOpts{MaxCalls: 5}, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/early", func(ctx *Context) error {
				defer time.Sleep(time.Minute)
				return ctx.Reply("", nil)
			})
		})
		begin := time.Now()
		for range 10 {
			if err := p.cli.Call(t.Context(), "/early", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // OnConnect, whose Context counts too, may be about to end
		if n := p.sc.in.count(); n != 10 || time.Since(begin) > time.Second {
			t.Errorf("%d handlers run after %v", n, time.Since(begin))
		}
		wantFailed(t, p.cli.Call(t.Context(), "/early", nil, nil), Busy, NotProcessed)
		time.Sleep(2 * time.Minute)
		wantEmpty(t, "server", p.sc)
	})
}

// TestWithContext: the copy has the new context's end, deadline and values, its calls too.
func TestWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.Use(func(next Handler) Handler {
				return func(ctx *Context) (any, error) {
					inner, cancel := context.WithTimeout(context.WithValue(ctx, key{}, "mine"), time.Second)
					defer cancel()
					return next(ctx.WithContext(inner))
				}
			})
			srv.OnMessage("/x", func(ctx *Context, path string) error {
				if d, ok := ctx.Deadline(); !ok || time.Until(d) != time.Second || ctx.Value(key{}) != "mine" || ctx.Path() != "/x" {
					t.Error("the context isn't the middleware's")
				}
				if ctx.Conn().SetValue("kept", 7); ctx.Value("kept") != 7 {
					t.Error("the connection's value isn't there")
				}
				return ctx.Call(path, nil, nil)
			})
			cli.OnMessage("/wait", func(ctx *Context) { <-ctx.Done() })
		})
		begin := time.Now()
		wantFailed(t, p.cli.Call(t.Context(), "/x", "/wait", nil), Timeout, Answered)
		if time.Since(begin) != time.Second {
			t.Errorf("after %v", time.Since(begin))
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a nil context must panic")
				}
			}()
			//lint:ignore SA1012 that it panics is what is tested
			new(Context).WithContext(nil)
		}()
		wantEmpty(t, "server", p.sc)
		wantEmpty(t, "client", p.cc)
	})
}

// TestMetaBothWays: metadata goes there and back.
func TestMetaBothWays(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/meta", func(ctx *Context) error {
			for k, v := range ctx.Meta() {
				if err := ctx.SetMeta(k, v+"!"); err != nil {
					return err
				}
			}
			if err := ctx.SetMeta("huge", strings.Repeat("x", maxMetaLen)); !errors.Is(err, TooLong) {
				t.Error(err)
			}
			return ctx.SetMeta("more", "\x00\xFF")
		})
	})
	var meta Metadata
	ctx := WithReplyMeta(WithMeta(WithMeta(bounded(t), "a", "1"), "b", ""), &meta)
	if err := p.cli.Call(ctx, "/meta", nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(meta) != 3 || meta["a"] != "1!" || meta["b"] != "!" || meta["more"] != "\x00\xFF" {
		t.Errorf("%q", meta)
	}
}

// TestSetMetaWhileAnswering: setting metadata while the answer goes out is safe.
func TestSetMetaWhileAnswering(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/x", func(ctx *Context) string {
			_ = ctx.SetMeta("a", "1")
			go func() { _ = ctx.SetMeta("b", "2") }()
			return "text"
		})
	})
	for range 200 {
		if got, err := Call[string](bounded(t), p.cli, "/x", nil); got != "text" || err != nil {
			t.Fatal(got, err)
		}
	}
}
