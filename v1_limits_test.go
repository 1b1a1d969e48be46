package flyrpc

import (
	"bytes"
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

// v1Limited returns a server that takes limit calls at once, whose handler /slow waits
// for release, and a peer. started counts.
func v1Limited(t *testing.T, limit int) (srv *Server, p *v1Peer, started *atomic.Int32, release func()) {
	started = new(atomic.Int32)
	open := make(chan struct{})
	release = sync.OnceFunc(func() { close(open) })
	t.Cleanup(release)
	srv = quietServer(t, &ServerOpts{MaxCalls: limit})
	srv.OnMessage("/slow", func(s string) string {
		started.Add(1)
		<-open
		return s
	})
	p = v1Pipe(t, srv)
	p.wantLife()
	synctest.Wait()
	return srv, p, started, release
}

// TestV1Backpressure has version 1 peers send more than is handled at once.
func TestV1Backpressure(t *testing.T) {
	t.Run("the reader stops and nothing is lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const n = 3000
			_, p, started, release := v1Limited(t, 2)
			payload := strings.Repeat("x", 100) // 3,000 of them are more than is read ahead
			var all []byte
			for i := range n {
				flag := byte(v1Wants)
				if i%3 == 2 {
					flag = 0
				}
				all = append(all, v1Bytes(flag, uint16(i), "/slow", fmt.Sprint(i, payload))...)
			}
			var written atomic.Bool
			go func() {
				for b := range bytesOf(all, 1000) {
					if _, err := p.conn.Write(b); err != nil {
						t.Error(err)
						return
					}
				}
				written.Store(true)
			}()
			synctest.Wait()
			if written.Load() || started.Load() != 2 {
				t.Fatalf("%d handlers run; all was read: %v", started.Load(), written.Load())
			}
			release()
			seen := map[uint16]bool{}
			for range n * 2 / 3 {
				got := p.recv()
				if got.code != "" || seen[got.seq] || got.payload != fmt.Sprint(got.seq, payload) {
					t.Fatalf("got %v", got)
				}
				seen[got.seq] = true
			}
			p.wantLife()
			synctest.Wait()
			if started.Load() != n {
				t.Errorf("%d of %d were handled", started.Load(), n)
			}
		})
	})
	t.Run("while a call is open some are queued and then BUSY", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv, p, started, release := v1Limited(t, 2)
			call := srv.Conns()[0].Go(t.Context(), "/ask", 1, new(int))
			ask := p.wantRequest("/ask", "1")
			for i := range uint16(9) { // 2 run, 4 wait
				p.request(i, "/slow", fmt.Sprint(i))
			}
			for i := range uint16(3) {
				p.wantError(6+i, "BUSY")
			}
			p.answer(ask, "", "5")
			if err := call.Err(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if started.Load() != 2 {
				t.Errorf("%d handlers run", started.Load())
			}
			release()
			seen := map[uint16]bool{}
			for range 6 {
				got := p.recv()
				if got.code != "" || seen[got.seq] || got.seq > 5 {
					t.Errorf("got %v", got)
				}
				seen[got.seq] = true
			}
			p.wantLife()
		})
	})
	t.Run("a call lets a reader go on that has stopped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv, p, _, release := v1Limited(t, 2)
			for i := range uint16(3) {
				p.request(i, "/slow", "1")
			}
			synctest.Wait()
			var n int
			call := srv.Conns()[0].Go(t.Context(), "/ask", 1, &n)
			p.answer(p.wantRequest("/ask", "1"), "", "5")
			if err := call.Err(); err != nil || n != 5 {
				t.Errorf("%d, %v", n, err)
			}
			release()
			for range 3 {
				p.recv()
			}
			p.wantLife()
		})
	})
	t.Run("a ping lets a reader go on that has stopped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv, p, _, release := v1Limited(t, 2)
			for i := range uint16(3) {
				p.request(i, "/slow", "1")
			}
			synctest.Wait()
			pong := make(chan error, 1)
			go func() {
				_, err := srv.Conns()[0].Ping(3, time.Minute)
				pong <- err
			}()
			p.answer(p.wantRequest("fly.ping", "\x00\x00\x00"), "", "\x00\x00\x00")
			if err := within(t, pong); err != nil {
				t.Error(err)
			}
			release()
			for range 3 {
				p.recv()
			}
			p.wantLife()
		})
	})
	t.Run("a peer that reads no answers is closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := v1Pipe(t, quietServer(t, nil))
			var err error
			begin := time.Now()
			for err == nil && time.Since(begin) < time.Minute {
				_, err = p.conn.Write(v1Bytes(v1Wants, 1, "/unknown", "1"))
			}
			if d := time.Since(begin); err == nil || d > ownWait {
				t.Errorf("after %v the server goes on: %v", d, err)
			}
		})
	})
}

// bytesOf divides b into runs of n bytes.
func bytesOf(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for r := bytes.NewBuffer(b); r.Len() > 0; {
			if !yield(r.Next(n)) {
				return
			}
		}
	}
}

// TestV1Shutdown has the requests that wait for room answered when Shutdown's time is over.
func TestV1Shutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, p, _, _ := v1Limited(t, 1)
		srv.Conns()[0].Go(t.Context(), "/ask", 1, nil)
		p.wantRequest("/ask", "1")
		for i := range uint16(3) { // 1 runs, 2 wait
			p.request(i, "/slow", "1")
		}
		synctest.Wait()
		go srv.Shutdown(ended(t))
		seen := map[uint16]bool{}
		for range 3 {
			got := p.recv()
			if got.code != "UNAVAILABLE" || seen[got.seq] {
				t.Errorf("got %v", got)
			}
			seen[got.seq] = true
		}
		p.wantEnd()
	})
}

// TestV1NoLockUp has two ends full of handlers that call each other, both of which take the
// other for a version 1 peer.
func TestV1NoLockUp(t *testing.T) {
	for _, limit := range []int{1, 2, 16} {
		t.Run(fmt.Sprint("MaxCalls ", limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := quietServer(t, &ServerOpts{MaxCalls: limit})
				near, far := transport.Pipe(nil)
				go srv.ServeConn(far)
				cli := NewClientConn(near, quietOpts(&ClientOpts{MaxCalls: limit, NoHello: true}))
				defer cli.Close()
				for _, r := range []*Router{srv.Router, cli.Router} {
					r.OnMessage("/there", func(ctx *Context, n int) (int, error) {
						var m int
						err := ctx.Call("/back", n, &m)
						return m, err
					})
					r.OnMessage("/back", func(n int) int { return n })
				}
				if err := cli.Call(t.Context(), "/back", 1, nil); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				var calls sync.WaitGroup
				var ok, busy atomic.Int32
				for _, c := range []*Conn{cli.Conn(), srv.Conns()[0]} {
					for i := range 100 {
						calls.Go(func() {
							var n int
							switch err := c.Call(t.Context(), "/there", i, &n); {
							case err == nil && n == i:
								ok.Add(1)
							case errors.Is(err, Busy):
								busy.Add(1)
							default:
								t.Errorf("got %d, %v", n, err)
							}
						})
					}
				}
				calls.Wait()
				t.Logf("%d calls were answered, %d were BUSY, in %v", ok.Load(), busy.Load(), time.Since(begin))
				if d := time.Since(begin); d > 250*DefaultHandlerWait {
					t.Errorf("it took %v", d)
				}
				if err := cli.Call(t.Context(), "/there", 1, nil); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

// ended returns a context whose time is over.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
