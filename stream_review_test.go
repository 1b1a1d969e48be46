package flyrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bounding is a Middleware that gives handlers a second.
func bounding(next Handler) Handler {
	return func(c *Context) (any, error) {
		ctx, cancel := context.WithTimeout(c, time.Second)
		defer cancel()
		return next(c.WithContext(ctx))
	}
}

// TestItemsStayInTheirCalls: while calls come and go and their senders wait for room, no item is sent in another call.
func TestItemsStayInTheirCalls(t *testing.T) {
	p := newTCPPair(t, func(srv *Server, cli *Client) {
		srv.OnMessage("bulk", func(st *Stream) {
			for st.Recv(nil) == nil {
			}
		})
		srv.OnMessage("x", func(st *Stream, id int) {
			var b []byte
			for range 3 {
				if st.Recv(&b) == nil && b[0] != byte(id) {
					t.Errorf("call %d was sent an item of call %d", id, b[0])
				}
			}
		})
	})
	var wg sync.WaitGroup
	for range 4 {
		st, err := p.cc.OpenStream(bounded(t), "bulk", nil)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for b := make([]byte, 48<<10); st.Send(b) == nil; {
			}
		})
	}
	for calls, end := 0, time.Now().Add(2*time.Second); time.Now().Before(end) && !t.Failed(); calls++ {
		id := calls%250 + 1
		st, err := p.cc.OpenStream(bounded(t), "x", id)
		if err != nil {
			t.Fatal(err, p.log)
		}
		b := bytes.Repeat([]byte{byte(id)}, 2000)
		wg.Go(func() {
			for st.Send(b) == nil {
			}
		})
		if err := st.Recv(nil); err != io.EOF {
			t.Error(err)
		}
	}
	p.cli.Close()
	wg.Wait()
}

// TestReplyAfterTornItem: behind a part of an item comes an error, whatever the handler goes on to do, and at once.
func TestReplyAfterTornItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.Use(bounding)
			srv.OnMessage("x", func(ctx *Context, st *Stream) error {
				if err := st.Send(make([]byte, 1<<20)); err == nil {
					t.Error("all was sent")
				}
				time.Sleep(time.Hour) // and others don't wait behind the item
				return ctx.Reply("", []byte("too slow"))
			})
			srv.OnMessage("y", func() []byte { return make([]byte, 1<<20) })
		})
		st, err := p.cc.OpenStream(t.Context(), "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		begin := time.Now()
		var b []byte
		wantFailed(t, st.Recv(&b), Timeout, Answered)
		if b, err := Call[[]byte](t.Context(), p.cc, "y", nil); len(b) != 1<<20 || err != nil || time.Since(begin) > time.Second {
			t.Errorf("%d bytes, %v after %v", len(b), err, time.Since(begin))
		}
		time.Sleep(time.Hour)
		wantEmpty(t, "server", p.sc)
	})
}

// TestLeftoverReader: a reader that a handler has left being sent doesn't hold up the answer.
func TestLeftoverReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("x", func(ctx *Context, st *Stream) error {
				r, w := io.Pipe()
				context.AfterFunc(ctx, func() { w.Close() })
				go st.Send(r)
				time.Sleep(time.Second)
				return nil
			})
		})
		st, err := p.cc.OpenStream(t.Context(), "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Recv(nil); err != io.EOF {
			t.Error(err)
		}
	})
}

// TestInterceptedStreams: a stream whose interceptor returns an error, or opens another, is closed.
func TestInterceptedStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		co := &ClientOpts{Intercept: []Interceptor{func(next Invoker) Invoker {
			return func(ctx context.Context, call *Outgoing) error {
				if err := next(ctx, call); err != nil {
					return err
				}
				if call.Path == "twice" {
					return next(ctx, call)
				}
				return errors.New("refused afterwards")
			}
		}}}
		p := newPair(t, nil, co, func(srv *Server, cli *Client) {
			for _, path := range []string{"once", "twice"} {
				srv.OnMessage(path, func(ctx *Context, st *Stream) error { <-ctx.Done(); return nil })
			}
		})
		if _, err := p.cc.OpenStream(t.Context(), "once", nil); err == nil {
			t.Error("no error")
		}
		st, err := p.cc.OpenStream(t.Context(), "twice", nil)
		if err != nil {
			t.Fatal(err)
		}
		st.Close()
		wantEmpty(t, "client", p.cc)
		wantEmpty(t, "server", p.sc)
	})
}

// panicReader is a reader that panics.
type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("reader") }

// TestReaderPanics: a reader that panics ends its call, and nothing else.
func TestReaderPanics(t *testing.T) {
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("back", func(r io.Reader) io.Reader { return r })
		srv.With(func(next Handler) Handler {
			return func(c *Context) (any, error) {
				_, err := next(c)
				return panicReader{}, err
			}
		}).OnMessage("last", func(st *Stream) error { return st.Send(1) })
	})
	var out io.Reader
	if err := p.cc.Go(bounded(t), "back", panicReader{}, &out).Err(); err == nil {
		t.Error("no error")
	}
	st, err := p.cc.OpenStream(bounded(t), "last", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Recv(nil); err != nil {
		t.Error(err)
	}
	wantFailed(t, st.Recv(nil), HandlerPanic, Answered)
	func() {
		defer func() {
			if recover() != "reader" {
				t.Error("the panic didn't reach the caller")
			}
		}()
		_ = p.cc.Call(bounded(t), "back", panicReader{}, new([]byte))
	}()
	wantEmpty(t, "client", p.cc)
	wantEmpty(t, "server", p.sc)
}

// TestHugeLimits: limits that no sum fits work.
func TestHugeLimits(t *testing.T) {
	for _, n := range []int{math.MaxInt, math.MaxInt - 100, math.MaxInt32} {
		so := &ServerOpts{MaxMessage: n, MaxFrame: n, StreamWindow: n, MessageWindow: n, MaxQueued: n}
		co := &ClientOpts{MaxMessage: n, StreamWindow: n, MessageWindow: n, MaxQueued: n}
		p := newPair(t, so, co, func(srv *Server, cli *Client) { srv.OnMessage("x", func(b []byte) []byte { return b }) })
		for _, m := range []int{10, 100_000, 1 << 20} {
			if b, err := Call[[]byte](bounded(t), p.cc, "x", make([]byte, m)); len(b) != m || err != nil {
				t.Errorf("limits of %d: %d bytes, %v", n, len(b), err)
			}
		}
	}
}

// TestShutdownAmidPieces: requests that Shutdown cuts while their pieces wait are not of unknown outcome.
func TestShutdownAmidPieces(t *testing.T) {
	p := newPair(t, &ServerOpts{StreamWindow: 4000}, nil, func(srv *Server, cli *Client) { srv.OnMessage("x", func([]byte) {}) })
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- p.cc.Call(bounded(t), "x", make([]byte, 4<<20), nil) }()
	}
	eventually(func() bool { return p.cc.calls.count() > 0 })
	if err := p.srv.Shutdown(bounded(t)); err != nil {
		t.Error(err)
	}
	for range cap(errs) {
		if err := <-errs; err != nil && Outcome(err) == Unknown {
			t.Error(err, Outcome(err))
		}
	}
}

// TestHalfMessage: a one-way message of which only pieces were sent when its context ended was not processed, and leaves
// nothing behind.
func TestHalfMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, nil)
		go cli.Connect(t.Context())
		w.serverHello(`{"flyrpc":2,"serializers":["json"],"codes":0,"window":2000}`)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantFailed(t, cli.SendMessage(ctx, "/x", make([]byte, 100_000)), Timeout, NotProcessed)
		var seq uint16
		for { // pieces, and then the end of it
			h, _ := w.recvHeader()
			if seq = h.seq; string(h.code) == cancelCode {
				break
			}
		}
		w.send(Packet{Flag: FlagResponse, Sequence: seq, Code: string(Canceled)})
		synctest.Wait()
		wantEmpty(t, "client", cli.Conn())
	})
}

// TestLongInfo: what a server says of itself has to fit the answer to hello.
func TestLongInfo(t *testing.T) {
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "ServerOpts.Info") {
			t.Errorf("panic %q", text)
		}
	}()
	NewServer(&ServerOpts{Info: strings.Repeat("x", maxInfo)})
}
