package flyrpc

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestOrderedUnderLoad: an Ordered and an Inline route keep the order of one connection's
// messages and calls, and handle one at a time, with others in between.
func TestOrderedUnderLoad(t *testing.T) {
	for name, opt := range map[string]RouteOption{"Ordered": Ordered, "Inline": Inline} {
		t.Run(name, func(t *testing.T) {
			const n = 5000
			var running atomic.Int32
			next := 0
			done := make(chan struct{})
			p := newPair(t, &ServerOpts{MaxCalls: 16}, nil, func(srv *Server, cli *Client) {
				srv.OnMessage("/seq", func(i int) (int, error) {
					if running.Add(1) != 1 {
						t.Error("two at once")
					}
					defer running.Add(-1)
					if i != next {
						t.Errorf("message %d came as number %d", i, next)
					}
					if next++; next == n {
						close(done)
					}
					return i, nil
				}, opt)
				srv.OnMessage("/noise", func() {})
			})
			var calls []*Pending
			for i := range n {
				if err := p.cli.SendMessage(t.Context(), "/noise", nil); err != nil {
					t.Fatal(err)
				}
				if i%7 == 0 {
					calls = append(calls, p.cli.Go(t.Context(), "/seq", i, nil))
				} else if err := p.cli.SendMessage(t.Context(), "/seq", i); err != nil {
					t.Fatal(err)
				}
			}
			await1(t, done, "the messages")
			for _, call := range calls {
				if err := call.Err(); err != nil {
					t.Fatal(err)
				}
			}
			wantEmpty(t, "server", p.sc)
		})
	}
}

// TestOrderedSurvives: a panic and runtime.Goexit in the middle neither stop the queue nor
// change its order.
func TestOrderedSurvives(t *testing.T) {
	const n = 300
	var got []int
	done := make(chan struct{})
	p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
		srv.OnMessage("/seq", func(i int) {
			got = append(got, i)
			switch {
			case i == n-1:
				close(done)
			case i%3 == 1:
				panic("secret")
			case i%3 == 2:
				runtime.Goexit()
			}
		}, Ordered)
	})
	var calls []*Pending
	for i := range n {
		if i%5 == 0 {
			if err := p.cli.SendMessage(t.Context(), "/seq", i); err != nil {
				t.Fatal(err)
			}
			continue
		}
		calls = append(calls, p.cli.Go(bounded(t), "/seq", i, nil))
	}
	await1(t, done, "the last")
	for i, v := range got {
		if i != v {
			t.Fatalf("%v", got)
		}
	}
	failed := 0
	for _, call := range calls {
		if err := call.Err(); errors.Is(err, HandlerPanic) {
			failed++
		} else if err != nil {
			t.Error(err)
		}
	}
	if failed != 159 {
		t.Errorf("%d calls failed", failed)
	}
	wantEmpty(t, "server", p.sc)
}

// TestOrderAcrossOnConnect: what came before OnConnect has returned is handled first, in
// its order.
func TestOrderAcrossOnConnect(t *testing.T) {
	for name, opt := range map[string]RouteOption{"Ordered": Ordered, "Inline": Inline} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				const n = 200
				srv, _ := newLogServer(t, nil)
				open, done := make(chan struct{}), make(chan struct{})
				srv.OnConnect(func(*Context) error { <-open; return nil })
				var got []int
				srv.OnMessage("/seq", func(i int) {
					if got = append(got, i); len(got) == n {
						close(done)
					}
				}, opt)
				peer := rawClient(t, srv, textHello)
				var packets []Packet
				for i := range n {
					q := rawRequest(uint16(i+1), "/seq", fmt.Sprint(i))
					if i%2 == 0 {
						q = Packet{Code: "/seq", Payload: q.Payload}
					}
					packets = append(packets, q)
				}
				peer.send(packets[:n/2]...)
				go close(open)
				for i := n / 2; i < n; i++ {
					peer.send(packets[i])
				}
				await1(t, done, "the messages")
				for i, v := range got {
					if i != v {
						t.Fatalf("%d came as number %d", v, i)
					}
				}
				srv.Close()
			}
		})
	}
}

// TestOrderAmongHeld: messages of an Ordered route that were held for room, and requests that
// came after them, keep their order when several handlers end at once.
func TestOrderAmongHeld(t *testing.T) {
	for range 50 {
		const limit, n = 4, 8
		p := newPair(t, &ServerOpts{MaxCalls: limit}, nil, nil)
		release, done := make(chan struct{}), make(chan struct{})
		var got []int
		p.srv.OnMessage("/hold", func() { <-release })
		p.srv.OnMessage("/seq", func(i int) {
			if got = append(got, i); len(got) == n+1 {
				close(done)
			}
		}, Ordered)
		never := make(chan struct{})
		p.cli.OnMessage("/never", func() { <-never })
		call := p.sc.Go(bounded(t), "/never", nil, nil) // the server's reader has to go on
		for range limit {
			if err := p.cli.SendMessage(t.Context(), "/hold", nil); err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			if err := p.cli.SendMessage(t.Context(), "/seq", i); err != nil {
				t.Fatal(err)
			}
		}
		last := p.cli.Go(bounded(t), "/seq", n, nil)
		if _, err := p.cli.Ping(0, patience); err != nil { // the reader has taken them all
			t.Fatal(err)
		}
		close(release)
		await1(t, done, "the messages")
		for i, v := range got {
			if i != v {
				t.Fatalf("the order is %v", got)
			}
		}
		close(never)
		if err := errors.Join(call.Err(), last.Err()); err != nil {
			t.Error(err)
		}
	}
}

// TestInlineRunsOnTheReader: Inline handlers run one after another on the reader, and answer.
func TestInlineRunsOnTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil, nil, func(srv *Server, cli *Client) {
			srv.OnMessage("/inline", func(i int) int { time.Sleep(time.Second); return i }, Inline)
		})
		begin := time.Now()
		for i := range 5 {
			if err := p.cli.SendMessage(t.Context(), "/inline", i); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.cli.Ping(0, time.Minute); err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("the reader went on after %v, %v", time.Since(begin), err)
		}
		for i := range 5 {
			if got, err := Call[int](t.Context(), p.cli, "/inline", i); err != nil || got != i {
				t.Errorf("%d: %d, %v", i, got, err)
			}
		}
		wantEmpty(t, "server", p.sc)
	})
}

// TestInlineAndPeerThatDoesNotRead: the answers of Inline handlers don't queue without end, and
// those that wait come in their order.
func TestInlineAndPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, size = 64, 10_000
		srv, _ := newLogServer(t, &ServerOpts{MaxCalls: limit, MaxQueued: 50_000, WriteTimeout: time.Hour})
		var handled atomic.Int32
		srv.OnMessage("/big", func(i int) []byte {
			handled.Add(1)
			return make([]byte, size)
		}, Inline)
		peer := rawClient(t, srv, textHello)
		for i := range uint16(limit) {
			peer.send(rawRequest(i+1, "/big", fmt.Sprint(i)))
			synctest.Wait()
		}
		// the pipe's 64 KiB and twice MaxQueued, and one more
		if n := handled.Load(); n < 10 || n > 20 {
			t.Errorf("%d were handled though the peer doesn't read", n)
		}
		for i := range uint16(limit) {
			if a := peer.recv(); a.Sequence != i+1 || len(a.Payload) != size {
				t.Fatalf("answer %d is that of %d, %d bytes", i+1, a.Sequence, len(a.Payload))
			}
		}
	})
}
