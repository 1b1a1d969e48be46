package flyrpc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Any number of Shutdown and Close at once all return.
func TestShutdownConcurrently(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			srv := quietServer(t, nil)
			srv.OnMessage("/slow", func() { time.Sleep(time.Second) })
			srv.OnDisconnect(func(*Context, error) { time.Sleep(time.Second) }) // all wait for it
			cli := connectPipe(t, srv, nil)
			cli.Go(context.Background(), "/slow", nil, nil)
			cli.Go(context.Background(), "/slow", nil, nil)
			synctest.Wait()
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if err := srv.Shutdown(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		srv.OnMessage("/wait", func(ctx *Context) { <-ctx.Done() })
		cli := connectPipe(t, srv, nil)
		call := cli.Go(context.Background(), "/wait", nil, nil)
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- srv.Shutdown(context.Background()) }()
		synctest.Wait()
		for range 2 {
			if err := srv.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := within(t, stopped); err != nil {
			t.Error(err)
		}
		wantErr(t, call.Err(), Unavailable, Unknown)
	})
}

// Close waits for nobody, and calls in both directions end.
func TestCloseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := quietServer(t, nil)
		ended := make(chan error, 2)
		wait := func(ctx *Context) error { <-ctx.Done(); ended <- ctx.Err(); return nil }
		srv.OnMessage("/wait", wait)
		cli := connectPipe(t, srv, nil)
		cli.OnMessage("/wait", wait)
		synctest.Wait()
		there := cli.Go(context.Background(), "/wait", nil, nil)
		back := srv.Conns()[0].Go(context.Background(), "/wait", nil, nil)
		synctest.Wait()
		begin := time.Now()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		wantErr(t, there.Err(), Unavailable, Unknown)
		wantErr(t, back.Err(), Unavailable, Unknown)
		for range 2 {
			if err := within(t, ended); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("it took %v", d)
		}
	})
}

// While calls come all the time, each one is answered or says that it may be repeated.
func TestShutdownUnderLoad(t *testing.T) {
	for range 30 {
		srv := quietServer(t, nil)
		var handled, answered atomic.Int32
		srv.OnMessage("/n", func() int { handled.Add(1); return 1 })
		var wg sync.WaitGroup
		running := make(chan struct{}, 8)
		for range 4 {
			cli := connectPipe(t, srv, nil)
			for range 2 {
				wg.Go(func() {
					for first := true; ; first = false {
						n, err := Call[int](context.Background(), cli, "/n", nil)
						if d := Outcome(err); err != nil {
							if !errors.Is(err, Unavailable) || d != NotSent && d != NotProcessed {
								t.Errorf("a call ended with %v, %v", err, d)
							}
							return
						}
						answered.Add(int32(n))
						if first {
							running <- struct{}{}
						}
					}
				})
			}
		}
		for range 8 {
			<-running
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		wg.Wait()
		if handled.Load() != answered.Load() {
			t.Errorf("%d calls were handled, %d answered", handled.Load(), answered.Load())
		}
	}
}

// A call that waits to be written when the server says bye isn't sent.
func TestByeRefusesWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cli, w := clientWire(t, &ClientOpts{MaxQueued: 1000, KeepaliveTime: -1})
		go cli.Connect(context.Background())
		w.serverHello(`{"flyrpc":2,"serializers":["json"],"frame":1000000}`)
		synctest.Wait()
		errs := make([]chan error, 4)
		for i := range errs { // the first is in the pipe, the second being written, the third queued, the fourth waits
			errs[i] = make(chan error, 1)
			go func() { errs[i] <- cli.Call(context.Background(), "/big", make([]byte, 60<<10), nil) }()
			synctest.Wait()
		}
		w.send(Packet{Code: "fly.bye"})
		synctest.Wait()
		for range 3 {
			p := w.recv()
			w.send(Packet{Flag: FlagResponse, Sequence: p.Sequence})
		}
		for _, ch := range errs[:3] {
			if err := within(t, ch); err != nil {
				t.Error(err)
			}
		}
		err := within(t, errs[3])
		wantErr(t, err, Unavailable, NotSent)
		wantText(t, err.Error(), "bye")
		w.conn.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := w.conn.Read(make([]byte, 1)); n > 0 {
			t.Errorf("more was sent: %v", err)
		}
	})
}
