package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

func TestBreakerCounts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		codes []flyrpc.Code
		fails bool
	}{
		{"success", nil, nil, false},
		{"unavailable", failure(flyrpc.Unavailable, flyrpc.NotSent), nil, true},
		{"timeout", failure(flyrpc.Timeout, flyrpc.Unknown), nil, true},
		{"busy", failure(flyrpc.Busy, flyrpc.NotProcessed), nil, true},
		{"internal", fmt.Errorf("x: %w", flyrpc.Internal), nil, true},
		{"not found", failure(flyrpc.NotFound, flyrpc.Answered), nil, false},
		{"panic", failure(flyrpc.HandlerPanic, flyrpc.Answered), nil, false},
		{"own", failure("OWN", flyrpc.Answered), nil, false},
		{"canceled", failure(flyrpc.Canceled, flyrpc.Unknown), nil, false},
		{"plain", errors.New("plain"), nil, false},
		{"own counts", failure("OWN", flyrpc.Answered), []flyrpc.Code{"OWN"}, true},
		{"unavailable doesn't", failure(flyrpc.Unavailable, flyrpc.NotSent), []flyrpc.Code{"OWN"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fails := server(func(int, context.Context, *flyrpc.Outgoing) error { return tt.err })
			invoke, calls := fails.behind(middleware.Breaker(&middleware.BreakerOptions{Codes: tt.codes, Failures: 2}))
			for range 2 {
				if err := invoke(t.Context(), &flyrpc.Outgoing{}); err != tt.err {
					t.Errorf("got %v", err)
				}
			}
			err := invoke(t.Context(), &flyrpc.Outgoing{})
			if open := *calls == 2; open != tt.fails {
				t.Fatalf("open %v, want %v", open, tt.fails)
			}
			if tt.fails {
				wantErr(t, err, flyrpc.Unavailable, flyrpc.NotSent)
			}
		})
	}
}

// TestBreakerStates: it opens after failures in a row, lets probes through after the pause, and closes if they succeed.
func TestBreakerStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states []string
		var err error
		answers := server(func(int, context.Context, *flyrpc.Outgoing) error { return err })
		invoke, calls := answers.behind(middleware.Breaker(&middleware.BreakerOptions{
			Failures: 3, Pause: time.Minute, Probes: 2,
			OnChange: func(from, to string) { states = append(states, from+">"+to) },
		}))
		down := failure(flyrpc.Unavailable, flyrpc.NotSent)
		call := func(result error, passes bool) {
			t.Helper()
			err = result
			before := *calls
			if _ = invoke(t.Context(), &flyrpc.Outgoing{}); (*calls > before) != passes {
				t.Errorf("passed: %v, want %v; %v", !passes, passes, states)
			}
		}
		call(down, true)
		call(down, true)
		call(nil, true) // not in a row
		call(down, true)
		call(failure(flyrpc.Canceled, flyrpc.Unknown), true) // no matter
		call(down, true)
		call(down, true)
		call(nil, false)
		time.Sleep(time.Minute + 1)
		call(nil, true)
		call(down, true) // a probe fails
		call(nil, false)
		time.Sleep(time.Minute + 1)
		call(nil, true)
		call(nil, true)
		call(down, true)
		want := "closed>open half-open>open half-open>closed"
		if got := strings.ReplaceAll(strings.Join(states, " "), "open>half-open ", ""); got != want {
			t.Errorf("states %q, want %q", got, want)
		}
	})
}

// TestBreakerEnds: a probe that panics or ends its goroutine doesn't keep others from being made.
func TestBreakerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := func() {}
		err := failure(flyrpc.Unavailable, flyrpc.NotSent)
		answers := server(func(int, context.Context, *flyrpc.Outgoing) error { end(); return err })
		invoke, _ := answers.behind(middleware.Breaker(&middleware.BreakerOptions{Failures: 1}))
		_ = invoke(t.Context(), &flyrpc.Outgoing{})
		time.Sleep(middleware.DefaultBreakerPause + 1)
		for _, f := range []func(){func() { panic("on purpose") }, runtime.Goexit} {
			end = f
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				_ = invoke(t.Context(), &flyrpc.Outgoing{})
			}()
			<-done
		}
		end, err = func() {}, nil
		if err := invoke(t.Context(), &flyrpc.Outgoing{}); err != nil {
			t.Errorf("the next probe isn't made: %v", err)
		}
	})
}

// TestBreakerServer: calls, messages and streams of a client fail at once, and calls whose context has ended don't count.
func TestBreakerServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handled := 0
		srv := newServer(t, nil)
		srv.OnMessage("/x", func() error { handled++; return flyrpc.Internal })
		srv.OnMessage("/missing/thing", func() error { return flyrpc.NotFound })
		cli := newClient(t, srv, intercept(middleware.Breaker(nil)))
		ended, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		for range 2 * middleware.DefaultFailures {
			wantErr(t, cli.Call(ended, "/x", nil, nil), flyrpc.Timeout, flyrpc.NotSent)
			wantErr(t, cli.Call(t.Context(), "/missing/thing", nil, nil), flyrpc.NotFound, flyrpc.Answered)
		}
		for range middleware.DefaultFailures {
			wantErr(t, cli.Call(t.Context(), "/x", nil, nil), flyrpc.Internal, flyrpc.Answered)
		}
		wantErr(t, cli.Call(t.Context(), "/x", nil, nil), flyrpc.Unavailable, flyrpc.NotSent)
		wantErr(t, cli.SendMessage(t.Context(), "/x", nil), flyrpc.Unavailable, flyrpc.NotSent)
		_, err := cli.OpenStream(t.Context(), "/x", nil)
		wantErr(t, err, flyrpc.Unavailable, flyrpc.NotSent)
		synctest.Wait()
		if handled != middleware.DefaultFailures {
			t.Errorf("handled %d", handled)
		}
	})
}

func ExampleBreaker() {
	srv := flyrpc.NewServer(nil)
	defer srv.Close()
	srv.OnMessage("/x", func() error { return flyrpc.Errorf(flyrpc.Internal, "the disk is full") })
	breaker := middleware.Breaker(&middleware.BreakerOptions{
		Failures: 2,
		OnChange: func(from, to string) { fmt.Println("the breaker was", from, "and is", to) },
	})
	cli := connect(srv, &flyrpc.ClientOpts{Intercept: []flyrpc.Interceptor{breaker}})
	defer cli.Close()

	for range 3 {
		err := cli.Call(ctx, "/x", nil, nil)
		fmt.Println(err, flyrpc.Outcome(err))
	}
	// Output:
	// INTERNAL: the disk is full Answered
	// the breaker was closed and is open
	// INTERNAL: the disk is full Answered
	// UNAVAILABLE: too many calls have failed: circuit breaker is open NotSent
}
