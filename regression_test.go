package flyrpc

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/serializer"
	jsonser "github.com/go-flyrpc/flyrpc/serializer/json"
)

// TestShutdownOfPeerThatDoesNotRead: answers that wait for room don't hold Shutdown up.
func TestShutdownOfPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, &ServerOpts{MaxQueued: 64 << 10, WriteTimeout: time.Hour})
		srv.OnMessage("big", func() []byte { return make([]byte, 200<<10) })
		srv.OnMessage("slow", func(ctx *Context) error { <-ctx.Done(); return ctx.Err() })
		w := wireTo(t, srv)
		w.hello(`{"flyrpc":2,"serializers":["json"],"frame":10000000}`)
		w.request(1, "slow", "")
		for seq := uint16(2); seq < 6; seq++ {
			w.request(seq, "big", "")
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if srv.Shutdown(ctx) == nil || time.Since(begin) > time.Second+3*lingerFor {
			t.Errorf("Shutdown with 1s took %v", time.Since(begin))
		}
	})
}

// TestCutShortBeforeStart: a call that waits in an Ordered queue when Shutdown's time is up
// was not processed.
func TestCutShortBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		var started atomic.Int32
		srv.OnMessage("o", func(ctx *Context) { started.Add(1); <-ctx.Done() }, Ordered)
		cli := connectPipe(t, srv, nil)
		first, second := cli.Go(t.Context(), "o", nil, nil), cli.Go(t.Context(), "o", nil, nil)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
		wantErr(t, first.Err(), Unavailable, Answered)
		wantErr(t, second.Err(), Unavailable, NotProcessed)
		if n := started.Load(); n != 1 {
			t.Errorf("%d handlers started", n)
		}
	})
}

// TestV1FirstPacketIsLarge: the reader doesn't wait for room that only OnConnect makes.
func TestV1FirstPacketIsLarge(t *testing.T) {
	srv := quietServer(t, &ServerOpts{AllowV1: true, Auth: func(context.Context, *Credentials) (any, error) { return 1, nil }})
	srv.OnConnect(func(*Context) error { return nil })
	got := make(chan int, 1)
	srv.OnMessage("x", func(b []byte) { got <- len(b) })
	w := wireTo(t, srv)
	w.send(Packet{Code: "x", Payload: make([]byte, maxHeld+1)})
	if n := within(t, got); n != maxHeld+1 {
		t.Errorf("%d bytes", n)
	}
}

// TestLargeMessageDuringOnConnect: one message is kept, however large, while OnConnect
// waits for the client.
func TestLargeMessageDuringOnConnect(t *testing.T) {
	srv := quietServer(t, nil)
	srv.OnConnect(func(ctx *Context) error { return ctx.Call("who", nil, nil) })
	got := make(chan int, 1)
	srv.OnMessage("m", func(b []byte) { got <- len(b) })
	cli := NewClientConn(servePipe(srv), quietOpts(nil))
	t.Cleanup(func() { cli.Close() })
	asked, sent := make(chan struct{}), make(chan struct{})
	cli.OnMessage("who", func() { close(asked); <-sent })
	if err := cli.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	within(t, asked)
	if err := cli.SendMessage(t.Context(), "m", make([]byte, maxHeld+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Ping(0, time.Minute); err != nil { // the message was read
		t.Fatal(err)
	}
	close(sent)
	within(t, got)
}

// TestInlineReplyFromGoroutine: an answer is written although the reader waits already.
func TestInlineReplyFromGoroutine(t *testing.T) {
	srv := quietServer(t, nil)
	srv.OnMessage("x", func(ctx *Context) {
		go func() { _ = ctx.Reply("", []byte("a")) }()
		for !ctx.replied() {
			runtime.Gosched()
		}
	}, Inline)
	cli := connectPipe(t, srv, nil)
	for i := range 2000 {
		if err := cli.Call(bounded(t), "x", nil, nil); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

// replied reports whether the request was answered.
func (c *Context) replied() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.claimed
}

// TestGoWhoseInterceptorFails: a call doesn't succeed, nor the process end, because an
// interceptor ends its goroutine or panics.
func TestGoWhoseInterceptorFails(t *testing.T) {
	for name, fail := range map[string]func(){"Goexit": runtime.Goexit, "panic": func() { panic("interceptor") }} {
		t.Run(name, func(t *testing.T) {
			cli := connectPipe(t, quietServer(t, nil), &ClientOpts{Intercept: []Interceptor{func(Invoker) Invoker {
				return func(context.Context, *Outgoing) error { fail(); return nil }
			}}})
			wantErr(t, cli.Go(t.Context(), "x", nil, nil).Err(), Internal, Unknown)
		})
	}
}

// panicky is a serializer that panics on int.
type panicky struct{ serializer.Serializer }

func (panicky) Decode([]byte, any) error { panic("custom serializer") }

// TestSerializerThatPanics: the call's slot is free again.
func TestSerializerThatPanics(t *testing.T) {
	srv := quietServer(t, nil)
	srv.OnMessage("x", func() int { return 3 })
	cli := connectPipe(t, srv, &ClientOpts{Serializer: panicky{jsonser.Serializer}})
	for range 5 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			var n int
			_ = cli.Call(t.Context(), "x", nil, &n)
		}()
	}
	if n := cli.Conn().calls.count(); n != 0 {
		t.Errorf("%d calls are open", n)
	}
}

// countingHandler counts records of at least Info.
type countingHandler struct {
	slog.Handler
	n *atomic.Int64
}

func (h countingHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		h.n.Add(1)
	}
	return nil
}

// TestDroppedMessagesDoNotFillTheLog: a peer can't make it grow with each packet.
func TestDroppedMessagesDoNotFillTheLog(t *testing.T) {
	var records atomic.Int64
	srv := quietServer(t, &ServerOpts{MaxMessage: 1024, Logger: slog.New(countingHandler{slog.DiscardHandler, &records})})
	w := wireTo(t, srv)
	w.hello(`{"flyrpc":2,"serializers":["json"]}`)
	for range 100 {
		w.send(Packet{Code: "m", Payload: make([]byte, 20<<10)})
	}
	w.request(1, "fly.ping", "")
	w.recv()
	if n := records.Load(); n > 1 {
		t.Errorf("%d records", n)
	}
}

// TestGarbageThatLooksLikeVersion1: bytes that happen to have the form of a packet.
func TestGarbageThatLooksLikeVersion1(t *testing.T) {
	for name, b := range map[string][]byte{
		"not UTF-8":      {0x01, 0x8f, 0x33, 'q', 0x99, 0, 0, 1, 'x', 0x42, 1, 2, 0xfe, 0xfd, 'z'},
		"control bytes":  {0x00, 0x8f, 0x33, 'q', 0x07, 0, 1, 'x'},
		"no path at all": {0x00, 0x8f, 0x33, 0, 1, 'x'},
	} {
		t.Run(name, func(t *testing.T) {
			w := wireTo(t, quietServer(t, nil))
			w.write(b)
			w.wantEnd()
		})
	}
}

// TestStoppedAfterFuncsAreForgotten: derived contexts that end leave nothing behind.
func TestStoppedAfterFuncsAreForgotten(t *testing.T) {
	srv := quietServer(t, nil)
	srv.OnMessage("x", func(ctx *Context) (int, error) {
		for range 1000 {
			_, cancel := context.WithCancel(ctx)
			cancel()
		}
		ctx.in.mu.Lock()
		defer ctx.in.mu.Unlock()
		return len(ctx.in.more().after), nil
	})
	cli := connectPipe(t, srv, nil)
	if n, err := Call[int](t.Context(), cli, "x", nil); n > 1 || err != nil {
		t.Errorf("%d functions are kept: %v", n, err)
	}
}
