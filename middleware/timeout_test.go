package middleware_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, text := newLog(slog.LevelInfo)
		srv := newServer(t, nil)
		srv.Use(middleware.Logger(&middleware.LoggerOptions{Logger: log}), middleware.Timeout(time.Second))
		sleep := func(ctx context.Context, d time.Duration) (string, error) {
			select {
			case <-time.After(d):
				return "done", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		srv.OnMessage("/obeys", sleep)
		srv.OnMessage("/wraps", func(ctx *flyrpc.Context) error {
			<-ctx.Done()
			return fmt.Errorf("wrapped: %w", ctx.Err())
		})
		srv.OnMessage("/deaf", func(d time.Duration) string { time.Sleep(d); return "late" })
		srv.OnMessage("/own", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Nanosecond); return flyrpc.Conflict })
		srv.OnMessage("/inline", func(d time.Duration) string { time.Sleep(d); return "late" }, flyrpc.Inline)
		srv.OnMessage("/left", func(ctx context.Context) time.Duration {
			deadline, _ := ctx.Deadline()
			return time.Until(deadline)
		})
		srv.OnMessage("/panics", func(ctx context.Context) { <-ctx.Done(); panic("late") })
		cli := newClient(t, srv, nil)
		const late = "the handler took longer than the 1s it has"
		for _, tt := range []struct {
			path  string
			d     time.Duration
			code  flyrpc.Code
			want  string
			after time.Duration
			log   string
		}{
			{"/obeys", time.Millisecond, "", "done", time.Millisecond, "code=OK duration=1ms"},
			{"/obeys", time.Minute, flyrpc.Timeout, late, time.Second, "code=TIMEOUT duration=1s"},
			{"/wraps", 0, flyrpc.Timeout, late, time.Second, "code=TIMEOUT duration=1s"},
			{"/deaf", time.Minute, flyrpc.Timeout, late, time.Second, "code=TIMEOUT duration=1m0s"},
			{"/inline", 20 * time.Second, flyrpc.Timeout, late, time.Second, "code=TIMEOUT duration=20s"}, // keepalive notices longer ones,
			{"/own", 0, flyrpc.Timeout, late, time.Second, "code=TIMEOUT duration=1.000000001s"},
			{"/panics", 0, flyrpc.Timeout, late, time.Second, "code=HANDLER_PANIC duration=1s"},
		} {
			start := time.Now()
			var reply string
			err := cli.Call(t.Context(), tt.path, tt.d, &reply)
			if took := time.Since(start); took != tt.after {
				t.Errorf("%s: after %v, want %v", tt.path, took, tt.after)
			}
			if tt.path == "/panics" && strings.Contains(fmt.Sprint(err), "HANDLER_PANIC") {
				err = flyrpc.Timeout // both happen at the same time
			} else if err == nil && reply != tt.want || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %q, %v; want %s", tt.path, reply, err, tt.want)
			} else {
				wantErr(t, err, tt.code, flyrpc.Answered)
			}
			time.Sleep(2 * time.Minute)
			if got := text.take(); !strings.Contains(got, tt.log) {
				t.Errorf("%s: logged %q, want %s", tt.path, got, tt.log)
			}
		}
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		for want, ctx := range map[time.Duration]context.Context{time.Second: t.Context(), 300 * time.Millisecond: short} {
			if got, err := flyrpc.Call[time.Duration](ctx, cli, "/left", nil); err != nil || got < want || got > want+time.Millisecond {
				t.Errorf("the handler has %v, %v; want %v", got, err, want)
			}
		}
		text.take()
		err := cli.Call(short, "/obeys", time.Minute, nil) // the caller's own deadline
		wantErr(t, err, flyrpc.Timeout, flyrpc.Unknown)
		synctest.Wait()
		if got := text.take(); !strings.Contains(got, "code=CANCELED") && !strings.Contains(got, "code=TIMEOUT") {
			t.Errorf("logged %q", got)
		}
		for _, d := range []time.Duration{0, -1} {
			wantPanic(t, "is no time for a handler", func() { middleware.Timeout(d) })
		}
	})
}

// TestTimeoutStream: the time of a stream is bounded as a whole, also while it waits to send or to receive.
func TestTimeoutStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, nil)
		srv.Use(middleware.Timeout(time.Second))
		ends := make(chan error, 1)
		srv.OnMessage("/recv", func(s *flyrpc.Stream) error {
			_ = s.Send("first")
			err := s.Recv(nil)
			ends <- err
			return err
		})
		srv.OnMessage("/send", func(s *flyrpc.Stream) (err error) {
			for err == nil {
				err = s.Send(strings.Repeat("x", 1000))
			}
			ends <- err
			return err
		})
		cli := newClient(t, srv, nil)
		for _, path := range []string{"/recv", "/send"} {
			s, err := cli.OpenStream(t.Context(), path, nil)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			<-ends
			if took := time.Since(start); took != time.Second {
				t.Errorf("%s: the handler ended after %v", path, took)
			}
			n := 0
			for err = s.Recv(nil); err == nil; err = s.Recv(nil) {
				n++
			}
			if n == 0 || err == io.EOF {
				t.Errorf("%s: %d items, %v", path, n, err)
			}
			wantErr(t, err, flyrpc.Timeout, flyrpc.Answered)
		}
	})
}

func ExampleTimeout() {
	srv := flyrpc.NewServer(nil)
	defer srv.Close()
	srv.With(middleware.Timeout(10*time.Millisecond)).OnMessage("/slow", func(ctx *flyrpc.Context) error {
		<-ctx.Done() // what takes long looks at its context
		return ctx.Err()
	})
	cli := connect(srv, nil)
	defer cli.Close()

	fmt.Println(cli.Call(ctx, "/slow", nil, nil))
	// Output: TIMEOUT: the handler took longer than the 10ms it has
}
