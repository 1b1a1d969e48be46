package middleware_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

// TestBreakerLocal: a call that failed before it was sent says nothing of the server: it neither closes the breaker nor ends a row
// of failures.
func TestBreakerLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, nil)
		busy := true
		srv.OnMessage("/x", func() error {
			if busy {
				return flyrpc.Busy
			}
			return nil
		})
		cli := newClient(t, srv, intercept(middleware.Breaker(&middleware.BreakerOptions{Failures: 2, Pause: time.Minute})))
		call := func(message any, code flyrpc.Code) {
			t.Helper()
			if err := cli.Call(t.Context(), "/x", message, nil); !errors.Is(err, code) {
				t.Errorf("got %v, want %s", err, code)
			}
		}
		unsendable := make(chan int)
		call(nil, flyrpc.Busy)
		call(unsendable, flyrpc.BadRequest)
		call(nil, flyrpc.Busy)
		call(nil, flyrpc.Unavailable) // open
		time.Sleep(time.Minute + 1)
		call(unsendable, flyrpc.BadRequest) // no probe
		call(nil, flyrpc.Busy)
		call(nil, flyrpc.Unavailable) // open again
	})
}
