package flyrpc

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestCancelReachesHandler: giving a call up ends the handler's context in all its forms.
func TestCancelReachesHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type seen struct {
			err, derived, cause error
			after               bool
		}
		result := make(chan seen, 1)
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/wait", func(ctx *Context) error {
				if ctx.Err() != nil {
					t.Error("the context has ended already")
				}
				derived, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				after := make(chan bool, 1)
				context.AfterFunc(ctx, func() { after <- true })
				stopped := context.AfterFunc(ctx, func() { t.Error("a function that was stopped ran") })
				if !stopped() || stopped() {
					t.Error("stop must report true once")
				}
				<-ctx.Done()
				<-derived.Done()
				result <- seen{ctx.Err(), derived.Err(), context.Cause(ctx), <-after}
				return ctx.Err()
			})
		})
		ctx, cancel := context.WithCancel(t.Context())
		call := p.cli.Go(ctx, "/wait", nil, nil)
		synctest.Wait()
		cancel()
		err := call.Err()
		wantFailed(t, err, Canceled, Unknown)
		if !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the local error %v must match context.Canceled", err)
		}
		if got := <-result; got != (seen{context.Canceled, context.Canceled, context.Canceled, true}) {
			t.Errorf("the handler has seen %+v", got)
		}
		wantEmpty(t, "client", p.cc)
		wantEmpty(t, "server", p.sc)
	})
}

// chain connects three services: a calls b's /b, which calls c's /c.
func chain(t *testing.T, c any) (first *Client) {
	third := newPair(t, nil, nil, func(srv *Server, cli *Client) { srv.OnMessage("/c", c) })
	return newPair(t, nil, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/b", func(ctx *Context) error { return third.cli.Call(ctx, "/c", nil, nil) })
	}).cli
}

// TestCancelTravelsOn: what the first of three services gives up reaches the third.
func TestCancelTravelsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reached := make(chan error, 1)
		cli := chain(t, func(ctx *Context) error {
			<-ctx.Done()
			reached <- ctx.Err()
			return ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		call := cli.Go(ctx, "/b", nil, nil)
		synctest.Wait()
		select {
		case err := <-reached:
			t.Fatal("ended early:", err)
		default:
		}
		cancel()
		wantFailed(t, call.Err(), Canceled, Unknown)
		if err := <-reached; err != context.Canceled {
			t.Error(err)
		}
	})
}

// TestCancelBeforeStart: what is cancelled while it waits for its turn isn't started.
func TestCancelBeforeStart(t *testing.T) {
	srv, _ := newLogServer(t, nil)
	var ran atomic.Int32
	started, release := make(chan struct{}, 1), make(chan struct{})
	srv.OnMessage("/turn", func(hold bool) {
		if !hold {
			ran.Add(1)
			return
		}
		started <- struct{}{}
		<-release
	}, Ordered)
	peer := rawClient(t, srv, textHello)
	peer.send(rawRequest(1, "/turn", "true"))
	await1(t, started, "the first handler")
	peer.send(rawRequest(2, "/turn", "false"), rawRequest(3, "/turn", "false"), rawCancel(2), rawRequest(4, "fly.ping", "x"))
	if a := peer.recv(); a.Sequence != 4 {
		t.Fatalf("%+v", a)
	}
	close(release)
	for _, want := range []struct {
		seq    uint16
		code   Code
		unused bool
	}{{1, "", false}, {2, Canceled, true}, {3, "", false}} {
		a := peer.recv()
		if a.Sequence != want.seq || a.Code != string(want.code) || metaHas(a, MetaNotProcessed) != want.unused {
			t.Errorf("got %+v, want %+v", a, want)
		}
		if want.code != "" && len(a.Payload) == 0 {
			t.Error("an error without a message")
		}
	}
	if ran.Load() != 1 {
		t.Errorf("%d handlers ran", ran.Load())
	}
}

// TestCancelOfNothing: cancellations of what isn't open are ignored and never answered.
func TestCancelOfNothing(t *testing.T) {
	srv, log := newLogServer(t, nil)
	srv.OnMessage("/echo", func(s string) string { return s })
	peer := rawClient(t, srv, textHello)
	for seq := range uint16(300) {
		peer.send(rawCancel(seq), rawRequest(seq+1, "/echo", `"x"`))
		if a := peer.recv(); a.Sequence != seq+1 || a.Code != "" {
			t.Fatalf("%+v", a)
		}
		peer.send(rawCancel(seq + 1))
	}
	if log.String() != "" {
		t.Error(log)
	}
}

// TestContextEndsWithHandler: a handler's context ends when it returns, also where it replied
// before, and what sends fails from then on.
func TestContextEndsWithHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := make(chan *Context, 1)
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/keep", func(ctx *Context) { kept <- ctx })
			cli.OnMessage("/any", func() { t.Error("called by a handler that has returned") })
		})
		for _, wait := range []bool{true, false} {
			if wait {
				if err := p.cli.Call(t.Context(), "/keep", nil, nil); err != nil {
					t.Fatal(err)
				}
			} else if err := p.cli.SendMessage(t.Context(), "/keep", nil); err != nil {
				t.Fatal(err)
			}
			ctx := <-kept
			synctest.Wait()
			<-ctx.Done()
			if ctx.Err() != context.Canceled || ctx.Path() != "/keep" || ctx.Conn() != p.sc || ctx.Param("x") != "" || ctx.ReceivedAt().IsZero() {
				t.Errorf("after the end: %v, %q", ctx.Err(), ctx.Path())
			}
			wantFailed(t, ctx.Call("/any", nil, nil), Canceled, NotSent)
			wantFailed(t, ctx.SendMessage("/any", nil), Canceled, NotSent)
			_, err := ctx.Ping(0, 0)
			wantFailed(t, err, Canceled, NotSent)
			if err := ctx.Reply("", nil); !errors.Is(err, Conflict) {
				t.Error("Reply:", err)
			}
			if err := ctx.SetMeta("a", "b"); err != nil {
				t.Error("SetMeta:", err)
			}
			ran := make(chan bool)
			if stop := context.AfterFunc(ctx, func() { close(ran) }); stop() {
				t.Error("the function was stopped though the context has ended")
			}
			<-ran
		}
	})
}

// TestContextEndsWithConnection: handlers, those that have replied included, learn that the
// connection is lost, and so do the calls of both ends.
func TestContextEndsWithConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan string, 4)
		wait := func(ctx *Context) error {
			if strings.HasSuffix(ctx.Path(), "early") {
				if err := ctx.Reply("", nil); err != nil {
					t.Error(err)
				}
			}
			<-ctx.Done()
			ended <- ctx.Path() + " " + ctx.Err().Error()
			return nil
		}
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			for _, path := range []string{"/call", "/message", "/early"} {
				srv.OnMessage(path, wait)
			}
			cli.OnMessage("/back", wait)
		})
		call := p.cli.Go(t.Context(), "/call", nil, nil)
		back := p.sc.Go(t.Context(), "/back", nil, nil)
		if err := p.cli.SendMessage(t.Context(), "/message", nil); err != nil {
			t.Fatal(err)
		}
		if err := p.cli.Call(t.Context(), "/early", nil, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.up.Reset()
		wantFailed(t, call.Err(), Unavailable, Unknown)
		wantFailed(t, back.Err(), Unavailable, Unknown)
		got := map[string]bool{}
		for range 4 {
			got[<-ended] = true
		}
		for _, path := range []string{"/call", "/message", "/early", "/back"} {
			if !got[path+" context canceled"] {
				t.Errorf("%s isn't among %v", path, got)
			}
		}
		wantEmpty(t, "client", p.cc)
		wantEmpty(t, "server", p.sc)
		wantFailed(t, p.cli.Call(t.Context(), "/call", nil, nil), Unavailable, NotSent)
		wantFailed(t, p.cli.SendMessage(t.Context(), "/call", nil), Unavailable, NotSent)
		_, err := p.cli.Ping(0, 0)
		wantFailed(t, err, Unavailable, NotSent)
	})
}

// TestCancelledBeforeItIsSent: with a context that has ended nothing is sent.
func TestCancelledBeforeItIsSent(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/x", func() { t.Error("handled") })
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("my reason")
	cancel(mine)
	for _, err := range []error{p.cli.Call(ctx, "/x", nil, nil), p.cli.Go(ctx, "/x", nil, nil).Err(), p.cli.SendMessage(ctx, "/x", nil)} {
		wantFailed(t, err, Canceled, NotSent)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, mine) {
			t.Errorf("%v matches neither context.Canceled nor its cause", err)
		}
	}
	wantEmpty(t, "client", p.cc)
}
