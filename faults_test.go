package flyrpc_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/flyrpctest"
)

// failsWith checks an error's code and outcome.
func failsWith(t testing.TB, err error, code flyrpc.Code, d flyrpc.Delivery) {
	t.Helper()
	if !errors.Is(err, code) || flyrpc.Outcome(err) != d {
		t.Errorf("error %v, %v; want %s, %v", err, flyrpc.Outcome(err), code, d)
	}
}

// With ReconnectNever a connection that was lost is not made anew by calls, but by Connect.
func TestClientConnectsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := flyrpctest.NewServer(t, nil)
		srv.OnMessage("/echo", func(s string) string { return s })
		cli := flyrpctest.NewClient(t, srv, &flyrpc.ClientOpts{Reconnect: flyrpc.Reconnect{Mode: flyrpc.ReconnectNever}})
		pushed := make(chan string, 1)
		cli.OnMessage("/push", func(s string) { pushed <- s })
		first := cli.Conn()
		cli.ServerConn().Close()
		<-first.Done()
		failsWith(t, cli.Call(t.Context(), "/echo", "x", nil), flyrpc.Unavailable, flyrpc.NotSent)
		if err := cli.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if cli.Conn() == first || cli.Conn().ID() == first.ID() {
			t.Error("Connect left the connection that was lost")
		}
		if got, err := flyrpc.Call[string](t.Context(), cli, "/echo", "again"); got != "again" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		synctest.Wait()
		if err := srv.Broadcast("/push", "hi"); err != nil || <-pushed != "hi" {
			t.Error(err)
		}
		srv.Close()
		<-cli.Conn().Done()
		err := cli.Connect(t.Context())
		failsWith(t, err, flyrpc.Unavailable, flyrpc.NotSent)
		if text := err.Error(); !strings.Contains(text, "mem://server") || !strings.Contains(text, "refused") {
			t.Error(text)
		}
	})
}

// TestDeadlineShrinks: each service gives the next one what is left.
func TestDeadlineShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan time.Duration, 1)
		last := flyrpctest.NewServer(t, nil)
		last.OnMessage("/c", func(ctx *flyrpc.Context) {
			deadline, _ := ctx.Deadline()
			left <- time.Until(deadline)
		})
		onward := flyrpctest.NewClient(t, last, nil)
		first := flyrpctest.NewServer(t, nil)
		first.OnMessage("/b", func(ctx *flyrpc.Context) error {
			time.Sleep(4 * time.Second)
			return onward.Call(ctx, "/c", nil, nil)
		})
		first.OnMessage("/bounded", func(ctx *flyrpc.Context) error {
			inner, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return onward.Call(ctx.WithContext(inner), "/c", nil, nil)
		})
		cli := flyrpctest.NewClient(t, first, nil)
		for path, want := range map[string]time.Duration{"/b": 6 * time.Second, "/bounded": time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := cli.Call(ctx, path, nil, nil); err != nil {
				t.Fatal(err)
			}
			cancel()
			if d := <-left - want; d < 0 || d > time.Millisecond {
				t.Errorf("%s: %v more than %v is left", path, d, want)
			}
		}
	})
}

// TestRemoteTimeout: a timeout at the other end matches Timeout alone.
func TestRemoteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := flyrpctest.NewServer(t, nil)
		srv.OnMessage("/inner", func(ctx *flyrpc.Context) error {
			inner, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			<-inner.Done()
			return inner.Err()
		})
		srv.OnMessage("/cancel", flyrpctest.Fail(context.Canceled))
		cli := flyrpctest.NewClient(t, srv, nil)
		err := cli.Call(t.Context(), "/inner", nil, nil)
		failsWith(t, err, flyrpc.Timeout, flyrpc.Answered)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Error("a remote timeout matches context.DeadlineExceeded")
		}
		err = cli.Call(t.Context(), "/cancel", nil, nil)
		failsWith(t, err, flyrpc.Canceled, flyrpc.Answered)
		if errors.Is(err, context.Canceled) {
			t.Error("a remote cancellation matches context.Canceled")
		}
	})
}

// WriteTimeout is for an end that reads nothing; one that reads slowly is waited for, and others get
// their turn meanwhile.
func TestSlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, rate = 1 << 20, 20_000
		srv := flyrpctest.NewServer(t, &flyrpc.ServerOpts{WriteTimeout: 5 * time.Second})
		srv.OnMessage("/large", flyrpctest.Reply(make([]byte, size)))
		srv.OnMessage("/small", flyrpctest.Reply("x"))
		cli := flyrpctest.NewClient(t, srv, nil)
		cli.Link.Down.SetRate(rate)
		begin := time.Now()
		var large []byte
		call := cli.Go(t.Context(), "/large", nil, &large)
		time.Sleep(10 * time.Second)
		asked := time.Now()
		if err := cli.Call(t.Context(), "/small", nil, nil); err != nil {
			t.Error(err)
		}
		if d := time.Since(asked); d > 15*time.Second {
			t.Errorf("a small call beside a large one took %v", d)
		}
		if err := call.Err(); err != nil || len(large) != size {
			t.Errorf("%d bytes, %v", len(large), err)
		}
		if d := time.Since(begin); d < size/rate*time.Second || d > 2*size/rate*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// A server that comes and goes: what is said to be not sent or not processed was never handled, and
// whatever is safe to repeat gets through in the end.
func TestRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(flyrpctest.Recorder)
		srv := flyrpctest.NewServer(t, nil)
		srv.Use(rec.Middleware)
		srv.OnMessage("/work", func(int) { time.Sleep(30 * time.Millisecond) })
		host := flyrpctest.Serve(t, srv)
		handled := make([]int, 100)
		maybe := make([]bool, len(handled))
		var wg sync.WaitGroup
		for worker := range 4 {
			cli := host.NewClient(nil)
			cli.Link.Up.SetDelay(time.Duration(worker) * time.Millisecond)
			wg.Go(func() {
				for i := worker; i < len(handled); {
					switch err := cli.Call(t.Context(), "/work", i, nil); flyrpc.Outcome(err) {
					case flyrpc.NotSent, flyrpc.NotProcessed:
						time.Sleep(10 * time.Millisecond)
						_ = cli.Connect(t.Context())
						continue
					case flyrpc.Unknown:
						maybe[i] = true
					}
					i += 4
				}
			})
		}
		for range 5 {
			time.Sleep(100 * time.Millisecond)
			host.Stop()
			time.Sleep(50 * time.Millisecond)
			host.Start(nil)
		}
		wg.Wait()
		for _, call := range rec.Records("/work") {
			var i int
			if err := call.Message.Decode(&i); err != nil {
				t.Fatal(err)
			}
			handled[i]++
		}
		unknown := 0
		for i, n := range handled {
			if n > 1 || n == 0 && !maybe[i] {
				t.Errorf("call %d was handled %d times, its outcome was unknown: %v", i, n, maybe[i])
			}
			if maybe[i] {
				unknown++
			}
		}
		if unknown == 0 {
			t.Error("no call was under way when the server stopped")
		}
	})
}
