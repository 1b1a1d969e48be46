package flyrpc

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-flyrpc/flyrpc/internal/netfault"
	"github.com/go-flyrpc/flyrpc/transport"
)

// A client that reconnects goes on over UDP when the server is another one at the same address, and nothing runs twice.
func TestUDPReconnect(t *testing.T) {
	ctx := udpContext(t)
	var ran executions
	table, err := transport.NewTable()
	if err != nil {
		t.Fatal(err)
	}
	serve := func(addr string) (srv *Server, at string, ended chan struct{}) {
		srv = quietServer(t, nil)
		srv.OnMessage("/x", func(n int) int { ran.run(n); return n })
		l, err := table.Listen(ctx, addr)
		if err != nil {
			t.Fatal(err)
		}
		ended = make(chan struct{})
		go func() { defer close(ended); _ = srv.Serve(l) }()
		return srv, "udp://" + l.Addr().String(), ended
	}
	srv, addr, ended := serve("udp://127.0.0.1:0")
	p, err := netfault.NewDatagramProxy(addr[len("udp://"):], netfault.DatagramFaults{Lose: 0.1, Repeat: 0.1, Late: 0.2, Seed: 9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	cli, err := Dial(ctx, "udp://"+p.Addr(), &ClientOpts{
		KeepaliveInterval: time.Second,
		Reconnect:         Reconnect{Mode: ReconnectAlways, Backoff: 10 * time.Millisecond, MaxPause: 100 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	var next atomic.Int64
	var mu sync.Mutex
	answered, failed := map[int]bool{}, map[int]error{}
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for range 10 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := int(next.Add(1))
				got, err := Call[int](ctx, cli, "/x", n)
				mu.Lock()
				switch {
				case err == nil && got == n:
					answered[n] = true
				case err == nil:
					t.Errorf("call %d has the answer of %d", n, got)
				default:
					failed[n] = err
				}
				mu.Unlock()
			}
		})
	}
	reached := func() {
		t.Helper()
		mu.Lock()
		before := len(answered)
		mu.Unlock()
		for ctx.Err() == nil {
			mu.Lock()
			n := len(answered)
			mu.Unlock()
			if n > before+100 {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Error("no calls are answered any more")
	}
	for i := range 4 {
		reached()
		if i%2 == 0 {
			shut, cancel := context.WithTimeout(ctx, 5*time.Second)
			if err := srv.Shutdown(shut); err != nil {
				t.Error(err)
			}
			cancel()
		} else {
			srv.Close()
		}
		<-ended
		srv, _, ended = serve(addr)
	}
	reached()
	close(stop)
	callers.Wait()
	srv.Close()
	<-ended
	if err := ran.check(int(next.Load())+1, answered); err != nil {
		t.Error(err)
	}
	for n, err := range failed {
		if o := Outcome(err); ran.times[n] > 0 && o != Unknown {
			t.Errorf("call %d ran, and failed with %v, %v", n, err, o)
		}
	}
	if len(failed) > 20 { // those in flight at each of two Closes
		t.Errorf("%d calls failed: Shutdown has lost some", len(failed))
		for n, err := range failed {
			t.Logf("call %d ran %d times: %v, %v", n, ran.times[n], err, Outcome(err))
		}
	}
}
