package flyrpc

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestBothWindowsFull has both ends send each other items which neither takes for a while.
func TestBothWindowsFull(t *testing.T) {
	const n = 200
	synctest.Test(t, func(t *testing.T) {
		slow := func(s *Stream) error { // sends all it has before it takes anything
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := range n {
					if err := s.Send(text(i, 100*(i%70))); err != nil {
						t.Error(err)
						return
					}
				}
			})
			time.Sleep(time.Minute)
			for i := range n {
				var b []byte
				if err := s.Recv(&b); err != nil || !bytes.Equal(b, text(i, 100*(i%70))) {
					t.Errorf("item %d: %d bytes, %v", i, len(b), err)
				}
			}
			wg.Wait()
			return nil
		}
		p := newPair(t, &ServerOpts{StreamWindow: 2 << 10}, &ClientOpts{StreamWindow: 2 << 10}, func(srv *Server, cli *Client) {
			streamHandlers(srv)
			srv.OnMessage("/slow", slow)
			cli.OnMessage("/slow", slow)
		})
		var wg sync.WaitGroup
		for _, c := range []*Conn{p.cc, p.sc} {
			for range 5 {
				wg.Go(func() {
					s, err := c.OpenStream(t.Context(), "/slow", nil)
					if err != nil {
						t.Error(err)
						return
					}
					if err := slow(s); err != nil {
						t.Error(err)
					}
					s.Close()
				})
			}
		}
		wg.Wait()
		wantNothingLeft(t, "client", p.cc)
		wantNothingLeft(t, "server", p.sc)
	})
}

// TestOneUnread: a reader that stops costs its own window and nothing else, however many others there are.
func TestOneUnread(t *testing.T) {
	const streams, items = 1000, 50
	p := newPair(t, &ServerOpts{StreamWindow: 4 << 10}, &ClientOpts{StreamWindow: 4 << 10}, func(srv *Server, cli *Client) {
		streamHandlers(srv)
		unread(srv)
	})
	ctx := bounded(t)
	unreadHere, err := p.cc.OpenStream(ctx, "/count", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	unreadThere, err := p.cc.OpenStream(ctx, "/unread", nil)
	if err != nil {
		t.Fatal(err)
	}
	stuck := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			err = unreadThere.Send("x")
		}
		stuck <- err
	}()
	var wg sync.WaitGroup
	for range streams - 2 {
		wg.Go(func() {
			i := 0
			for v, err := range Exchange[int, int](ctx, p.cc, "/pass", nil, func(yield func(int) bool) {
				for i := range items {
					if !yield(i) {
						return
					}
				}
			}) {
				if v != i || err != nil {
					t.Errorf("item %d: %d, %v", i, v, err)
				}
				i++
			}
			if i != items {
				t.Errorf("%d items", i)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	await1(t, done, "the other streams")
	if n, err := Call[[]byte](ctx, p.cc, "/big", 1<<20); len(n) != 1<<20 || err != nil {
		t.Error(len(n), err)
	}
	if len(stuck) > 0 {
		t.Error(<-stuck)
	}
	unreadHere.Close()
	unreadThere.Close()
	await1(t, stuck, "Send to end")
	wantNothingLeft(t, "client", p.cc)
	wantNothingLeft(t, "server", p.sc)
}

// TestUnreadIsBounded: what an unread stream holds is bounded by its window, also if its items are tiny or empty.
func TestUnreadIsBounded(t *testing.T) {
	const window = 64 << 10
	for _, size := range []int{0, 1, 31, 1000} {
		bubble(t, fmt.Sprint(size), func(t *testing.T) {
			held := make(chan *Stream, 1)
			p := newPair(t, &ServerOpts{StreamWindow: window}, nil, func(srv *Server, cli *Client) {
				srv.OnMessage("/unread", func(ctx *Context, s *Stream) { held <- s; <-ctx.Done() })
			})
			s, err := p.cc.OpenStream(t.Context(), "/unread", nil)
			if err != nil {
				t.Fatal(err)
			}
			sent := 0
			stuck := make(chan error, 1)
			go func() {
				var err error
				for err == nil {
					if err = s.Send(make([]byte, size)); err == nil {
						sent++
					}
				}
				stuck <- err
			}()
			synctest.Wait()
			most := window / (size + 3 + 32) // raw bytes have 3 bytes of metadata
			in := &(<-held).in
			in.mu.Lock()
			n, chunks := len(in.queue.list), len(in.queue.chunks)
			in.mu.Unlock()
			if sent != most || n != most || chunks > 1+window/bufferSize {
				t.Errorf("%d items were sent, %d are held, in %d chunks; want %d", sent, n, chunks, most)
			}
			s.Close()
			<-stuck
		})
	}
}

// TestLongRunOfItems: millions of bytes go through the smallest window, in items of all sizes around its parts.
func TestLongRunOfItems(t *testing.T) {
	p := newPair(t, &ServerOpts{StreamWindow: 1 << 10}, &ClientOpts{StreamWindow: 1 << 10}, func(srv *Server, cli *Client) { streamHandlers(srv) })
	i := 0
	for b, err := range Exchange[[]byte, []byte](bounded(t), p.cc, "/pass", nil, func(yield func([]byte) bool) {
		for i := 0; i < 2200 && yield(text(i, i)); i++ {
		}
	}) {
		if err != nil || !bytes.Equal(b, text(i, i)) {
			t.Fatalf("item %d: %d bytes, %v", i, len(b), err)
		}
		i++
	}
	if i != 2200 {
		t.Errorf("%d items", i)
	}
	wantNothingLeft(t, "client", p.cc)
	wantNothingLeft(t, "server", p.sc)
}
