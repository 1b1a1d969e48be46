package middleware_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-flyrpc/flyrpc"
	"github.com/go-flyrpc/flyrpc/middleware"
)

// TestConcurrency: of calls that come at once some run, some wait for their turn, in order, and the others are refused.
func TestConcurrency(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts *middleware.ConcurrencyOptions
		want string // when, in seconds, each of 6 calls that take 1 s ends, and with which code
	}{
		{"default", nil, "1 1 1 BUSY 1 BUSY 0 BUSY 0 BUSY"},
		{"time", &middleware.ConcurrencyOptions{MaxWait: time.Minute}, "1 1 2 2 0 BUSY 0 BUSY"},
		{"more", &middleware.ConcurrencyOptions{MaxWait: time.Minute, Waiting: 3}, "1 1 2 2 3 0 BUSY"},
		{"less time", &middleware.ConcurrencyOptions{MaxWait: 1500 * time.Millisecond, Waiting: 9}, "1 1 2 2 1.5 BUSY 1.5 BUSY"},
		{"none", &middleware.ConcurrencyOptions{Waiting: -1}, "1 1 0 BUSY 0 BUSY 0 BUSY 0 BUSY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(t, nil)
				work := func() { time.Sleep(time.Second + time.Millisecond) }
				limit := middleware.Concurrency(2, tt.opts)
				srv.With(limit).OnMessage("/work/{id}", work)
				srv.With(limit).OnMessage("/other", func() {})
				cli := newClient(t, srv, nil)
				start := time.Now()
				ends := make([]string, 6)
				done := make(chan int)
				for i := range ends {
					go func() {
						err := cli.Call(t.Context(), fmt.Sprint("/work/", i), nil, nil)
						ends[i] = fmt.Sprint(time.Since(start).Truncate(100 * time.Millisecond).Seconds())
						if err != nil {
							wantErr(t, err, flyrpc.Busy, flyrpc.NotProcessed)
							ends[i] += " BUSY"
						}
						done <- i
					}()
					synctest.Wait()
				}
				if err := cli.Call(t.Context(), "/other", nil, nil); err != nil {
					t.Errorf("another route: %v", err)
				}
				for range ends {
					<-done
				}
				got := ""
				for _, e := range ends {
					got += " " + e
				}
				if got != " "+tt.want {
					t.Errorf("got%s, want %s", got, tt.want)
				}
				if err := cli.Call(t.Context(), "/work/again", nil, nil); err != nil {
					t.Errorf("after all have ended: %v", err)
				}
			})
		})
	}
}

// TestConcurrencyGivesBack: a handler's turn ends when its stream has ended, with a panic too, and who waits gives up in time.
func TestConcurrencyGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, nil)
		srv.Use(middleware.Concurrency(1, &middleware.ConcurrencyOptions{MaxWait: time.Hour}))
		srv.OnMessage("/x", func(s *flyrpc.Stream, how string) error {
			if how == "panic" {
				panic(how)
			}
			return s.Recv(nil)
		})
		cli := newClient(t, srv, nil)
		wantErr(t, cli.Call(t.Context(), "/x", "panic", nil), flyrpc.HandlerPanic, flyrpc.Answered)
		first, err := cli.OpenStream(t.Context(), "/x", "")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErr(t, cli.Call(short, "/x", "", nil), flyrpc.Timeout, flyrpc.Unknown)
		time.Sleep(time.Millisecond) // the deadline of who waits at the server is up to a microsecond later
		gone, giveUp := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, giveUp)
		wantErr(t, cli.Call(gone, "/x", "", nil), flyrpc.Canceled, flyrpc.Unknown)
		synctest.Wait()
		time.AfterFunc(time.Minute, func() { _ = first.Send("go") })
		start := time.Now()
		wantErr(t, cli.Call(t.Context(), "/x", "panic", nil), flyrpc.HandlerPanic, flyrpc.Answered)
		if took := time.Since(start); took != time.Minute {
			t.Errorf("the turn came after %v", took)
		}
	})
}

// TestConcurrencyDeadline: a caller that is still there is told that its deadline has passed while it waited.
func TestConcurrencyDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, nil)
		block := make(chan struct{})
		var ctx context.Context
		ends := func(next flyrpc.Handler) flyrpc.Handler {
			return func(c *flyrpc.Context) (any, error) {
				if c.Size() > 0 {
					return next(c.WithContext(ctx))
				}
				return next(c)
			}
		}
		srv.Use(ends, middleware.Concurrency(1, nil))
		srv.OnMessage("/x", func(string) { <-block })
		cli := newClient(t, srv, nil)
		first := cli.Go(t.Context(), "/x", nil, nil)
		synctest.Wait()
		for code, make := range map[flyrpc.Code]func() (context.Context, context.CancelFunc){
			flyrpc.Timeout: func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(t.Context(), time.Millisecond)
			},
			flyrpc.Canceled: func() (context.Context, context.CancelFunc) {
				c, f := context.WithCancel(t.Context())
				f()
				return c, f
			},
		} {
			var cancel context.CancelFunc
			ctx, cancel = make()
			wantErr(t, cli.Call(t.Context(), "/x", "more", nil), code, flyrpc.NotProcessed)
			cancel()
		}
		close(block)
		if err := first.Err(); err != nil {
			t.Error(err)
		}
		wantPanic(t, "at least 1 has to be able to run", func() { middleware.Concurrency(0, nil) })
	})
}

func ExampleConcurrency() {
	srv := flyrpc.NewServer(nil)
	defer srv.Close()
	started, finish := make(chan struct{}), make(chan struct{})
	limit := middleware.Concurrency(1, &middleware.ConcurrencyOptions{Waiting: -1})
	srv.With(limit).OnMessage("/report", func() string {
		close(started)
		<-finish
		return "the report"
	})
	cli := connect(srv, nil)
	defer cli.Close()

	var report string
	first := cli.Go(ctx, "/report", nil, &report)
	<-started
	fmt.Println(cli.Call(ctx, "/report", nil, nil))
	close(finish)
	fmt.Println(first.Err(), report)
	// Output:
	// BUSY: 1 calls of this path are being handled and 0 wait
	// <nil> the report
}
