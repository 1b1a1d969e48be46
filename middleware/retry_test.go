package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

// failure returns an error with a code and a delivery.
func failure(code flyrpc.Code, d flyrpc.Delivery) error {
	return flyrpc.Errorf(code, "on purpose").WithDelivery(d)
}

func TestRetryDecides(t *testing.T) {
	plain := errors.New("plain")
	all := func(string) bool { return true }
	for _, tt := range []struct {
		name string
		err  error
		opts *middleware.RetryOptions
		call flyrpc.Outgoing
		mark bool // WithIdempotent
		want int
	}{
		{"success", nil, nil, flyrpc.Outgoing{}, true, 1},
		{"not sent", failure(flyrpc.Unavailable, flyrpc.NotSent), nil, flyrpc.Outgoing{}, false, 3},
		{"not processed", failure(flyrpc.Busy, flyrpc.NotProcessed), nil, flyrpc.Outgoing{}, false, 3},
		{"wrapped", fmt.Errorf("x: %w", failure("OWN", flyrpc.NotProcessed)), nil, flyrpc.Outgoing{}, false, 3},
		{"a message", failure(flyrpc.Busy, flyrpc.NotSent), nil, flyrpc.Outgoing{OneWay: true}, false, 3},
		{"a stream", failure(flyrpc.Busy, flyrpc.NotSent), nil, flyrpc.Outgoing{Streams: true}, false, 3},
		{"answered", failure(flyrpc.Busy, flyrpc.Answered), &middleware.RetryOptions{Idempotent: all, Worth: func(error) bool { return true }}, flyrpc.Outgoing{}, true, 1},
		{"unknown", failure(flyrpc.Unavailable, flyrpc.Unknown), nil, flyrpc.Outgoing{}, false, 1},
		{"unknown, marked", failure(flyrpc.Unavailable, flyrpc.Unknown), nil, flyrpc.Outgoing{}, true, 3},
		{"unknown, path", failure(flyrpc.Unavailable, flyrpc.Unknown), &middleware.RetryOptions{Idempotent: func(p string) bool { return p == "/x" }}, flyrpc.Outgoing{Path: "/x"}, false, 3},
		{"unknown, other path", failure(flyrpc.Unavailable, flyrpc.Unknown), &middleware.RetryOptions{Idempotent: func(p string) bool { return p == "/x" }}, flyrpc.Outgoing{Path: "/y"}, false, 1},
		{"unknown stream", failure(flyrpc.Unavailable, flyrpc.Unknown), &middleware.RetryOptions{Idempotent: all}, flyrpc.Outgoing{Streams: true}, true, 1},
		{"plain", plain, nil, flyrpc.Outgoing{}, false, 1},
		{"plain, marked", plain, nil, flyrpc.Outgoing{}, true, 3},
		{"not found", failure(flyrpc.NotFound, flyrpc.NotProcessed), nil, flyrpc.Outgoing{}, true, 1},
		{"bad request", failure(flyrpc.BadRequest, flyrpc.NotSent), nil, flyrpc.Outgoing{}, true, 1},
		{"too long", failure(flyrpc.TooLong, flyrpc.NotSent), nil, flyrpc.Outgoing{}, true, 1},
		{"unauthenticated", failure(flyrpc.Unauthenticated, flyrpc.NotProcessed), nil, flyrpc.Outgoing{}, true, 1},
		{"forbidden", failure(flyrpc.Forbidden, flyrpc.NotProcessed), nil, flyrpc.Outgoing{}, true, 1},
		{"worth", failure(flyrpc.NotFound, flyrpc.NotProcessed), &middleware.RetryOptions{Worth: func(error) bool { return true }}, flyrpc.Outgoing{}, false, 3},
		{"not worth", failure(flyrpc.Busy, flyrpc.NotProcessed), &middleware.RetryOptions{Worth: func(error) bool { return false }}, flyrpc.Outgoing{}, false, 1},
		{"attempts", failure(flyrpc.Busy, flyrpc.NotSent), &middleware.RetryOptions{Attempts: 7, Backoff: 1, MaxPause: 1<<63 - 1}, flyrpc.Outgoing{}, false, 7},
		{"one attempt", failure(flyrpc.Busy, flyrpc.NotSent), &middleware.RetryOptions{Attempts: 1}, flyrpc.Outgoing{}, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fails := server(func(int, context.Context, *flyrpc.Outgoing) error { return tt.err })
				invoke, calls := fails.behind(middleware.Retry(tt.opts))
				ctx := t.Context()
				if tt.mark {
					ctx = flyrpc.WithIdempotent(ctx)
				}
				if err := invoke(ctx, &tt.call); err != tt.err || *calls != tt.want {
					t.Errorf("%d attempts and %v, want %d", *calls, err, tt.want)
				}
			})
		})
	}
}

// TestRetryPauses: the pauses are random, grow to the limit and never go beyond.
func TestRetryPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const attempts, rounds = 6, 200
		var at [attempts]time.Time
		note := server(func(n int, _ context.Context, _ *flyrpc.Outgoing) error {
			at[(n-1)%attempts] = time.Now()
			return failure(flyrpc.Busy, flyrpc.NotSent)
		})
		invoke, _ := note.behind(middleware.Retry(&middleware.RetryOptions{Attempts: attempts, Backoff: time.Second, MaxPause: 5 * time.Second}))
		var sum, longest [attempts]time.Duration
		for range rounds {
			_ = invoke(t.Context(), &flyrpc.Outgoing{})
			for i := 1; i < attempts; i++ {
				d := at[i].Sub(at[i-1])
				sum[i] += d
				longest[i] = max(longest[i], d)
			}
		}
		for i, want := range []time.Duration{0, 1, 2, 4, 5, 5} {
			want *= time.Second
			if mean := sum[i] / rounds; longest[i] > want || mean < want*3/10 || mean > want*7/10 {
				t.Errorf("pause %d: %v at most and %v on average, want at most %v and half of it", i, longest[i], mean, want)
			}
		}
	})
}

// TestRetryDeadline: no attempt is made after the end of the context, and none waited for that would come after its deadline.
func TestRetryDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := server(func(int, context.Context, *flyrpc.Outgoing) error { return failure(flyrpc.Busy, flyrpc.NotSent) })
		invoke, calls := fails.behind(middleware.Retry(&middleware.RetryOptions{Attempts: 1000, Backoff: time.Hour, MaxPause: time.Hour}))
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		wantErr(t, invoke(ctx, &flyrpc.Outgoing{}), flyrpc.Busy, flyrpc.NotSent)
		if *calls != 1 || time.Since(start) != 0 {
			t.Errorf("%d attempts in %v", *calls, time.Since(start))
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		*calls = 0
		wantErr(t, invoke(ctx, &flyrpc.Outgoing{}), flyrpc.Busy, flyrpc.NotSent)
		if *calls != 1 || time.Since(start) != time.Millisecond {
			t.Errorf("%d attempts in %v", *calls, time.Since(start))
		}
		*calls = 0
		wantErr(t, invoke(ctx, &flyrpc.Outgoing{}), flyrpc.Busy, flyrpc.NotSent)
		if *calls != 1 {
			t.Errorf("%d attempts with a context that has ended", *calls)
		}
	})
}

// TestRetryRestores: what an interceptor inside has changed is as before in the next attempt.
func TestRetryRestores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reply int
		change := server(func(n int, _ context.Context, call *flyrpc.Outgoing) error {
			if call.Path != "/x" || call.Message != "message" || call.Reply != &reply {
				t.Errorf("attempt %d has %+v", n, call)
			}
			call.Path, call.Message, call.Reply = "/y", nil, nil
			return failure(flyrpc.Busy, flyrpc.NotSent)
		})
		invoke, calls := change.behind(middleware.Retry(nil))
		_ = invoke(t.Context(), &flyrpc.Outgoing{Path: "/x", Message: "message", Reply: &reply})
		if *calls != 3 {
			t.Errorf("%d attempts", *calls)
		}
	})
}

// TestRetryReader: a reader is sent again if nobody has begun to read it, and an attempt that was given up can't read it then.
func TestRetryReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var old io.Reader
		sends := server(func(n int, _ context.Context, call *flyrpc.Outgoing) error {
			if n == 1 {
				old = call.Message.(io.Reader)
				return failure(flyrpc.Busy, flyrpc.NotProcessed)
			}
			if got, err := old.Read(make([]byte, 1)); got != 0 || err == nil || err == io.EOF {
				t.Errorf("the first attempt reads %d bytes, %v", got, err)
			}
			all, err := io.ReadAll(call.Message.(io.Reader))
			if string(all) != "content" || err != nil {
				t.Errorf("got %q, %v", all, err)
			}
			return failure(flyrpc.Busy, flyrpc.NotProcessed)
		})
		invoke, calls := sends.behind(middleware.Retry(nil))
		src := strings.NewReader("content")
		call := &flyrpc.Outgoing{Message: src}
		wantErr(t, invoke(t.Context(), call), flyrpc.Busy, flyrpc.NotProcessed)
		if *calls != 2 || call.Message != src {
			t.Errorf("%d attempts, with %v left", *calls, call.Message)
		}
	})
}

// TestRetryServer: what a server refuses is made again, with readers and streams too.
func TestRetryServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse, handled := 0, 0
		srv := newServer(t, nil)
		srv.Use(func(next flyrpc.Handler) flyrpc.Handler {
			return func(ctx *flyrpc.Context) (any, error) {
				if refuse > 0 {
					refuse--
					return nil, ctx.Refuse(flyrpc.Errorf(flyrpc.Busy, "refused"))
				}
				handled++
				return next(ctx)
			}
		})
		srv.OnMessage("/text", func(s string) string { return s })
		srv.OnMessage("/reader", func(r io.Reader) (string, error) { b, err := io.ReadAll(r); return string(b), err })
		srv.OnMessage("/broken", func() error { return flyrpc.Busy })
		srv.OnMessage("/items", func(s *flyrpc.Stream) error { return s.Send("item") })
		cli := newClient(t, srv, intercept(middleware.Retry(&middleware.RetryOptions{Attempts: 3})))
		for _, tt := range []struct {
			path    string
			message any
			refuse  int
			code    flyrpc.Code
			d       flyrpc.Delivery
			want    string
			handled int
		}{
			{"/text", "x", 2, "", 0, "x", 1},
			{"/text", "x", 3, flyrpc.Busy, flyrpc.NotProcessed, "", 0},
			{"/broken", nil, 0, flyrpc.Busy, flyrpc.Answered, "", 1},
			{"/missing", nil, 0, flyrpc.NotFound, flyrpc.NotProcessed, "", 0},
			{"/reader", bytes.NewReader([]byte("content")), 0, "", 0, "content", 1},
		} {
			refuse, handled = tt.refuse, 0
			var reply string
			err := cli.Call(t.Context(), tt.path, tt.message, &reply)
			wantErr(t, err, tt.code, tt.d)
			if reply != tt.want || handled != tt.handled {
				t.Errorf("%s: %q, handled %d times; want %q, %d", tt.path, reply, handled, tt.want, tt.handled)
			}
		}
		// A reader that was begun is not sent again, whatever became of it.
		refuse, handled = 1, 0
		src := &slowReader{}
		err := cli.Call(t.Context(), "/reader", src, nil)
		wantErr(t, err, flyrpc.Busy, flyrpc.NotProcessed)
		if handled != 0 || src.reads == 0 {
			t.Errorf("handled %d times after %d reads", handled, src.reads)
		}
		// A stream that was opened isn't opened again.
		refuse, handled = 1, 0
		for _, err := range flyrpc.Receive[string](t.Context(), cli, "/items", nil) {
			wantErr(t, err, flyrpc.Busy, flyrpc.NotProcessed)
		}
		cli.Close()
		start := time.Now()
		_, err = cli.OpenStream(t.Context(), "/items", nil)
		wantErr(t, err, flyrpc.Unavailable, flyrpc.NotSent)
		if handled != 0 || time.Since(start) > time.Second {
			t.Errorf("handled %d times, in %v", handled, time.Since(start))
		}
	})
}

// slowReader has something to read each second, for a minute.
type slowReader struct{ reads int }

func (r *slowReader) Read(p []byte) (int, error) {
	if r.reads++; r.reads > 60 {
		return 0, io.EOF
	}
	if r.reads > 1 {
		time.Sleep(time.Second)
	}
	return copy(p, "x"), nil
}

func ExampleRetry() {
	srv := flyrpc.NewServer(nil)
	defer srv.Close()
	srv.Use(middleware.RateLimit(50, 1, nil)) // one each 20 ms
	srv.OnMessage("/x", func() {})
	cli := connect(srv, &flyrpc.ClientOpts{Intercept: []flyrpc.Interceptor{
		middleware.Retry(&middleware.RetryOptions{Attempts: 100, Backoff: 20 * time.Millisecond, MaxPause: 20 * time.Millisecond}),
	}})
	defer cli.Close()

	for range 3 {
		fmt.Println(cli.Call(ctx, "/x", nil, nil)) // those that are refused are made again
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
}
