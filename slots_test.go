package flyrpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc/transport"
)

// TestLateAnswer: a call that was given up holds its slot until its answer has been read, and the
// answer reaches no other call.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, cli, seq := lateServer(t)
		short, stop := context.WithTimeout(t.Context(), lostAfter/2)
		defer stop()
		wantFailed(t, cli.Call(short, "/second", nil, nil), Timeout, NotSent)

		var text string
		answered := make(chan error, 1)
		go func() { answered <- cli.Call(t.Context(), "/third", nil, &text) }()
		synctest.Wait()
		peer.send(rawAnswer(seq, `"late"`))
		third := peer.recv() // only now: the slot is free
		if third.Code != "/third" || third.Sequence == seq {
			t.Errorf("the next request is %+v", third)
		}
		peer.send(rawAnswer(seq, `"late again"`), rawAnswer(third.Sequence, `"third"`), rawAnswer(third.Sequence, `"third again"`))
		if err := <-answered; err != nil || text != "third" {
			t.Errorf("the third call got %q, %v", text, err)
		}
		wantEmpty(t, "client", cli.Conn())
	})
}

// lateServer is a client whose peer accepts one call, which was given up and not answered.
func lateServer(t *testing.T) (peer *rawPeer, cli *Client, seq uint16) {
	peer, cli, _ = rawServer(t, nil, jsonAnswer(1))
	ctx, cancel := context.WithCancel(t.Context())
	first := cli.Go(ctx, "/first", nil, nil)
	seq = peer.recv().Sequence
	cancel()
	wantFailed(t, first.Err(), Canceled, Unknown)
	if c := peer.recv(); c.Flag != FlagStream || c.Code != "c" || c.Sequence != seq || len(c.Payload) != 0 {
		t.Errorf("the cancellation is %+v", c)
	}
	return peer, cli, seq
}

// TestUnknownResponses: responses that no call waits for are dropped, and the connection goes on.
func TestUnknownResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, cli, log := rawServer(t, nil, jsonAnswer(8))
		for _, seq := range []uint16{0, 1, 5, 0x7FFF, 0x8000, 0x8001, 0xFFFF} {
			peer.send(rawAnswer(seq, `"nobody's"`), Packet{Flag: FlagResponse | FlagStream, Sequence: seq}, rawCancel(seq))
		}
		synctest.Wait()
		for i := range 5 {
			var got int
			call := cli.Go(t.Context(), "/x", i, &got)
			q := peer.recv()
			peer.send(rawAnswer(q.Sequence^1, "77"), rawAnswer(q.Sequence, fmt.Sprint(i)), rawAnswer(q.Sequence, "88"), rawAnswer(q.Sequence^1, "99"))
			if err := call.Err(); err != nil || got != i {
				t.Fatalf("call %d: %d, %v", i, got, err)
			}
			synctest.Wait()
		}
		if log.String() != "" {
			t.Error(log.String())
		}
	})
}

// TestSequencesOnTheWire: calls never use sequence 0, messages always do.
func TestSequencesOnTheWire(t *testing.T) {
	peer, cli, _ := rawServer(t, nil, jsonAnswer(8))
	for i := range 100 {
		if err := cli.SendMessage(bounded(t), "/message", i); err != nil {
			t.Fatal(err)
		}
		if m := peer.recv(); m.Sequence != 0 || m.Flag&FlagWait != 0 {
			t.Fatalf("the message is %+v", m)
		}
		call := cli.Go(bounded(t), "/call", i, nil)
		q := peer.recv()
		if q.Sequence == 0 || q.Sequence == 0xFFFF || q.Flag&FlagWait == 0 {
			t.Fatalf("the request is %+v", q)
		}
		peer.send(rawAnswer(q.Sequence, ""))
		if err := call.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCallsBeyondTheLimitWait: nothing is sent beyond what the peer accepts.
func TestCallsBeyondTheLimitWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 3
		peer, cli, _ := rawServer(t, &ClientOpts{KeepaliveTime: -1}, jsonAnswer(limit))
		var calls []*Pending
		for range limit {
			calls = append(calls, cli.Go(t.Context(), "/x", nil, nil))
		}
		var open []Packet
		for range limit {
			open = append(open, peer.recv())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		err := cli.Call(ctx, "/more", nil, nil)
		wantFailed(t, err, Timeout, NotSent)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Hour {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		for i := range limit { // each answer lets one more go
			next := make(chan error, 1)
			go func() { next <- cli.Call(t.Context(), "/next", nil, nil) }()
			synctest.Wait()
			peer.send(rawAnswer(open[i].Sequence, ""))
			q := peer.recv()
			peer.send(rawAnswer(q.Sequence, ""))
			if err := <-next; err != nil || q.Code != "/next" {
				t.Errorf("%+v, %v", q, err)
			}
			if err := calls[i].Err(); err != nil {
				t.Error(err)
			}
		}
		wantEmpty(t, "client", cli.Conn())
	})
}

// TestPeerBeyondItsCalls: a peer that has more requests open than were agreed on, or uses an
// open sequence again, loses its connection; others don't notice.
func TestPeerBeyondItsCalls(t *testing.T) {
	for name, third := range map[string]uint16{"one too many": 3, "open sequence": 2} {
		t.Run(name, func(t *testing.T) {
			limit := 2
			if name == "open sequence" {
				limit = 8
			}
			srv, log := newLogServer(t, &ServerOpts{MaxCalls: limit})
			ended, started := make(chan error, 8), make(chan bool, 8)
			srv.OnMessage("/wait", func(ctx *Context) {
				started <- true
				<-ctx.Done()
				ended <- ctx.Err()
			})
			srv.OnMessage("/echo", func(s string) string { return s })
			other := rawClient(t, srv, textHello)
			peer := rawClient(t, srv, textHello)
			peer.send(rawRequest(1, "/wait", ""), rawRequest(2, "/wait", ""))
			for range 2 {
				await1(t, started, "the handlers")
			}
			peer.send(rawRequest(third, "/wait", ""), rawRequest(4, "/echo", `"x"`))
			peer.wantClosed()
			for range 2 {
				if err := await1(t, ended, "the handlers"); err != context.Canceled {
					t.Error(err)
				}
			}
			log.want(t, "level=WARN")
			log.want(t, "is open already")
			other.send(rawRequest(7, "/echo", `"still here"`))
			if a := other.recv(); a.Sequence != 7 || !strings.Contains(string(a.Payload), "still here") {
				t.Errorf("the other client got %+v", a)
			}
		})
	}
}

// TestCalleeHoldsSlot: the callee counts a cancelled call until its response is written, and
// no longer.
func TestCalleeHoldsSlot(t *testing.T) {
	srv, log := newLogServer(t, &ServerOpts{MaxCalls: 1})
	release := make(chan struct{})
	started := make(chan struct{}, 1)
	srv.OnMessage("/stubborn", func() { started <- struct{}{}; <-release })
	srv.OnMessage("/echo", func(s string) string { return s })
	peer := rawClient(t, srv, textHello)
	for i := range uint16(100) { // the same sequence, as soon as it is free
		peer.send(rawRequest(9, "/echo", fmt.Sprint(`"`, i, `"`)))
		if a := peer.recv(); a.Sequence != 9 || a.Code != "" {
			t.Fatalf("%+v\n%s", a, log)
		}
	}
	peer.send(rawRequest(9, "/stubborn", ""))
	await1(t, started, "the handler")
	peer.send(rawCancel(9), rawCancel(9), rawRequest(10, "/echo", `"x"`))
	peer.wantClosed()
	close(release)
}

// spyConn is a connection that tells what is written.
type spyConn struct {
	*transport.MemConn
	spy atomic.Pointer[func()]
}

func (c *spyConn) TryWrite(b []byte) (int, error) {
	if f := c.spy.Load(); f != nil {
		(*f)()
	}
	return c.MemConn.TryWrite(b)
}

// TestSlotIsFreeBeforeItsAnswerIsSeen: when the response is written its sequence is free already.
func TestSlotIsFreeBeforeItsAnswerIsSeen(t *testing.T) {
	srv, _ := newLogServer(t, nil)
	srv.OnMessage("/echo", func(s string) string { return s })
	srv.OnMessage("/inline", func(s string) string { return s }, Inline)
	srv.OnMessage("/reply", func(ctx *Context) error { return ctx.Reply("", nil) })
	near, far := transport.Pipe(nil)
	spy := &spyConn{MemConn: far}
	served := make(chan struct{})
	go func() { defer close(served); srv.ServeConn(spy) }()
	cli := NewClientConn(near, nil)
	defer func() { cli.Close(); await1(t, served, "the connection to end") }()
	if _, err := cli.Ping(0, patience); err != nil {
		t.Fatal(err)
	}
	conn := srv.Conns()[0]
	writes := 0
	look := func() {
		writes++
		conn.in.mu.Lock()
		defer conn.in.mu.Unlock()
		if len(conn.in.open) != 0 {
			t.Error("the response is written while its request is open")
		}
	}
	spy.spy.Store(&look)
	for _, path := range []string{"/echo", "/inline", "/reply"} {
		if err := cli.Call(bounded(t), path, "x", nil); err != nil {
			t.Error(err)
		}
	}
	if writes < 3 {
		t.Errorf("%d writes were seen", writes)
	}
}

// TestOpenAndCancel opens calls and cancels them, over and over.
func TestOpenAndCancel(t *testing.T) {
	var running, most atomic.Int32
	p := newPair(t, &ServerOpts{MaxCalls: 8}, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/wait", func(ctx *Context) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-ctx.Done()
			running.Add(-1)
		})
	})
	const loops, each = 20, 1000
	var wg sync.WaitGroup
	for range loops {
		wg.Go(func() {
			for range each {
				ctx, cancel := context.WithCancel(context.Background())
				call := p.cli.Go(ctx, "/wait", nil, nil)
				cancel()
				if err := call.Err(); !errors.Is(err, context.Canceled) && !errors.Is(err, Canceled) {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	await1(t, done, "the calls")
	wantEmpty(t, "client", p.cc)
	wantEmpty(t, "server", p.sc)
	if err := p.cc.Err(); err != nil || most.Load() > 8 {
		t.Errorf("%d handlers at once, %v", most.Load(), err)
	}
}

// TestCancelCrossesResponse: a cancellation that crosses its call's response cancels no other
// call, though slots are used again at once.
func TestCancelCrossesResponse(t *testing.T) {
	p := newPair(t, &ServerOpts{MaxCalls: 3}, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/echo", func(ctx *Context, i int) (int, error) { return i, ctx.Err() }, Inline)
	})
	forever := bounded(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2000 {
				ctx, cancel := context.WithCancel(context.Background())
				call := p.cli.Go(ctx, "/echo", i, nil)
				go cancel()
				_ = call.Err()
			}
		})
		wg.Go(func() {
			for i := range 2000 {
				var got int
				if err := p.cli.Call(forever, "/echo", i, &got); err != nil || got != i {
					t.Errorf("call %d: %d, %v", i, got, err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	await1(t, done, "the calls")
	wantEmpty(t, "client", p.cc)
}
