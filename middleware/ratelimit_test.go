package middleware_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

// passed returns how many of n calls passed, and checks how the others failed.
func passed(t *testing.T, cli *flyrpc.Client, ctx context.Context, path string, n int) (passed int) {
	t.Helper()
	for range n {
		err := cli.Call(ctx, path, "no number", nil)
		if err == nil {
			passed++
			continue
		}
		wantErr(t, err, flyrpc.Busy, flyrpc.NotProcessed)
	}
	return passed
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, err := middleware.Auth(middleware.AuthOptions{Rules: []middleware.Rule{middleware.Authenticated("...")}, Check: checkToken})
		if err != nil {
			t.Fatal(err)
		}
		srv := newServer(t, &flyrpc.ServerOpts{
			Logger: slog.New(slog.DiscardHandler),
			Auth:   func(context.Context, *flyrpc.Credentials) (any, error) { return "ada", nil },
		})
		handled := 0
		limit := func(o *middleware.RateLimitOptions) flyrpc.Middleware { return middleware.RateLimit(10, 3, o) }
		byIdentity := &middleware.RateLimitOptions{Key: middleware.ByIdentity}
		srv.With(limit(nil)).OnMessage("/conn", func() { handled++ })
		srv.With(limit(byIdentity)).OnMessage("/identity", func() {})
		srv.With(auth, limit(byIdentity)).OnMessage("/principal", func() {})
		srv.With(limit(&middleware.RateLimitOptions{Key: func(*flyrpc.Context) any { return nil }})).OnMessage("/all", func() {})
		srv.With(limit(nil)).OnMessage("/items", func(s *flyrpc.Stream) error { return s.Send("x") })
		a, b := newClient(t, srv, nil), newClient(t, srv, nil)
		for _, tt := range []struct {
			path         string
			wantA, wantB int
		}{{"/conn", 3, 3}, {"/identity", 3, 0}, {"/all", 3, 0}} {
			gotA, gotB := passed(t, a, t.Context(), tt.path, 5), passed(t, b, t.Context(), tt.path, 5)
			if gotA != tt.wantA || gotB != tt.wantB {
				t.Errorf("%s: %d and %d passed, want %d and %d", tt.path, gotA, gotB, tt.wantA, tt.wantB)
			}
		}
		for name, want := range map[string]int{"ada:x": 3, "bob:x": 3} {
			ctx := flyrpc.WithMeta(t.Context(), "token", name)
			if got := passed(t, a, ctx, "/principal", 5) + passed(t, b, ctx, "/principal", 5); got != want {
				t.Errorf("%d of %s passed, want %d", got, name, want)
			}
		}
		for range 5 {
			if err := a.SendMessage(t.Context(), "/conn", nil); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if handled != 6 {
			t.Errorf("%d handled, want none of the messages", handled)
		}
		time.Sleep(200 * time.Millisecond)
		if got := passed(t, a, t.Context(), "/conn", 5); got != 2 {
			t.Errorf("%d passed after 200 ms, want 2", got)
		}
		items := 0
		for range 5 {
			for _, err := range flyrpc.Receive[string](t.Context(), a, "/items", nil) {
				if err == nil {
					items++
				} else {
					wantErr(t, err, flyrpc.Busy, flyrpc.NotProcessed)
				}
			}
		}
		if items != 3 {
			t.Errorf("%d streams passed, want 3", items)
		}
	})
}

// TestRateLimitKeys: every comparable key has a bucket of its own.
func TestRateLimitKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var key any
		srv := newServer(t, nil)
		srv.Use(middleware.RateLimit(1, 1, &middleware.RateLimitOptions{Key: func(*flyrpc.Context) any { return key }, MaxKeys: 4}))
		srv.OnMessage("/x", func() {})
		cli := newClient(t, srv, nil)
		for _, k := range []any{[]int{1}, map[string]int{}, struct{ x any }{[]int{1}}} {
			key = k
			err := cli.Call(t.Context(), "/x", nil, nil)
			wantErr(t, err, flyrpc.Internal, flyrpc.NotProcessed)
		}
		type named string
		for _, k := range []any{nil, "a", named("a"), [1]string{"a"}} {
			key = k
			if got := passed(t, cli, t.Context(), "/x", 3); got != 1 {
				t.Errorf("%d passed with %#v, want 1", got, k)
			}
		}
	})
}

func TestRateLimitFaults(t *testing.T) {
	for _, tt := range []struct {
		perSecond float64
		burst     int
	}{{0, 1}, {-1, 1}, {math.NaN(), 1}, {math.Inf(1), 1}, {1, 0}} {
		wantPanic(t, "it takes a positive number and at least 1", func() { middleware.RateLimit(tt.perSecond, tt.burst, nil) })
	}
}

func ExampleRateLimit() {
	srv := flyrpc.NewServer(nil)
	defer srv.Close()
	srv.Use(middleware.RateLimit(0.1, 2, nil)) // for each connection: one each 10 s, after a pause two
	srv.OnMessage("/x", func() {})
	cli := connect(srv, nil)
	defer cli.Close()

	for range 3 {
		err := cli.Call(ctx, "/x", nil, nil)
		fmt.Println(err, flyrpc.Outcome(err))
	}
	// Output:
	// <nil> Answered
	// <nil> Answered
	// BUSY: more than 0.1 calls a second: wait before the next NotProcessed
}
